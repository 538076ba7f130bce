"""Projects a function between two convolutions in every way, and compares the pictures with autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.projection import cropped
from deconvviz.projection.crop_cost import UnitCrops

STYLES = ("deconvnet", "guided", "gradient")


class Around(nn.Module):
    """``d(f(c(x)))``, always with the same weights, in double precision. x: (N, 3, 10, 8)."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.c, self.d = nn.Conv2d(3, 4, 3).double(), nn.Conv2d(4, 2, 1).double()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.d(self.function(self.c(x)))


def images(samples: int) -> Tensor:
    return torch.randn(samples, 3, 10, 8, generator=torch.Generator().manual_seed(11), dtype=torch.float64)


class Reference:
    """One run under autograd."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        self.x = x.clone().requires_grad_()
        with torch.random.fork_rng(), torch.enable_grad():
            self.made = model.eval()(self.x)

    def unit(self, sample: int, channel: int, position: tuple[int, ...]) -> Tensor:
        value = self.made[(sample, channel, *position)]
        gradient = self._gradient(value * value.detach())
        assert not gradient[[n for n in range(len(gradient)) if n != sample]].any(), "the reference mixes samples"
        return gradient[sample]

    def whole(self) -> Tensor:
        return self._gradient((self.made * self.made.detach()).sum())

    def _gradient(self, value: Tensor) -> Tensor:
        return torch.autograd.grad(value, self.x, retain_graph=True)[0]


def everywhere(
    function: Callable[[Tensor], Tensor],
    samples: int,
    styles: Sequence[str] = STYLES,
    plain: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[tuple[str, Callable[[], float]]]:
    """Descriptions of all ways to project, each with a function that returns the relative error.

    plain: for autograd, in place of `function`.
    """
    model, x = Around(function), images(samples)
    plainly = Around(plain or function)
    reference = Reference(plainly, x)

    def projected(style: str, position: Any, window: str) -> float:
        found = dv.DeconvNet(model, style).project(x, "d", channel=[0, 1], position=position, window=window)
        return units(found)

    def units(found: dv.results.Projection) -> float:
        expected = torch.stack([reference.unit(u.sample, u.channel, u.position) for u in found.units])
        here = reference.made.detach()
        activations = torch.stack([here[(u.sample, u.channel, *u.position)] for u in found.units])
        given = torch.tensor([u.activation for u in found.units], dtype=torch.float64)
        return max(error(found.pixels, expected), error(given, activations))

    def listed() -> float:
        wanted = [(samples - 1, 1, (1, 0)), (0, 0, (0, 0)), (samples - 1, 0, (1, 0))]
        return units(dv.DeconvNet(model, styles[-1]).project_units(x, "d", wanted))

    def reconstructed() -> float:
        return error(dv.DeconvNet(model, styles[-1]).reconstruct(x, "d").pixels, reference.whole())

    def table() -> float:
        return float(tuple(dv.DeconvNet(model).layers(x)["d"].shape) != tuple(reference.made.shape))

    def scanned() -> float:
        found = dv.scan(dv.DeconvNet(model), x, layers=["d"], k=1, batch_size=1, progress=False)
        with torch.no_grad():
            alone = torch.cat([plainly.eval()(x[n : n + 1]) for n in range(samples)])
        best = alone.flatten(2).amax((0, 2))
        return error(found.values["d"][:, 0], best)

    for style in styles:
        yield f"{style}, the strongest", lambda style=style: projected(style, "max", "auto")
    yield "a position", lambda: projected(styles[0], (1, 0), "auto")
    yield "a position, whole maps", lambda: projected(styles[0], (1, 0), "full")
    yield "units", listed
    yield "reconstruct", reconstructed
    yield "layers", table
    yield "scan", scanned


def error(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return float("inf")
    return float((found - expected).norm() / expected.norm()) if expected.norm() else float(found.norm())


@contextmanager
def windows_everywhere() -> Iterator[None]:
    """Use windows wherever possible inside the block, even at a higher cost."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("pay_back", "pay_both_ways"):
            patch.setattr(UnitCrops, name, lambda *_: True)
        patch.setattr(cropped, "may_pay", lambda *_: True)
        yield
