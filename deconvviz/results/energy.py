"""Where the energy of a projection lies, and along which axis of an input its channels do."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from deconvviz.arguments import NUMBER, checked_as, optional
from deconvviz.errors import InputError

PICTURE_COLOURS = (1, 3, 4)  # numbers of channels of a picture
LONGER = 8  # times as many samples as channels, from which a signal is taken to have its channels last
VOLUME = 4  # axes of a volume with its channels
LARGEST_SIGMA = 10_000
OF_THE_FIELD = 0.05  # the deviation of the smoothing, as a part of the longest side of the receptive field


def channel_axis(shape: tuple[int, ...]) -> int:
    """The axis of the channels in the shape of one sample: the first.

    It is the last one where only that has 1, 3 or 4 entries, as in (H, W, 3), or where a signal has eight times as many
    samples as channels, as in (5000, 12); and the second in frames of a video, (T, 3, H, W).

    >>> [channel_axis(shape) for shape in ((3, 20, 24), (20, 24, 3), (12, 5000), (5000, 12), (16, 3, 32, 32))]
    [0, 2, 0, 1, 1]
    """
    if len(shape) == 2:
        return 1 if shape[0] >= LONGER * shape[1] else 0
    if len(shape) < 2 or shape[0] in PICTURE_COLOURS:
        return 0
    if shape[-1] in PICTURE_COLOURS:
        return len(shape) - 1
    return 1 if len(shape) == VOLUME and shape[1] in PICTURE_COLOURS else 0


def energy(pixels: Tensor, sigma: float) -> Tensor:
    """Squares summed over channels, smoothed by a Gaussian, divided by the maximum; on the CPU.

    Args:
        pixels: (C, *size). Outside of them the energy is zero.
        sigma: The Gaussian's standard deviation in pixels; 0 for no smoothing. It is cut off at four of them.

    Returns:
        (*size), from 0 to 1; all zero if the pixels are.
    """
    values = smoothed(pixels.detach().cpu().abs().double().square().sum(0), sigma)
    largest = float(values.max()) if values.numel() else 0.0
    return (values / largest if largest > 0 else values).float()


def smoothed(values: Tensor, sigma: float) -> Tensor:
    """Values (*size), float64, smoothed along each axis by a Gaussian, which is cut off at four deviations.

    Args:
        values: The values; outside of them there is zero.
        sigma: The Gaussian's standard deviation in pixels; 0 for no smoothing.
    """
    radius = math.ceil(4 * sigma)
    if not radius or not values.numel():
        return values
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.double, device="cpu") / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(values.device)[None, None]
    for axis in range(values.ndim):
        lines = values.movedim(axis, -1)
        along = torch.nn.functional.conv1d(lines.reshape(-1, 1, lines.shape[-1]), kernel, padding=radius)
        values = along.reshape(lines.shape).movedim(-1, axis)
    return values


def usual_sigma(field: Sequence[Sequence[int]]) -> float:
    """The deviation for a unit: a twentieth of the longest side of its receptive field."""
    return OF_THE_FIELD * max([last - first for first, last in field], default=0)


def checked_sigma(sigma: float | None) -> float | None:
    """A deviation, or None. Raises InputError for what is not a number from 0."""
    number: float | None = checked_as(optional(NUMBER), "sigma", sigma)
    if number is not None and not 0 <= number <= LARGEST_SIGMA:
        raise InputError(f"sigma is a number of pixels from 0 to {LARGEST_SIGMA:,}, not {number:g}")
    return number
