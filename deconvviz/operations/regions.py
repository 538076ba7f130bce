"""Regions: windows of a map in whole positions, one for each unit and all of one size. Crops are cut by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Starts = NDArray[np.int64]  # (units, spatial axes)


class NotLocal(Exception):
    """An operation whose output at a position needs more than a window of its input, or one that is not known."""


class Region(NamedTuple):
    """A window for each unit: where it starts along each spatial axis, and one size for all."""

    start: Starts
    size: tuple[int, ...]

    def of(self, units: Starts | slice) -> Region:
        """The windows of some units."""
        return Region(self.start[units], self.size)

    def bounding(self, other: Region) -> Region:
        """The smallest region that holds both."""
        start = np.minimum(self.start, other.start)
        end = np.maximum(self.start + self.size, other.start + other.size)
        return Region(start, tuple((end - start).max(0).tolist()))

    def crossing(self, shape: Sequence[int]) -> NDArray[np.bool_]:
        """(units,): which windows reach over the border of a map (samples, channels, *positions)."""
        over = (self.start < 0) | (self.start + self.size > np.array(shape[2:]))
        return np.asarray(over.any(axis=1))

    def clipped(self, shape: Sequence[int]) -> Region:
        """The part of the windows that lies in the map, at least one position; all of them if these parts differ."""
        extent = np.array(shape[2:])
        start = np.minimum(np.maximum(self.start, 0), extent - 1)
        sizes = np.maximum(np.minimum(self.start + self.size, extent), start + 1) - start
        cut = np.concatenate([start - self.start, sizes], 1)
        return self if (cut != cut[:1]).any() else Region(start, tuple(sizes[0].tolist()))

    def places(self, axis: int) -> NDArray[np.int64]:
        """The positions in the map along an axis, (units, 1, ..., size, ..., 1)."""
        places: NDArray[np.int64] = self.start[:, axis, None] + np.arange(self.size[axis])
        return places.reshape(-1, *[size if axis == other else 1 for other, size in enumerate(self.size)])

    def outside(self, shape: Sequence[int]) -> NDArray[np.bool_]:
        """(units, 1, *size): which positions lie outside the map."""
        outside = np.zeros((1, *[1] * len(self.size)), bool)
        for axis in range(len(self.size)):
            places = self.places(axis)
            outside = outside | (places < 0) | (places >= shape[2 + axis])
        return outside[:, None]

    def taken(self, numbers: Tensor, samples: Tensor, channels_last: bool = True) -> Tensor:
        """The windows of recorded numbers (samples, channels, *positions): (units, channels, *size).

        A position outside the map takes the nearest one inside.
        """
        index: list[Any] = [samples.view(-1, *[1] * len(self.size)), slice(None)]
        for axis in range(len(self.size)):
            inside = np.minimum(np.maximum(self.places(axis), 0), numbers.shape[2 + axis] - 1)
            index.append(torch.from_numpy(inside).to(numbers.device))
        if channels_last:
            cut: Tensor = numbers[tuple(index)]  # (units, *size, channels)
            return cut.movedim(-1, 1)
        index = [part.unsqueeze(1) if isinstance(part, Tensor) else part for part in index]
        index[1] = torch.arange(numbers.shape[1], device=numbers.device).view(-1, *[1] * len(self.size))
        made: Tensor = numbers[tuple(index)]
        return made
