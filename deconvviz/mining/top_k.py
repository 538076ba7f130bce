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

    def __init__(self, channels: int, k: int, dimensions: int, device: torch.device | None = None) -> None:
        self.k = k
        self.dimensions = torch.tensor(dimensions)
        self.values = torch.full((channels, k), -torch.inf, dtype=torch.float64, device=device)
        self.images = torch.full((channels, k), -1, dtype=torch.long, device=device)
        self.positions = torch.full((channels, k), -1, dtype=torch.long, device=device)

    def may_enter(self, values: Tensor, images: Tensor) -> Tensor:
        """Which of the values would be among the k strongest of their channel, (channels, n).

        Args:
            values: Activations, (channels, n).
            images: Their images, (channels, n).
        """
        weakest, last = self.values[:, -1:], self.images[:, -1:]
        return (values > weakest) | ((values == weakest) & ((images < last) | (last < 0)))

    def enter(self, values: Tensor, images: Tensor, positions: Tensor) -> None:
        """Enter candidates into the lists, without a read by the host.

        Args:
            values: Activations, (channels, n), float64.
            images: Their images, (channels, n).
            positions: Their packed positions, (channels, n).
        """
        lists = (self.values, self.images, self.positions)
        joined = [torch.cat(pair, 1) for pair in zip(lists, (values, images, positions), strict=True)]
        order = joined[1].argsort(dim=1, stable=True)  # by number, then by value: ties go to the lower number
        order = order.gather(1, joined[0].gather(1, order).argsort(dim=1, descending=True, stable=True))[:, : self.k]
        for old, new in zip(lists, joined, strict=True):
            old.copy_(new.gather(1, order))

    def merge(self, other: TopK) -> None:
        """Enter the lists of other images."""
        self.enter(other.values, other.images, other.positions)

    def map_positions(self) -> Tensor:
        """Positions in the channels' maps, (channels, k, dimensions); -1 for none."""
        return unpacked(self.positions, int(self.dimensions))


# Positions as one number each, ordered as in the map


class PackedPlaces:
    """Turns places in maps into numbers from which a position can be told without the sizes of its map.

    Args:
        geometry: The number of channels of each layer, and the sizes of its maps.
        device: Where the places lie.
    """

    def __init__(self, geometry: Sequence[tuple[int, Sequence[int]]], device: torch.device) -> None:
        deepest = max((len(dims) for _, dims in geometry), default=0)
        channels = torch.tensor([count for count, _ in geometry], device="cpu")
        bits = torch.tensor([62 // max(1, len(dims)) for _, dims in geometry], device="cpu")
        padded = [(1,) * (deepest - len(dims)) + tuple(dims) for _, dims in geometry]  # an axis of size 1 adds nothing
        sizes = torch.tensor(padded, dtype=torch.long, device="cpu").reshape(len(geometry), deepest)
        strides = sizes.flip(1).cumprod(1).flip(1) // sizes
        self.bits = bits.repeat_interleave(channels)[:, None].to(device)
        self.axes = [
            (
                sizes[:, axis].repeat_interleave(channels)[:, None].to(device),
                strides[:, axis].repeat_interleave(channels)[:, None].to(device),
            )
            for axis in range(deepest)
        ]

    def __call__(self, places: Tensor, channels: slice) -> Tensor:
        """The packed positions of places, (channels, n), in the maps of some channels."""
        numbers = torch.zeros_like(places)
        for size, stride in self.axes:
            numbers = (numbers << self.bits[channels]) + places // stride[channels] % size[channels]
        return numbers


def unpacked(numbers: Tensor, dimensions: int) -> Tensor:
    """The positions (..., dimensions) that `packed` turned into numbers; -1 stays -1."""
    bits = 62 // max(1, dimensions)
    coordinates = [(numbers >> bits * axis) & (2**bits - 1) for axis in reversed(range(dimensions))]
    positions = torch.stack(coordinates, -1) if coordinates else numbers[..., None][..., :0]
    return torch.where(numbers[..., None] < 0, -1, positions)
