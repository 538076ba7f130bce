"""The strongest unit of each map, and where it lies: its value and place in one reading of the map.

On an accelerator this is one operation, which the host does not wait for. On the CPU torch's own `max` with indices is
four to fourteen times slower than `amax`, so maps are reduced block by block, and only the block with the maximum is
searched. Where channels lie next to each other, max pooling finds the places on the way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 128  # positions of a map whose values lie next to each other, which are reduced together on the CPU
POOLED = 1024  # positions that are pooled together where channels lie next to each other
AT_ONCE = 2**25  # values that are searched together for several units of a map


def flat(maps: Tensor) -> Tensor:
    """Maps (N, channels, *dims) as (N, channels, positions); a view, except for unusual layouts."""
    return maps.flatten(2) if maps.ndim > 2 else maps[:, :, None]


def strongest(maps: Tensor, values: Tensor, places: Tensor) -> None:
    """Write the maximum of each map, and its place, the first of equal ones.

    Args:
        maps: (N, channels, positions).
        values: For the maxima, (N, channels), of the same type and on the same device.
        places: For their places, (N, channels), long.
    """
    if maps.device.type == "cpu":
        maximum, place = _by_blocks(maps)
        values.copy_(maximum)
        places.copy_(place)
    else:
        torch.max(maps, 2, out=(values, places))


def _by_blocks(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Maxima and their places: the maximum of each block, the first block that has the map's, and the place in it."""
    count = maps.shape[2]
    if maps.stride(1) < maps.stride(2) and maps.is_floating_point():
        return _by_pooling(maps, min(count, POOLED))
    size = _block(count)
    if size >= count:
        return maps.max(2)
    if maps.is_contiguous() and count % size == 0:  # a block is a row of the memory, and copied as such
        rows = maps.view(-1, size)
        values, block = rows.amax(1).view(*maps.shape[:2], -1).max(2)
        first = torch.arange(0, len(rows), count // size, device=maps.device).view_as(block)
        within = rows.index_select(0, (first + block).flatten()).argmax(1).view_as(block)
        return values, block * size + within
    whole = maps.narrow(2, 0, count // size * size).unflatten(2, (-1, size)).amax(3)
    if count % size:
        rest = maps.narrow(2, count // size * size, count % size).amax(2, keepdim=True)
        whole = torch.cat([whole, rest], 2)
    values, block = whole.max(2)
    # The last block may be shorter. Then it is searched with values before it that are smaller than the maximum.
    start = (block * size).clamp_(max=count - size)
    return values, start + maps.gather(2, start[..., None] + torch.arange(size, device=maps.device)).argmax(2)


def _by_pooling(maps: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The same for channels last: torch's max pooling takes as long as `amax` there, and also knows the places."""
    values, places = F.max_pool2d(maps.unsqueeze(2), (1, size), ceil_mode=True, return_indices=True)
    best, block = values.squeeze(2).max(2, keepdim=True)
    return best.squeeze(2), places.squeeze(2).gather(2, block).squeeze(2)


def _block(count: int) -> int:
    """How many of a map's positions to reduce together, as was fastest on maps of 7 x 7 to 224 x 224."""
    wanted = BLOCK if count > 4 * BLOCK else math.isqrt(count)
    return next((size for size in range(wanted, wanted // 2, -1) if count % size == 0), wanted)


def several(
    maps: Tensor, dims: Sequence[int], distances: Sequence[float], wanted: tuple[Tensor, Tensor], activations: Tensor
) -> Tensor:
    """The strongest units of some maps, the first of equal ones, each with enough distance from stronger ones.

    A unit suppresses weaker ones whose distance from it is below the given one along every axis.

    Args:
        maps: (N, channels, positions).
        dims: Sizes of a map.
        distances: Distance per axis, in positions.
        wanted: Image and channel of each map to be searched, (n,) each.
        activations: Filled with the units' activations, (N, count, channels); the maxima are in the first row. Other
            units of maps that are not searched, and units that a map does not have, become -inf.

    Returns:
        Their places, (N, count, channels), -1 for none.
    """
    count = activations.shape[1]
    places = torch.full_like(activations, -1, dtype=torch.long)
    activations[:, 1:] = -torch.inf
    coordinates = _coordinates(torch.arange(maps.shape[2], device=maps.device), dims)
    for images, channels in _parts(wanted, maps.shape[2]):
        left = maps[images, channels]
        for number in range(count):
            value, place = left.max(1)
            activations[images, number, channels] = value
            places[images, number, channels] = torch.where(value == -torch.inf, -1, place)
            if number + 1 < count:
                near = torch.ones_like(left, dtype=torch.bool)
                centers = _coordinates(place, dims)
                for axis, center, distance in zip(coordinates, centers, distances, strict=True):
                    near &= (axis - center[:, None]).abs() < distance
                left = left.masked_fill(near, -torch.inf)
    return places


def _coordinates(places: Tensor, dims: Sequence[int]) -> list[Tensor]:
    """As `torch.unravel_index`, which sends numbers to the device at each call."""
    return [places // math.prod(dims[axis + 1 :]) % size for axis, size in enumerate(dims)]


def _parts(wanted: tuple[Tensor, Tensor], positions: int) -> Iterator[tuple[Tensor, Tensor]]:
    size = max(1, AT_ONCE // positions)
    return zip(*(numbers.split(size) for numbers in wanted), strict=True)
