"""Gradient ascent: pictures that excite channels more with every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from deconvviz.synthesis.canvas import Canvas
from deconvviz.synthesis.fourier import FourierBasis, first_spectrum
from deconvviz.synthesis.transforms import moved, movements

RATE = 0.05  # of Adam (Kingma and Ba 2015), whose other constants are the usual ones
MEANS = (0.9, 0.999)
TINY = 1e-8

# From inputs (N, C, H, W) to how much each excites its channel, (N,). If it is opened, rectifiers that return zero pass
# gradients, too.
Excitement = Callable[[Tensor, bool], Tensor]


@dataclass
class Adam:
    """Steps whose length does not depend on that of the gradient, for each coefficient by itself."""

    steps: int = 0
    mean: Tensor | None = None
    square: Tensor | None = None

    def step(self, gradient: Tensor) -> Tensor:
        """What to add to the parameters."""
        first, second = MEANS
        self.steps += 1
        self.mean = (1 - first) * gradient + (0 if self.mean is None else first * self.mean)
        self.square = (1 - second) * gradient.square() + (0 if self.square is None else second * self.square)
        mean, square = self.mean / (1 - first**self.steps), self.square / (1 - second**self.steps)
        return RATE * mean / (square.sqrt() + TINY)


@dataclass
class Ascent:
    """Pictures at work. Each is as if it were alone.

    Attributes:
        canvas: Size and range of the pictures.
        score: How much each picture excites its channel.
        spectra: (N, C, H, W // 2 + 1, 2), the coefficients.
        movements: (steps, N, 2, 3), where the pictures lie.
    """

    canvas: Canvas
    score: Excitement
    spectra: Tensor
    movements: Tensor
    basis: FourierBasis = field(init=False)

    def __post_init__(self) -> None:
        self.basis = FourierBasis(self.canvas.shape[0], self.canvas.size, self.spectra)

    @classmethod
    def begun(cls, canvas: Canvas, score: Excitement, seeds: Sequence[Sequence[int]], steps: int) -> Ascent:
        """Pictures before the first step.

        Args:
            canvas: Size and range of the pictures.
            score: How much each picture excites its channel.
            seeds: Per picture the numbers that determine its random numbers.
            steps: Number of steps.
        """
        spectra, moves = [], []
        for numbers in seeds:
            generator = torch.Generator("cpu").manual_seed(
                int(np.random.SeedSequence(list(numbers)).generate_state(1, np.uint64)[0] >> 1)
            )
            spectra.append(first_spectrum(canvas.shape[0], canvas.size, generator))
            moves.append(movements(steps, canvas.size, generator))
        return cls(canvas, score, torch.stack(spectra).to(canvas.low), torch.stack(moves, 1).to(canvas.low))

    def run(self, stepped: Callable[[], object]) -> None:
        """Take all steps; `stepped` is called after each."""
        adam = Adam()
        for movement in self.movements:
            gradient = self._gradient(movement, False)
            silent = gradient.flatten(1).eq(0).all(1)
            if bool(silent.any()):
                opened = self._gradient(movement, True)
                gradient = torch.where(silent.view(-1, 1, 1, 1, 1), opened, gradient)
            self.spectra = self.spectra + adam.step(gradient)
            stepped()

    def inputs(self) -> Tensor:
        """The pictures as the network's inputs."""
        return self.canvas.inputs(self.basis.pixels(self.spectra)).detach()

    def _gradient(self, movement: Tensor, opened: bool) -> Tensor:
        leaf = self.spectra.detach().requires_grad_()
        pictures = moved(self.basis.pixels(leaf), movement)
        (gradient,) = torch.autograd.grad(self.score(self.canvas.inputs(pictures), opened).sum(), leaf)
        return gradient
