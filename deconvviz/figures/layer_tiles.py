"""What figures of filters and of feature maps share: the channels shown, and tiles of one, two or three dimensions.

Two-dimensional maps are pictures. Of three-dimensional ones the middle slices along each axis are shown side by side,
and one-dimensional ones are lines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image, ImageColor, ImageDraw
from torch import Tensor

from deconvviz.arguments import described, known, listed, one_of, whole, whole_from
from deconvviz.errors import InputError
from deconvviz.figures.marks import COLOURS
from deconvviz.figures.views import slices_through

LINE_TILE = (72, 120)  # height and width of a tile of lines
LINE_SHARPNESS = 4  # lines are drawn so many times as large, and reduced
CHANNEL_ORDER = one_of("number", "strength")
HOW_MANY = whole_from(1)
VOLUME_INCHES = 2.0  # the slices of a volume in a figure
MOST_CHANNELS = 64  # channels shown if not told otherwise


def check_scale(scale: Any) -> None:
    """Raise InputError if a scale is neither 'each' nor 'shared'."""
    if not known(scale, ("each", "shared")):
        raise InputError(f"the scale is 'each' or 'shared', not {described(scale)}")


def chosen_channels(strength: Tensor, layer: str, *, channel: Any, order: str, most: int) -> list[int]:
    """The channels to show: those given, or the first `most` of all by number or by strength.

    Args:
        strength: (channels,), the strength of each.
        layer: The layer's name.
        channel: One channel, several, or None for all.
        order: "number" or "strength". Channels that are given keep their order under "number".
        most: The highest number of channels shown if none is given.

    Raises:
        InputError: If the layer does not have such channels.
    """
    count = len(strength)
    numbers = list(range(count)) if channel is None else numbers_of(channel, count, layer)
    if order == "strength":
        numbers = [numbers[place] for place in strength[numbers].argsort(descending=True, stable=True).tolist()]
    return numbers[:most] if channel is None else numbers


def numbers_of(channel: Any, count: int, layer: str, what: str = "channels") -> list[int]:
    """One number, or several in the order given, below `count`. Raises InputError for anything else."""
    several = listed(channel)
    asked = [channel] if several is None else several
    if not asked:
        raise InputError(f"there is nothing to show; layer {layer!r} has {what} 0 to {count - 1}")
    numbers = []
    for item in asked:
        number = whole(item)
        if number is None or not 0 <= number < count:
            raise InputError(f"layer {layer!r} has {what} 0 to {count - 1}, not {described(item)}")
        numbers.append(number)
    return numbers


def size_words(size: Sequence[int]) -> str:
    """The size of a kernel or a map: 3 x 3, or length 9."""
    return f"length {size[0]}" if len(size) == 1 else " x ".join(map(str, size))


def scale_end(values: Tensor) -> float:
    """The absolute value at the end of a symmetric scale: 99.5 % of the numbers lie within it."""
    flat = values.abs().flatten()
    return float(flat.kthvalue(math.ceil(0.995 * len(flat))).values) or float(flat.max())


def map_pictures(values: Tensor, layer: str) -> list[list[Tensor]]:
    """Per map its pictures (H, W): of maps (n, H, W) themselves, of volumes (n, D, H, W) the middle slices.

    Raises InputError for maps of more dimensions.
    """
    if values.ndim == 3:
        return [[one] for one in values]
    if values.ndim != 4:
        raise InputError(f"maps of 1 to 3 dimensions are drawn, not the {values.ndim - 1} of layer {layer!r}")
    return [slices_through(one, [extent // 2 for extent in one.shape]) for one in values]


def line_tile(curves: Tensor, low: float, high: float) -> Tensor:
    """Curves (lines, length) in one tile (H, W, 3), between `low` and `high`, with a grey line at zero."""
    height, width = (LINE_SHARPNESS * extent for extent in LINE_TILE)
    sheet = Image.new("RGB", (width, height), "white")
    pen, span = ImageDraw.Draw(sheet), (high - low) or 1.0

    def place(values: Tensor) -> list[tuple[float, float]]:
        across = torch.linspace(0.03 * width, 0.97 * width, max(2, len(values)), dtype=torch.float64, device="cpu")
        up = height * (0.94 - 0.88 * (values.double() - low) / span)
        return list(zip(across.tolist(), up.expand(len(across)).tolist(), strict=True))

    if low <= 0 <= high:
        pen.line(place(torch.zeros(2, device="cpu")), fill=(190, 190, 190), width=LINE_SHARPNESS)
    for number in reversed(range(len(curves))):  # the first on top, and thickest
        colour = ImageColor.getrgb(COLOURS[number % len(COLOURS)])
        pen.line(place(curves[number]), fill=colour, width=max(2, LINE_SHARPNESS + 3 - 2 * number))
    sheet = sheet.resize((LINE_TILE[1], LINE_TILE[0]), Image.Resampling.LANCZOS)
    pixels = torch.frombuffer(bytearray(sheet.tobytes()), dtype=torch.uint8).view(*LINE_TILE, 3)
    return pixels.float() / 255
