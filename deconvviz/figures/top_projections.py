"""Figure 2 of Zeiler and Fergus: the projections of a channel's strongest units beside their patches.

All tiles have one size. A receptive field that reaches over the border of its image is filled up with grey, its patch
and its projection alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image
from torch import Tensor

from deconvviz.arguments import TEXT, list_of, takes
from deconvviz.errors import InputError
from deconvviz.figures.canvas import canvas
from deconvviz.figures.projections import COLUMNS, ENLARGE, PROJECTION, draw, tile_image
from deconvviz.figures.signals import Cell, cells_figure, common_scale, has_signals, pairs, refuse_rate
from deconvviz.figures.tiles import label, note, same_size, smoothing, unit_tiles, unit_views
from deconvviz.figures.views import View
from deconvviz.images import tiled
from deconvviz.results import Projection, TopProjections

GREY = 0.5  # of what lies outside the image; zero in a projection of three colours
SQUARE = 1.75  # inches of a square of tiles
GREY_LINE = 0.8  # the grey between tiles: zero in a projection of one colour is white
SHARPEST = 100  # pixels that a tile of a figure is wide, at least
PROJECTIONS = list_of(PROJECTION, "projections")


@takes(projections=PROJECTIONS, columns=COLUMNS, scale=TEXT, enlarge=ENLARGE)
def top_image(
    projections: Sequence[Projection],
    columns: int | None = 4,
    *,
    scale: str = "each",
    sigma: float = 0.0,
    enlarge: int = 2,
) -> Image.Image:
    """The grid of `top_grid` without labels, each pixel `enlarge` times as large.

    Args:
        projections: One projection per channel, usually of its nine strongest images.
        columns: Channels per row.
        scale: "each" for one scale per picture, or "shared".
        sigma: Smooth the projections by a Gaussian of this standard deviation in pixels.
        enlarge: How many times to enlarge each pixel.
    """
    views = _channels(projections, sigma)
    if any(map(has_signals, views)):
        raise InputError("signals are drawn as lines, not as tiles; use top_grid")
    blocks = [torch.cat(pair, 1) for pair in _blocks(views, scale, sharp=False)]
    return tile_image(blocks, columns, enlarge, gap=6)


@takes(projections=PROJECTIONS, columns=COLUMNS, scale=TEXT, title=TEXT)
def top_grid(
    projections: Sequence[Projection],
    columns: int | None = None,
    *,
    scale: str = "each",
    sigma: float = 0.0,
    rate: float | None = None,
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """The strongest units of channels: projections on the left, patches on the right, in order of strength.

    Of signals, the units of a channel follow one another in rows of up to three, each with its projection below.

    Args:
        projections: One projection per channel, usually of its nine strongest images.
        columns: Channels per row; None for up to three. Of signals, units per row.
        scale: "each" for one scale per picture, or "shared".
        sigma: Smooth the projections by a Gaussian of this standard deviation in pixels, which the title then says.
        rate: Of signals, the samples per second, for an axis of time.
        title: The figure's title; by default the layer, the style and how the pictures are scaled.
        axes: Where to draw instead of in a figure of its own; the axis there is hidden.
    """
    views = _channels(projections, sigma)
    shown = [projection for projection in projections if projection.units]
    if any(map(has_signals, views)):
        cells = _cells(shown, views, scale, columns or 3)
        title = title or f"{_words(projections[0], scale, sigma)}, below each signal"
        return cells_figure(cells, columns=columns or 3, rate=rate, title=title, axes=axes)
    refuse_rate(rate)
    blocks = _blocks(views, scale, sharp=True)
    across = min(len(blocks), columns or min(3, math.ceil(math.sqrt(len(blocks)))))
    rows = -(-len(blocks) // across)
    height, width = blocks[0][0].shape[:2]
    size = across * (2 * SQUARE + 0.25), rows * (SQUARE * height / width + 0.35) + 0.5
    figure = canvas(size, axes, layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.01, hspace=0.01))
    squares = figure.subplots(rows, 2 * across, squeeze=False)
    for square in squares.flat:
        square.axis("off")
    for number, (projection, pair) in enumerate(zip(shown, blocks, strict=True)):
        row, column = divmod(number, across)
        for part, block in enumerate(pair):
            squares[row, 2 * column + part].imshow(block.numpy(), interpolation="nearest")
        strongest = max(unit.activation for unit in projection.units)
        said = f"channel {projection.units[0].channel}, strongest {strongest:.3g}"
        squares[row, 2 * column].set_title(said, fontsize=9, loc="left")
    figure.suptitle(title or f"{_words(projections[0], scale, sigma)} and patches", fontsize=11)
    if said := note(of_unit for channel in views for of_unit in channel):
        figure.supxlabel(said, fontsize=7, color="0.3", wrap=True)
    return figure


def _words(projection: Projection, scale: str, sigma: float) -> str:
    where, scaled = projection.provenance, "each on its own scale" if scale == "each" else "all on one scale"
    return f"{where.layer}, {where.style['name']}: projections ({scaled}{smoothing(sigma)})"


def _channels(projections: Sequence[Projection], sigma: float) -> list[list[list[View]]]:
    """Per channel and unit, the inputs that are drawn."""
    if not projections:
        raise InputError("there is no projection to show; give at least one")
    channels = [unit_views(projection, True, sigma) for projection in projections if projection.units]
    if not channels:
        raise InputError("the projections have no units; give channels that fire")
    return channels


def _cells(
    projections: Sequence[Projection], channels: Sequence[list[list[View]]], scale: str, columns: int
) -> list[Cell]:
    """Units of signals; each channel begins a row."""
    cells: list[Cell] = []
    for projection, views in zip(projections, channels, strict=True):
        end = common_scale(views, scale)
        cells += [("", [])] * (-len(cells) % columns)
        cells += [
            (f"{label(unit)}, number {rank}", pairs(of_unit, end))
            for rank, (unit, of_unit) in enumerate(zip(projection.units, views, strict=True), 1)
        ]
    return cells


def _blocks(views: Sequence[Sequence[Sequence[View]]], scale: str, sharp: bool) -> list[tuple[Tensor, Tensor]]:
    """Per channel the squares of its projections and of its patches, all of one size.

    If `sharp`, each pixel is enlarged to a square of several, so that none is blurred or left out where it is drawn.
    """
    channels = [unit_tiles(channel, scale, fill=GREY) for channel in views]
    flat = [tile for units in channels for pair in units for tile in pair]
    flat = same_size(flat, [(True, True)] * len(flat), fill=GREY)
    enlarge = max(1, math.ceil(SHARPEST / flat[0].shape[1])) if sharp else 1
    tiles = iter([tile.repeat_interleave(enlarge, 0).repeat_interleave(enlarge, 1) for tile in flat])
    across = math.ceil(math.sqrt(max(map(len, channels))))
    blocks = []
    for units in channels:
        patches, pictures = zip(*((next(tiles), next(tiles)) for _ in units), strict=True)
        blank = [torch.ones_like(patches[0])] * (across * across - len(units))
        gap = 3 if sharp else 1
        blocks.append(
            (
                tiled([*pictures, *blank], across, gap=gap, background=GREY_LINE),
                tiled([*patches, *blank], across, gap=gap, background=GREY_LINE),
            )
        )
    return blocks


@draw.register
def _(top: TopProjections, columns: int | None = None, **options: Any) -> Figure:
    return top_grid([channel.projection for channel in top], columns, **options)
