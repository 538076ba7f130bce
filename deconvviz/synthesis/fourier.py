"""Pictures by their Fourier coefficients, with decorrelated colours, as in Lucid (Olah et al. 2017).

Gradient ascent on pixels ends in noise of high frequencies, which the network sees and people do not. On coefficients
that are scaled as in photographs, by 1 / frequency, steps of equal length make changes that are equally likely there.
Photographs' colours are correlated, too; coefficients are those of three independent colours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Square root of the covariance of colours in ImageNet, as Lucid has it: red, green and blue by independent colours.
COLOUR_AXES = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
CONTRAST = 4.0  # by which Lucid divides pictures before the sigmoid
FIRST_DEVIATION = 0.01  # of the coefficients that a picture starts from


def first_spectrum(channels: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """The coefficients that one picture starts from, (channels, height, width // 2 + 1, 2): faint smooth noise."""
    shape = (channels, size[0], size[1] // 2 + 1, 2)
    return FIRST_DEVIATION * torch.randn(shape, generator=generator, device=generator.device)


class FourierBasis:
    """From coefficients to pictures of one size."""

    def __init__(self, channels: int, size: tuple[int, int], like: Tensor) -> None:
        """Prepare.

        Args:
            channels: Number of channels; three are colours, any other number is independent.
            size: Height and width.
            like: A tensor of the coefficients' type and device.
        """
        height, width = size
        rows = torch.fft.fftfreq(height, device=like.device, dtype=like.dtype)[:, None]
        columns = torch.fft.rfftfreq(width, device=like.device, dtype=like.dtype)[None]
        frequency = (rows.square() + columns.square()).sqrt().clamp(min=1 / max(height, width))
        self.size = size
        self.scale = math.sqrt(height * width) / (CONTRAST * frequency)
        self.colours = _colours(like) if channels == 3 else None

    def pixels(self, spectra: Tensor) -> Tensor:
        """Pictures (N, channels, height, width) between 0 and 1.

        Args:
            spectra: (N, channels, height, width // 2 + 1, 2).
        """
        coefficients = torch.view_as_complex(spectra) * self.scale
        pictures: Tensor = torch.fft.irfft2(coefficients, s=self.size)
        if self.colours is not None:
            pictures = torch.einsum("ij,njhw->nihw", self.colours, pictures)
        return pictures.sigmoid()


def _colours(like: Tensor) -> Tensor:
    matrix = torch.tensor(COLOUR_AXES, dtype=like.dtype, device="cpu")
    scaled: Tensor = matrix / matrix.norm(dim=0).max()
    return scaled.to(like.device)
