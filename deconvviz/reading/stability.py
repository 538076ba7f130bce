"""Whether a channel's pictures stay the same with other images: the mean pictures from two halves of the images.

The cosine of two means says how alike they are. That with other channels' means says how alike any two would be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from deconvviz.reading.observers import reduced

COMPARED_SIDE = 32  # pixels of the longer side at which pictures are compared


class MeanPictures:
    """The mean pictures of channels, from one half of the images and from the other."""

    def __init__(self) -> None:
        self._means: dict[int, tuple[Tensor, Tensor]] = {}

    def add(self, channel: int, one: Tensor, other: Tensor) -> None:
        """Note a channel's signed pictures (k, C, h, w) from both halves."""
        self._means[channel] = _mean(one), _mean(other)

    def cosines(self, channels: Sequence[int]) -> Tensor:
        """How alike the two means of each channel are.

        Args:
            channels: The channels.

        Returns:
            (channels, 2), float64: the cosine of the channel's two means, and the mean cosine of its first one with the
            second ones of the other channels; NaN where a mean is blank or unknown.
        """
        found = torch.full((len(channels), 2), torch.nan, dtype=torch.float64, device="cpu")
        rows = [row for row, channel in enumerate(channels) if channel in self._means]
        if rows:
            one, other = (torch.stack([self._means[channels[row]][half] for row in rows]) for half in (0, 1))
            alike = one @ other.T
            own = alike.diagonal().clone()
            alike.diagonal().fill_(math.nan)
            found[rows] = torch.stack([own, alike.nanmean(1)], 1)
        return found


def _mean(pictures: Tensor) -> Tensor:
    """(d,), the mean of pictures (k, C, h, w), of length 1; NaN for a blank one."""
    mean = reduced(pictures.mean(0, keepdim=True), COMPARED_SIDE).flatten().double()
    length = mean.norm()
    return mean / length if length > 0 else torch.full_like(mean, math.nan)
