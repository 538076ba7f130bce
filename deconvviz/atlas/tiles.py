"""Pictures of one size for a layer's units, and sheets of them as WebP.

Tiles are RGBA. Pixels outside the image, and the places of units that a channel does not have, are transparent, so that
the page's background is visible there, in light and in dark mode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deconvviz.mining.dataset_pictures import Picture

Tile = NDArray[np.uint8]  # (H, W, 4), RGBA

LOSSLESS = 7  # from this factor of enlargement on, lossless files are smaller, and exact
QUALITY = 85
GUTTER = 2  # transparent pixels between cells, so that no edge of a neighbour is visible


@dataclass(frozen=True)
class Fit:
    """How pictures are scaled to tiles: enlarged by a whole factor, or reduced.

    Attributes:
        field: Largest height and width of the pictures.
        height: Height of a tile.
        width: Width of a tile.
        factor: The factor of enlargement; 0 if tiles are reduced.
    """

    field: tuple[int, int]
    height: int
    width: int
    factor: int

    @classmethod
    def within(cls, field: tuple[int, int], room: int) -> Fit:
        """The largest tiles with no side above `room` pixels.

        >>> Fit.within((5, 3), 112).factor, Fit.within((224, 112), 112)
        (22, Fit(field=(224, 112), height=112, width=56, factor=0))
        """
        factor = room // max(field)
        scale = factor or room / max(field)
        return cls(field, max(1, round(field[0] * scale)), max(1, round(field[1] * scale)), factor)

    @property
    def lossless(self) -> bool:
        return self.factor >= LOSSLESS

    def scaled(self, whole: Tile) -> Tile:
        """A tile (height, width, 4) of `whole`, a picture with the proportions of `field`."""
        if self.factor and whole.shape[:2] == self.field:
            return whole.repeat(self.factor, 0).repeat(self.factor, 1)
        size = self.width, self.height
        return np.asarray(Image.fromarray(whole).resize(size, Image.Resampling.LANCZOS, reducing_gap=1.0), np.uint8)


def stretched(tile: Tile, neutral: int) -> Tile:
    """A reduced projection with its contrast restored, so that 98 % of its pixels stay within the range of colours.

    Signed patterns fade when several of their pixels are averaged.

    Args:
        tile: The tile.
        neutral: The grey or white that stands for zero.
    """
    away = tile[..., :3].astype(np.float32) - neutral
    red, green, blue = np.moveaxis(np.abs(away), -1, 0)
    inside = tile[..., 3] == 255  # where a border runs through a pixel, its colour is rounding
    room = max(neutral, 255 - neutral)
    end = float(np.quantile(np.maximum(np.maximum(red, green), blue)[inside], 0.98)) if inside.any() else 0.0
    if not 0 < end < room:
        return tile
    brighter = np.where(inside[..., None], np.clip(neutral + away * (room / end), 0, 255).round(), neutral)
    return np.concatenate([brighter.astype(np.uint8), tile[..., 3:]], -1)


def placed(picture: Picture, box: Sequence[int], field: tuple[int, int]) -> Tile:
    """A picture in a transparent rectangle, at the place that it would have if the image's border had not cut it.

    Args:
        picture: The picture.
        box: Its top, left, bottom and right in the image; a picture that starts at 0 was cut there, any other at its
            end.
        field: Height and width of the rectangle, at least.
    """
    height, width = picture.shape[:2]
    whole = np.zeros((max(height, field[0]), max(width, field[1]), 4), np.uint8)
    top = whole.shape[0] - height if box[0] == 0 else 0
    left = whole.shape[1] - width if box[1] == 0 else 0
    whole[top : top + height, left : left + width, :3] = picture
    whole[top : top + height, left : left + width, 3] = 255
    return whole


def mosaic(tiles: Sequence[Tile], fit: Fit, grid: tuple[int, int]) -> Tile:
    """Tiles in rows and columns with transparent lines of one pixel between them; missing ones are transparent."""
    return _in_a_grid(tiles, (fit.height, fit.width), grid, 1)[:-1, :-1]


def square(count: int) -> tuple[int, int]:
    """Rows and columns of a mosaic of `count` tiles.

    >>> [square(count) for count in (1, 2, 5, 9, 25)]
    [(1, 1), (1, 2), (2, 3), (3, 3), (5, 5)]
    """
    across = math.ceil(math.sqrt(count))
    return math.ceil(count / across), across


def sheet(cells: Sequence[Tile], across: int) -> Tile:
    """Cells of one size, row by row, each with `GUTTER` transparent pixels below it and to its right.

    A sheet of fewer than `across` cells is as narrow as they are.
    """
    columns = min(across, len(cells))
    return _in_a_grid(cells, cells[0].shape[:2], (math.ceil(len(cells) / columns), columns), GUTTER)


def strip(tiles: Sequence[Tile], fit: Fit, count: int) -> Tile:
    """`count` tiles side by side, each with a gutter to its right; missing ones are transparent."""
    return _in_a_grid(tiles, (fit.height, fit.width), (1, count), GUTTER)[:-GUTTER]


def _in_a_grid(tiles: Sequence[Tile], size: tuple[int, ...], grid: tuple[int, int], gap: int) -> Tile:
    height, width = size
    whole = np.zeros((grid[0] * (height + gap), grid[1] * (width + gap), 4), np.uint8)
    for number, tile in enumerate(tiles):
        y, x = number // grid[1] * (height + gap), number % grid[1] * (width + gap)
        whole[y : y + height, x : x + width] = tile
    return whole


def write_webp(file: IO[bytes], pixels: Tile, lossless: bool) -> None:
    """Write pixels as WebP."""
    image = Image.fromarray(pixels)
    if lossless:
        image.save(file, "WEBP", lossless=True, quality=20, method=1)  # effort, not quality
    else:  # method 4 takes twice the time for a tenth less
        image.save(file, "WEBP", quality=QUALITY, alpha_quality=100, method=2)
