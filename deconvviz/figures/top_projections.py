"""Figure 2 of Zeiler and Fergus: the projections of a channel's strongest units beside their patches.

All tiles have one size. A receptive field that reaches over the border of its image is filled up with grey, its patch
and its projection alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image
from torch import Tensor

from deconvviz.arguments import CLASS_NAMES, TEXT, list_of, takes
from deconvviz.errors import InputError
from deconvviz.figures.canvas import MARGIN, canvas
from deconvviz.figures.marks import (
    CAPTION,
    HEADING,
    KEY_INCHES,
    TITLE,
    TITLE_LINE,
    draw_key,
    kind_of,
    room_for_key,
    shortened,
    signed_words,
    wrapped,
)
from deconvviz.figures.overlays import KEY, checked_alpha, draw_behind, energy_words, heated_tiles, key_behind
from deconvviz.figures.projections import COLUMNS, ENLARGE, PROJECTION, draw, tile_image
from deconvviz.figures.signals import (
    Cell,
    Panel,
    cells_figure,
    common_scale,
    has_signals,
    pairs,
    refuse_rate,
    signed_key,
)
from deconvviz.figures.tiles import label, note, same_size, smoothing, unit_tiles, unit_views
from deconvviz.figures.views import View
from deconvviz.images import tiled
from deconvviz.io.default_device import on_the_cpu
from deconvviz.results import ChannelTop, Projection, TopProjections
from deconvviz.results.energy import checked_sigma
from deconvviz.results.words import in_digits

GREY = 0.5  # of what lies outside the image; zero in a projection of three colours
CALLED = 46  # characters of what a channel is called, at most
SQUARE = 1.75  # inches of a square of tiles
GREY_LINE = 0.8  # the grey between tiles: zero in a projection of one colour is white
SHARPEST = 100  # pixels that a tile of a figure is wide, at least
PROJECTIONS = list_of(PROJECTION, "projections")


class Heat(NamedTuple):
    """How the energy of projections is laid over the images.

    Attributes:
        alpha: The opacity where it is highest.
        sigma: The deviation of its smoothing in pixels, or None for the usual one.
    """

    alpha: float
    sigma: float | None

    def panels(self, views: Sequence[View]) -> list[Panel]:
        """What is drawn of the inputs of a unit, where some are signals."""
        behind = partial(draw_behind, alpha=self.alpha, sigma=self.sigma)
        return [(behind, one) for one in views]


@takes(projections=PROJECTIONS, columns=COLUMNS, scale=TEXT, enlarge=ENLARGE)
@on_the_cpu
def top_image(
    projections: Sequence[Projection],
    columns: int | None = 4,
    *,
    scale: str = "each",
    overlay: float | None = None,
    sigma: float | None = None,
    enlarge: int = 2,
) -> Image.Image:
    """The grid of `top_grid` without labels, each pixel `enlarge` times as large.

    Args:
        projections: One projection per channel, usually of its nine strongest images.
        columns: Channels per row.
        scale: "each" for one scale per picture, or "shared".
        overlay: An opacity: show the energy of the projections over the patches in place of the projections.
        sigma: Smooth the projections by a Gaussian of this standard deviation in pixels; None for no smoothing, or of
            the energy, for a twentieth of the receptive field.
        enlarge: How many times to enlarge each pixel.
    """
    views, heat = _channels(projections, overlay, sigma)
    if any(map(has_signals, views)):
        raise InputError("signals are drawn as lines, not as tiles; use top_grid")
    blocks = [torch.cat(pair, 1) for pair in _blocks(views, scale, heat, sharp=False)]
    return tile_image(blocks, columns, enlarge, gap=6)


@takes(projections=PROJECTIONS, columns=COLUMNS, scale=TEXT, names=CLASS_NAMES, title=TEXT)
@on_the_cpu
def top_grid(
    projections: Sequence[Projection],
    columns: int | None = None,
    *,
    scale: str = "each",
    overlay: float | None = None,
    sigma: float | None = None,
    rate: float | None = None,
    names: Sequence[str] = (),
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """The strongest units of channels: projections on the left, patches on the right, in order of strength.

    Of signals, the units of a channel follow one another in rows of up to three, each with its projection below.

    Args:
        projections: One projection per channel, usually of its nine strongest images.
        columns: Channels per row; None for up to three. Of signals, units per row.
        scale: "each" for one scale per picture, or "shared".
        overlay: An opacity from 0 to 1: show the energy of the projections laid over the patches, as
            `Projection.overlay` does, in place of the projections.
        sigma: Smooth the projections by a Gaussian of this standard deviation in pixels, which the title then says;
            None for no smoothing, or of the energy, for a twentieth of the receptive field.
        rate: Of signals, the samples per second, for an axis of time.
        names: What each channel is called, one per projection, in a second line; "" for nothing.
        title: The figure's title; by default the layer, the style and how the pictures are scaled.
        axes: Where to draw instead of in a figure of its own; the axis there is hidden.
    """
    views, heat = _channels(projections, overlay, sigma)
    shown = [projection for projection in projections if projection.units]
    if any(map(has_signals, views)):
        cells = _cells(shown, views, scale, columns or 3, heat)
        where = "behind each signal" if heat else "below each signal"
        title = title or f"{_words(projections[0], scale, sigma, heat)}, {where}"
        every = [of_unit for channel in views for of_unit in channel]
        key = key_behind(every) if heat else signed_key(every, scale)
        return cells_figure(cells, columns=columns or 3, rate=rate, title=title, key=key, axes=axes)
    refuse_rate(rate)
    blocks = _blocks(views, scale, heat, sharp=True)
    across = min(len(blocks), columns or min(3, math.ceil(math.sqrt(len(blocks)))))
    rows = -(-len(blocks) // across)
    height, width = blocks[0][0].shape[:2]
    called = {id(projection): name for projection, name in zip(projections, names, strict=False)}
    wide = across * (2 * SQUARE + 0.25)
    beside = " over the patches, and the patches alone" if heat else " and patches"
    title = wrapped(title or f"{_words(projections[0], scale, sigma, heat)}{beside}", wide - MARGIN, TITLE)
    headings = [_heading(projection, called.get(id(projection), "")) for projection in shown]
    above_squares = 0.35 + 0.15 * max(text.count("\n") for text in headings)  # inches
    tall = rows * (SQUARE * height / width + above_squares) + 0.5 + TITLE_LINE * title.count("\n")
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.01, hspace=0.01)
    figure = canvas((wide, tall + KEY_INCHES), axes, layout=layout)
    above, below = room_for_key(figure, tall)
    squares = above.subplots(rows, 2 * across, squeeze=False)
    for square in squares.flat:
        square.axis("off")
    for number, (heading, pair) in enumerate(zip(headings, blocks, strict=True)):
        row, column = divmod(number, across)
        for part, block in enumerate(pair):
            squares[row, 2 * column + part].imshow(block.numpy(), interpolation="nearest")
        squares[row, 2 * column].set_title(heading, fontsize=HEADING, loc="left")
    channels = len(views[0][0][0].pixels)
    key = KEY if heat else (kind_of(channels), signed_words(channels, scale))
    draw_key(below.subplots(), *key)
    figure.suptitle(title, fontsize=TITLE)
    captions = energy_words(sigma) if heat else "", note(of_unit for channel in views for of_unit in channel)
    if any(captions):
        figure.supxlabel(" ".join(filter(None, captions)), fontsize=CAPTION, color="0.3", wrap=True)
    return figure


def _heading(projection: Projection, name: str) -> str:
    """What stands above the squares of a channel."""
    strongest = max(unit.activation for unit in projection.units)
    said = f"channel {projection.units[0].channel}, strongest {in_digits(strongest)}"
    name = shortened(name, CALLED, len(", AUC 0.00)"))
    return wrapped("\n".join(filter(None, [said, name])), 2 * SQUARE + 0.15, HEADING)


def _words(projection: Projection, scale: str, sigma: float | None, heat: Heat | None) -> str:
    where, scaled = projection.provenance, "each on its own scale" if scale == "each" else "all on one scale"
    shown = "energy of the projections" if heat else f"projections ({scaled}{smoothing(sigma or 0.0)})"
    return f"{where.layer}, {where.style['name']}: {shown}"


def _channels(
    projections: Sequence[Projection], overlay: float | None, sigma: float | None
) -> tuple[list[list[list[View]]], Heat | None]:
    """Per channel and unit, the inputs that are drawn; and how the energy is laid over them, if it is."""
    if not projections:
        raise InputError("there is no projection to show; give at least one")
    heat = None if overlay is None else Heat(checked_alpha(overlay), checked_sigma(sigma))
    smooth = 0.0 if heat or sigma is None else sigma
    channels = [unit_views(projection, True, smooth) for projection in projections if projection.units]
    if not channels:
        raise InputError("the projections have no units; give channels that fire")
    return channels, heat


def _cells(
    projections: Sequence[Projection], channels: Sequence[list[list[View]]], scale: str, columns: int, heat: Heat | None
) -> list[Cell]:
    """Units of signals; each channel begins a row."""
    cells: list[Cell] = []
    for projection, views in zip(projections, channels, strict=True):
        end = common_scale(views, scale)
        cells += [("", [])] * (-len(cells) % columns)
        cells += [
            (f"{label(unit)}, number {rank}", heat.panels(of_unit) if heat else pairs(of_unit, end))
            for rank, (unit, of_unit) in enumerate(zip(projection.units, views, strict=True), 1)
        ]
    return cells


def _blocks(
    views: Sequence[Sequence[Sequence[View]]], scale: str, heat: Heat | None, *, sharp: bool
) -> list[tuple[Tensor, Tensor]]:
    """Per channel the squares of its projections, or of their energy, and of its patches, all of one size.

    If `sharp`, each pixel is enlarged to a square of several, so that none is blurred or left out where it is drawn.
    """
    channels = [unit_tiles(channel, scale, fill=GREY) for channel in views]
    if heat:
        heated = [heated_tiles(channel, heat.alpha, heat.sigma, fill=GREY) for channel in views]
        channels = [
            [(patch, tile) for (patch, _), tile in zip(units, tiles, strict=True)]
            for units, tiles in zip(channels, heated, strict=True)
        ]
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


def top_pages(top: TopProjections, per_page: int, **options: Any) -> list[Figure]:
    """Figures of at most `per_page` channels each, with the options of `top_grid`; each says which page it is."""
    channels = [channel for channel in top if channel.projection.units]
    if options.get("scale") == "shared" or len(channels) <= per_page:  # pages have scales of their own
        return [_top_figure(list(top), **options)]
    starts = range(0, len(channels), per_page)
    figures = [_top_figure(channels[start : start + per_page], **options) for start in starts]
    for number, figure in enumerate(figures, 1):
        figure.suptitle(f"{figure.get_suptitle()} ({number} of {len(figures)})", fontsize=TITLE)
    return figures


@draw.register
def _(top: TopProjections, columns: int | None = None, **options: Any) -> Figure:
    return _top_figure(list(top), columns, **options)


def _top_figure(channels: Sequence[ChannelTop], columns: int | None = None, **options: Any) -> Figure:
    names = [channel.called for channel in channels]
    return top_grid([channel.projection for channel in channels], columns, **{"names": names} | options)
