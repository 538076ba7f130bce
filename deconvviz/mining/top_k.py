"""The k strongest units of each channel, and where in a map they lie.

The lists do not depend on the order in which images arrive: units are ordered by activation, then by image number, so
that the lists of several processes, or of an interrupted scan, can be merged to the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class TopK:
    """The k strongest units of each channel of a layer.

    Attributes:
        k: Length of each list.
        dimensions: Number of dimensions of a position, () long.
        values: Activations, strongest first, (channels, k); -inf for none.
        images: Numbers of the images, (channels, k); -1 for none.
        positions: Positions, each packed into one number as by `packed`, (channels, k); -1 for none.
    """

    def __init__(self, channels: int, k: int, dimensions: int) -> None:
        self.k = k
        self.dimensions = torch.tensor(dimensions)
        self.values = torch.full((channels, k), -torch.inf, dtype=torch.float64)
        self.images = torch.full((channels, k), -1, dtype=torch.long)
        self.positions = torch.full((channels, k), -1, dtype=torch.long)

    def may_enter(self, values: Tensor, images: Tensor) -> Tensor:
        """Which of the values would be among the k strongest of their channel.

        Args:
            values: Activations, (n, channels).
            images: Their images, (n,) or (n, channels).
        """
        images = images[:, None] if images.ndim == 1 else images
        weakest, last = self.values[:, -1], self.images[:, -1]
        return (values > weakest) | ((values == weakest) & ((images < last) | (last < 0)))

    def enter(self, values: Tensor, images: Tensor, positions: Tensor) -> None:
        """Enter candidates into the lists.

        Args:
            values: Activations, (n, channels).
            images: Their images, (n,) or (n, channels).
            positions: Their packed positions, (n, channels).
        """
        changed = self.may_enter(values, images).any(0)
        candidates = (values, images[:, None].expand_as(values) if images.ndim == 1 else images, positions)
        lists = (self.values, self.images, self.positions)
        joined = [
            torch.cat([old[changed], new.T[changed].to(old)], 1) for old, new in zip(lists, candidates, strict=True)
        ]
        order = joined[1].argsort(dim=1, stable=True)  # by number, then by value: ties go to the lower number
        order = order.gather(1, joined[0].gather(1, order).argsort(dim=1, descending=True, stable=True))[:, : self.k]
        for old, new in zip(lists, joined, strict=True):
            old[changed] = new.gather(1, order)

    def merge(self, other: TopK) -> None:
        """Enter the lists of other images."""
        self.enter(other.values.T, other.images.T, other.positions.T)

    def map_positions(self) -> Tensor:
        """Positions in the channels' maps, (channels, k, dimensions); -1 for none."""
        return unpacked(self.positions, int(self.dimensions))


# Positions as one number each, ordered as in the map


def packed(indices: Tensor, dims: Sequence[int]) -> Tensor:
    """Flat indices into maps of size `dims` as numbers from which the position can be told without `dims`."""
    bits = 62 // max(1, len(dims))
    numbers = torch.zeros_like(indices)
    for coordinate in torch.unravel_index(indices, dims) if dims else ():
        numbers = (numbers << bits) + coordinate
    return numbers


def unpacked(numbers: Tensor, dimensions: int) -> Tensor:
    """The positions (..., dimensions) that `packed` turned into numbers; -1 stays -1."""
    bits = 62 // max(1, dimensions)
    coordinates = [(numbers >> bits * axis) & (2**bits - 1) for axis in reversed(range(dimensions))]
    positions = torch.stack(coordinates, -1) if coordinates else numbers[..., None][..., :0]
    return torch.where(numbers[..., None] < 0, -1, positions)


# Maxima of maps


def first_maxima(maps: Tensor, channels: Tensor, maxima: Tensor) -> Tensor:
    """Packed positions of the maxima of one image's maps, the first of equal ones, (n,) on the CPU.

    Args:
        maps: (channels, *dims).
        channels: The channels in question, (n,).
        maxima: Their maxima, (n,).
    """
    dims = tuple(maps.shape[1:])
    channels, last = channels.to(maps.device), maps.movedim(0, -1)
    if not last.is_contiguous():
        return packed(maps[channels].flatten(1).argmax(1), dims).cpu()
    # In channels_last the values of one channel lie far from each other: all channels are searched together.
    rows = last.flatten(0, -2).index_select(1, channels)
    index, column = (rows == maxima.to(rows)).nonzero().unbind(1)
    first = torch.full_like(channels, len(rows)).scatter_reduce_(0, column, index, "amin")
    return packed(first, dims).cpu()


def strongest(maps: Tensor, count: int, distances: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The strongest units of each map of one image, the first of equal ones.

    A unit suppresses weaker ones whose distance from it is below the given one along every axis.

    Args:
        maps: (n, *dims).
        count: How many units of each map to find.
        distances: Distance per axis, in positions.

    Returns:
        Activations (count, n), -inf where no unit is left, and packed positions (count, n), both on the CPU.
    """
    dims = tuple(maps.shape[1:])
    remaining = maps.flatten(1)
    coordinates = torch.unravel_index(torch.arange(remaining.shape[1], device=maps.device), dims)
    values, positions = [], []
    for number in range(count):
        index = remaining.argmax(1)
        values.append(remaining.gather(1, index[:, None])[:, 0].cpu().double())
        positions.append(packed(index, dims).cpu())
        if number + 1 < count:
            near = torch.ones_like(remaining, dtype=torch.bool)
            for axis, center, distance in zip(coordinates, torch.unravel_index(index, dims), distances, strict=True):
                near &= (axis - center[:, None]).abs() < distance
            remaining = remaining.masked_fill(near, -torch.inf)
    return torch.stack(values), torch.stack(positions)
