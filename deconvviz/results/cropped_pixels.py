"""Pixels of units that see only a window of their image: the windows, without the zeros around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deconvviz.io.memory import zeros
from deconvviz.results.base import kind


@kind
@dataclass(frozen=True)
class CroppedPixels:
    """One window of an image for each unit; outside of it everything is zero.

    Attributes:
        values: (units, C, *size), what lies in the windows.
        starts: (units, axes), on the host, the first pixel of each window. All windows lie inside the image.
        shape: The shape of a whole image, (C, *positions).

    >>> windows = CroppedPixels(torch.ones(2, 1, 2), torch.tensor([[0], [3]]), (1, 5))
    >>> windows.whole().tolist()
    [[[1.0, 1.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, 1.0, 1.0]]]
    """

    values: Tensor
    starts: Tensor
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        units, channels, *size = self.values.shape
        starts = self.starts.numpy()
        if self.starts.shape != (units, len(size)) or (channels, len(size)) != (self.shape[0], len(self.shape) - 1):
            raise ValueError(f"windows {tuple(self.values.shape)} do not fit images of shape {self.shape}")
        if (starts < 0).any() or (starts + size > self.shape[1:]).any():
            raise ValueError(f"a window lies outside images of shape {self.shape}")

    @classmethod
    def blank(
        cls, units: int, shape: Sequence[int], *, size: Sequence[int], dtype: torch.dtype, device: torch.device
    ) -> CroppedPixels:
        """Windows of a size, all zero, to be filled by `put`.

        Args:
            units: The number of units.
            shape: The shape of a whole image, (C, *positions).
            size: The size of a window; it is cut to that of the image.
            dtype: The type of the pixels.
            device: Where they lie.
        """
        size = [min(side, extent) for side, extent in zip(size, shape[1:], strict=True)]
        values = torch.zeros((units, shape[0], *size), dtype=dtype, device=device)
        return cls(values, torch.zeros(units, len(size), dtype=torch.long, device="cpu"), tuple(shape))

    def put(self, rows: NDArray[np.int64], crops: Tensor, starts: NDArray[np.int64]) -> None:
        """Fill the windows of some units.

        Args:
            rows: (n,), which units.
            crops: (n, C, *size), their pixels.
            starts: (n, axes), the first pixel of each. What lies outside the image is dropped.
        """
        size, extent = np.array(self.values.shape[2:]), np.array(self.shape[1:])
        inside = np.minimum(np.maximum(starts, 0), extent - size)
        self.starts[torch.from_numpy(rows)] = torch.from_numpy(inside)
        moved = np.flatnonzero((inside != starts).any(1))
        fits = all(crops.shape[2 + axis] <= side for axis, side in enumerate(size))
        first = len(rows) if not fits else int(moved[-1]) + 1 if len(moved) else 0  # that fits where it lies
        if first and crops.device.type != "cpu":  # to launch twice is more work than to move all
            first = len(rows)
        if first:
            there = torch.from_numpy(rows[:first]).to(crops.device)
            self.values[there] = _shifted(crops[:first], (inside - starts)[:first], self.values.shape[2:])
        if first < len(rows):
            index: list[Tensor | slice] = [torch.from_numpy(rows[first:]).to(crops.device), slice(None)]
            index += [slice(0, length) for length in crops.shape[2:]]
            self.values[tuple(index)] = crops[first:]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Tensor) -> CroppedPixels:
        """The units in the given `rows` (n,), in this order."""
        return CroppedPixels(self.values[rows.to(self.values.device)], self.starts[rows.cpu()], self.shape)

    def cpu(self) -> CroppedPixels:
        """The same on the CPU."""
        return CroppedPixels(self.values.cpu(), self.starts, self.shape)

    def whole(self) -> Tensor:
        """The images, (units, *shape)."""
        images = zeros((len(self), *self.shape), self.values.dtype, self.values.device)
        axes = self.values.ndim - 2
        index: list[Tensor | slice] = [torch.arange(len(self), device="cpu").view(-1, *[1] * axes), slice(None)]
        for axis, length in enumerate(self.values.shape[2:]):
            places = self.starts[:, axis, None] + torch.arange(length, device="cpu")
            index.append(places.view(-1, *[length if axis == other else 1 for other in range(axes)]))
        images[tuple(part.to(images.device) if isinstance(part, Tensor) else part for part in index)] = (
            self.values.movedim(1, -1)
        )
        return images

    def cut(self, row: int, box: Sequence[Sequence[int]]) -> Tensor:
        """A unit's pixels in a box, (C, *size of the box).

        box: For each axis the first pixel and one past the last, within the image.
        """
        starts = self.starts[row].tolist()
        ends = (start + length for start, length in zip(starts, self.values.shape[2:], strict=True))
        pixels = self.values[row]
        if not all(a <= first and last <= b for (first, last), a, b in zip(box, starts, ends, strict=True)):
            pixels, starts = self.one(row), [0] * len(starts)
        places = (slice(first - start, last - start) for (first, last), start in zip(box, starts, strict=True))
        return pixels[(slice(None), *places)]

    def one(self, row: int) -> Tensor:
        """The whole image of one unit, of this shape."""
        return self[torch.tensor([row], device="cpu")].whole()[0]

    @classmethod
    def joined(cls, parts: Sequence[CroppedPixels]) -> CroppedPixels:
        """The units of several, whose images have one shape."""
        sizes = np.array([part.values.shape[2:] for part in parts])
        first = parts[0].values
        every = cls.blank(
            sum(map(len, parts)), parts[0].shape, size=sizes.max(0).tolist(), dtype=first.dtype, device=first.device
        )
        begin = 0
        for part in parts:
            every.put(np.arange(begin, begin + len(part)), part.values, part.starts.numpy())
            begin += len(part)
        return every


def _shifted(crops: Tensor, shifts: NDArray[np.int64], size: Sequence[int]) -> Tensor:
    """Windows (n, C, *size) that begin `shifts` (n, axes) later than crops do; zero where there is no crop."""
    for axis, length in enumerate(size):
        there = crops.shape[2 + axis]
        places = shifts[:, axis, None] + np.arange(length)
        view = [1] * crops.ndim
        view[0], view[2 + axis] = places.shape
        taken = torch.from_numpy(places.clip(0, there - 1)).to(crops.device).view(view)
        known = torch.from_numpy((places >= 0) & (places < there)).to(crops.device).view(view)
        shape = list(crops.shape)
        shape[2 + axis] = length
        crops = crops.gather(2 + axis, taken.expand(shape)) * known
    return crops
