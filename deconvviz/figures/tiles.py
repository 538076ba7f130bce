"""Units as tiles: what they see of their images, and their projections, as pictures of one size.

Of a volume, three slices stand side by side; of several inputs, each with its own window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor

from deconvviz.figures.layer_tiles import check_scale
from deconvviz.figures.views import View, is_stretched, views_of_unit
from deconvviz.images import display_scale, signed_as_rgb
from deconvviz.results import Projection, Unit
from deconvviz.results.energy import checked_sigma, smoothed
from deconvviz.results.words import in_digits

STRETCHED = "Images are stretched from their lowest number (black) to their highest (white)."

Frame = tuple[int, int, int, int]  # top, left, height and width of a box in a tile
EdgeTile = tuple[Tensor, tuple[bool, bool]]  # a picture (H, W, 3), and whether it begins where the image does


def shared_scale(pictures: Iterable[Tensor], scale: str) -> float | None:
    """The scale of several signed pictures (..., H, W), or None for one of its own for each."""
    check_scale(scale)
    return max(map(display_scale, pictures)) if scale == "shared" else None


def unit_views(projection: Projection, crop: bool, sigma: float = 0.0) -> list[list[View]]:
    """Per unit, its inputs that are drawn; what arrived there is smoothed by a Gaussian of `sigma` pixels."""
    deviation = checked_sigma(sigma) or 0.0
    views = [views_of_unit(projection, row, crop) for row in range(len(projection.units))]
    return [[_smoothed(one, deviation) for one in of_unit] for of_unit in views] if deviation else views


def _smoothed(one: View, sigma: float) -> View:
    channels = [smoothed(channel, sigma) for channel in one.pixels.double()]
    return one._replace(pixels=torch.stack(channels).float() if channels else one.pixels)


def smoothing(sigma: float) -> str:
    """What a title says of the smoothing."""
    return f", smoothed by a Gaussian of {sigma:g} {'pixel' if sigma == 1 else 'pixels'}" if sigma else ""


def unit_tiles(views: Sequence[Sequence[View]], scale: str, *, fill: float = 1.0) -> list[tuple[Tensor, Tensor]]:
    """Per unit its patch and its projection, (H, W, 3), all of one size; `fill` fills up smaller ones."""
    patches, signed = [], []
    for of_input in zip(*views, strict=True):
        largest = shared_scale((one.pixels.flatten(1, -2) for one in of_input), scale)
        ends = [display_scale(one.pixels.flatten(1, -2)) if largest is None else largest for one in of_input]
        patches += columns_of(of_input, lambda number, part: part.image.movedim(0, -1))
        signed += columns_of(of_input, partial(_signed, ends))
    return list(zip(joined_columns(patches, fill), joined_columns(signed, fill), strict=True))


def _signed(ends: Sequence[float], number: int, part: View) -> Tensor:
    return signed_as_rgb(part.pixels, ends[number])


def columns_of(views: Sequence[View], draw: Callable[[int, View], Tensor]) -> list[list[EdgeTile]]:
    """The pictures of one input of several units: one column or, of volumes, three.

    Args:
        views: The input, for each unit.
        draw: Draws a picture as (H, W, 3), given the number of the unit and the picture.
    """
    columns: list[list[EdgeTile]] = []
    for number, one in enumerate(views):
        for place, part in enumerate(one.slices()):
            if place == len(columns):
                columns.append([])
            columns[place].append((draw(number, part), (part.start[0] == 0, part.start[1] == 0)))
    return columns


def joined_columns(columns: Sequence[Sequence[EdgeTile]], fill: float) -> list[Tensor]:
    """One picture per unit of those in all columns, each column filled up to one size."""
    alike = [same_size([tile for tile, _ in column], [ends for _, ends in column], fill=fill) for column in columns]
    return [side_by_side(row, fill) for row in zip(*alike, strict=True)]


def field_frames(views: Sequence[Sequence[View]]) -> list[list[Frame]]:
    """Per unit, the boxes of its receptive field in the pictures of all columns, unless it is all of a picture."""
    found: list[list[Frame]] = [[] for _ in views]
    across = 0
    for of_input in zip(*views, strict=True):
        for column in zip(*(list(one.slices()) for one in of_input), strict=True):
            for frames, part in zip(found, column, strict=True):
                size = part.pixels.shape[-2:]
                (top, bottom), (left, right) = (
                    (max(0, first), min(extent, last)) for (first, last), extent in zip(part.field, size, strict=True)
                )
                if bottom - top > 0 and right - left > 0 and (bottom - top, right - left) != tuple(size):
                    frames.append((top, across + left, bottom - top, right - left))
            across += max(part.pixels.shape[-1] for part in column) + 1
    return found


def same_size(tiles: Sequence[Tensor], at_start: Sequence[tuple[bool, bool]], *, fill: float = 1.0) -> list[Tensor]:
    """Tiles filled up to the largest, at the top or left where they touch the start of the image; `fill` is a grey."""
    height, width = max(tile.shape[0] for tile in tiles), max(tile.shape[1] for tile in tiles)
    filled = []
    for tile, (at_top, at_left) in zip(tiles, at_start, strict=True):
        missing = height - tile.shape[0], width - tile.shape[1]
        top, left = missing[0] if at_top else 0, missing[1] if at_left else 0
        whole = torch.full((height, width, 3), fill)
        whole[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        filled.append(whole)
    return filled


def side_by_side(pictures: Sequence[Tensor], fill: float = 1.0) -> Tensor:
    """Pictures (H, W, 3) of any sizes in a row, with a white line between them."""
    height = max(picture.shape[0] for picture in pictures)
    parts: list[Tensor] = []
    for picture in pictures:
        below = torch.full((height - picture.shape[0], picture.shape[1], 3), fill)
        parts += [torch.ones(height, 1, 3), torch.cat([picture, below])]
    return torch.cat(parts[1:], 1)


def picture(one: View) -> Tensor:
    """An input as a picture (H, W, 3): of a volume, three slices side by side."""
    return side_by_side([part.image.movedim(0, -1) for part in one.slices()])


def signed_picture(one: View) -> Tensor:
    """What arrived at an input as a picture (H, W, 3), on its own scale."""
    end = display_scale(one.pixels.flatten(1, -2))
    return side_by_side([signed_as_rgb(part.pixels, end) for part in one.slices()])


def label(unit: Unit) -> str:
    """A unit in a few words."""
    return f"channel {unit.channel}: {in_digits(unit.activation)}"


def note(views: Iterable[Sequence[View]]) -> str:
    """What is to be said of the images, or ""."""
    return STRETCHED if any(one.stretched for of_unit in views for one in of_unit) else ""


def with_note(text: str, images: Iterable[Tensor]) -> str:
    """A caption, and after it that images (C, H, W) are stretched if one of them is."""
    return " ".join(filter(None, (text, STRETCHED if any(map(is_stretched, images)) else "")))
