"""Figures of filters, which say in their title what is shown and on which scale.

- Filters that read three channels, as the first layer of a network for photographs, are pictures in colours: zero is
  grey, a weight raises or lowers the brightness of its colour.
- Filters that read one channel are one picture: red is positive, white zero, blue negative.
- Filters that read more are blocks of such pictures, one for each input channel: of all of them up to 16, else of the
  nine with the largest weights, strongest first. One-dimensional ones are lines, of up to three input channels.

By default all filters have one scale, at whose end lies the 99.5th percentile of the absolute weights that are shown.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from deconvviz.arguments import TENSOR, TEXT, Kind, instance, listed, takes, whole
from deconvviz.figures.layer_tiles import (
    CHANNEL_ORDER,
    HOW_MANY,
    MOST_CHANNELS,
    VOLUME_INCHES,
    check_scale,
    chosen_channels,
    line_tile,
    map_pictures,
    numbers_of,
    scale_end,
    size_words,
)
from deconvviz.figures.marks import kind_of, signed_words
from deconvviz.figures.projections import COLUMNS, ENLARGE, by, check_dimensions, tile_figure, tile_image
from deconvviz.figures.tiles import side_by_side
from deconvviz.images import signed_as_rgb, tiled
from deconvviz.io.default_device import on_the_cpu
from deconvviz.results import Filters
from deconvviz.results.layer_pictures import magnitudes
from deconvviz.results.words import counted, in_digits

ALL_LINES = 3  # input channels that are shown as lines
ALL_PLANES, STRONGEST_PLANES = 16, 9  # up to so many input channels all are shown, else so many of them
PLANE_LINE = 0.75  # the grey between the pictures of a block, where white is zero
WEIGHT_PIXELS = 6  # pixels of a figure that a weight of a block is wide, so that the lines between are thin
BLOCK_INCHES = 1.1  # inches of a block
FILTERS_RESULT = instance("a Filters", Filters)
PLANES = Kind(
    "None, how many input channels to show, or a list of their numbers",
    lambda value: (value,) if value is None or listed(value) or (whole(value) or 0) > 0 else None,
)


class ShownFilters(NamedTuple):
    """The tiles of some filters, with their labels, a title, and of colours their kind and what they are."""

    tiles: list[Tensor]
    labels: list[str]
    title: str
    key: tuple[str, str] | None


@takes(weight=TENSOR, columns=COLUMNS, scale=TEXT, title=TEXT)
@on_the_cpu
def filter_grid(weight: Tensor, columns: int | None = None, *, scale: str = "each", title: str = "") -> Figure:
    """Weights (out, in, H, W) as a grid, numbered by output channel; for those of a layer see `DeconvNet.filters`.

    Filters with one or three input channels are one picture each; others are a block with one square per input channel.

    Args:
        weight: The weights.
        columns: Filters per row; None for an automatic choice.
        scale: "each" for one scale per filter, or "shared".
        title: The figure's title.
    """
    tiles = _tiles_of_weights(weight, scale)
    return tile_figure(tiles, columns, title or f"{len(tiles)} filters, {by(weight.shape[2:])} pixels")


@takes(weight=TENSOR, columns=COLUMNS, scale=TEXT, enlarge=ENLARGE)
@on_the_cpu
def filter_image(weight: Tensor, columns: int | None = None, *, scale: str = "each", enlarge: int = 3) -> Image.Image:
    """The grid of `filter_grid` without labels, each pixel `enlarge` times as large."""
    return tile_image(_tiles_of_weights(weight, scale), columns, enlarge)


def _tiles_of_weights(weight: Tensor, scale: str) -> list[Tensor]:
    check_dimensions("filters", weight.shape, 4, "(out, in, H, W)")
    weight = magnitudes(weight)
    return _tiles(list(weight), weight.shape[1] == 3, _ends(list(weight), scale), "", 1)


@takes(
    result=FILTERS_RESULT, columns=COLUMNS, planes=PLANES, scale=TEXT, order=CHANNEL_ORDER, most=HOW_MANY, title=TEXT
)
def draw(
    result: Filters,
    columns: int | None = None,
    *,
    channel: Any = None,
    planes: Any = None,
    scale: str = "shared",
    order: str = "number",
    most: int = MOST_CHANNELS,
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """Filters as a grid, each labelled with its channel.

    Args:
        result: The filters.
        columns: Filters per row; None for an automatic choice.
        channel: The channels whose filters are shown, one or several; None for the first `most`.
        planes: Of filters that read several channels: how many input channels are shown, those with the largest
            weights, or a list of their numbers. None for what the module says.
        scale: "shared" for one scale, or "each" for one per filter.
        order: "number", or "strength" for the filters with the largest norm first.
        most: The highest number of filters shown if no channel is given.
        title: The figure's title; by default what is shown, and on which scale.
        axes: Where to draw instead of in a figure of its own.
    """
    shown = _shown(result, scale, WEIGHT_PIXELS, channel=channel, planes=planes, order=order, most=most)
    wide = shown.tiles[0].shape[1] / (WEIGHT_PIXELS * result.weight.shape[-1] + 2)
    least = 0.7 if wide <= 1 else BLOCK_INCHES if result.weight.ndim < 5 else VOLUME_INCHES
    return tile_figure(shown.tiles, columns, title or shown.title, shown.labels, key=shown.key, axes=axes, least=least)


@takes(
    result=FILTERS_RESULT,
    columns=COLUMNS,
    planes=PLANES,
    scale=TEXT,
    order=CHANNEL_ORDER,
    most=HOW_MANY,
    enlarge=ENLARGE,
)
def grid(
    result: Filters,
    columns: int | None = None,
    *,
    channel: Any = None,
    planes: Any = None,
    scale: str = "shared",
    order: str = "number",
    most: int = MOST_CHANNELS,
    enlarge: int = 3,
) -> Image.Image:
    """The grid of `draw` without labels, each pixel `enlarge` times as large."""
    shown = _shown(result, scale, 1, channel=channel, planes=planes, order=order, most=most)
    return tile_image(shown.tiles, columns, enlarge)


def _shown(result: Filters, scale: str, enlarge: int, *, planes: Any, **choice: Any) -> ShownFilters:
    layer, strength = result.provenance.layer, result.strength.cpu()
    channels = chosen_channels(strength, layer, **choice)
    weight, inputs = magnitudes(result.weight[channels]), result.weight.shape[1]
    colours = planes is None and inputs == 3 and result.groups == 1 and weight.ndim == 4
    most_planes, fewer = (ALL_LINES, ALL_LINES) if weight.ndim == 3 else (ALL_PLANES, STRONGEST_PLANES)
    if planes is None and inputs > most_planes:
        planes = fewer
    chosen, said = _planes(result, weight, planes)
    said = "colours around grey" if colours else said
    parts = [filters[numbers] for filters, numbers in zip(weight, chosen, strict=True)]
    ends = _ends(parts, scale)
    count = f"{len(channels)} of {counted(len(result), 'filter')}" if len(channels) < len(result) else ""
    kind = "" if not result.transposed else " of a transposed convolution"
    size = size_words(result.weight.shape[2:])
    scaled = f"one scale, ±{in_digits(ends[0])}" if scale == "shared" else "each filter on its own scale"
    first = f"{layer}: {count or counted(len(result), 'filter')}{kind}, {size}" + ", strongest first" * (
        choice["order"] == "strength"
    )
    labels = [str(n) if choice["order"] == "number" else f"{n}: {in_digits(float(strength[n]), 2)}" for n in channels]
    title = "\n".join([first, f"{said}; {scaled}" if said else scaled])
    drawn = 3 if colours else 1
    key = None if weight.ndim == 3 else (kind_of(drawn), signed_words(drawn, scale))
    return ShownFilters(_tiles(parts, colours, ends, layer, enlarge), labels, title, key)


def _planes(result: Filters, weight: Tensor, planes: Any) -> tuple[list[list[int]], str]:
    """Per filter the input channels that are shown, as they are numbered within its group, and what a title says."""
    inputs, layer = result.weight.shape[1], result.provenance.layer
    if planes is not None and [whole(number) for number in listed(planes) or ()] == list(range(inputs)):
        planes = None
    if planes is None:
        return [list(range(inputs))] * len(weight), "" if inputs == 1 else f"{inputs} input channels each"
    if listed(planes) is not None:
        numbers = numbers_of(planes, inputs, layer, "input channels")
        of_group = " of the group" if result.groups > 1 else ""
        return [numbers] * len(weight), f"input channels {', '.join(map(str, numbers))}{of_group}"
    strongest = weight.flatten(2).norm(dim=2).argsort(dim=1, descending=True, stable=True)[:, : int(planes)].tolist()
    return strongest, f"the {len(strongest[0])} of {inputs} input channels with the largest weights, strongest first"


def _ends(filters: list[Tensor], scale: str) -> list[float]:
    """The end of the scale of each filter."""
    check_scale(scale)
    if scale == "each":
        return [scale_end(weight) for weight in filters]
    return [scale_end(torch.cat([weight.flatten() for weight in filters]))] * len(filters)


def _tiles(filters: list[Tensor], colours: bool, ends: list[float], layer: str, enlarge: int) -> list[Tensor]:
    """Filters (input channels, kernel size) as tiles (H, W, 3); each weight of a block is `enlarge` pixels wide."""
    if filters[0].ndim == 2:
        return [line_tile(curves, -end, end) for curves, end in zip(filters, ends, strict=True)]
    if colours:
        return [signed_as_rgb(weight, end) for weight, end in zip(filters, ends, strict=True)]
    across = math.ceil(math.sqrt(len(filters[0])))
    tiles = []
    for weight, end in zip(filters, ends, strict=True):
        planes = [
            side_by_side([signed_as_rgb(picture[None], end) for picture in pictures])
            for pictures in map_pictures(weight, layer)
        ]
        if len(planes) > 1 or enlarge > 1:
            planes = [plane.repeat_interleave(enlarge, 0).repeat_interleave(enlarge, 1) for plane in planes]
            planes = [tiled(planes, across, background=PLANE_LINE)]
        tiles += planes
    return tiles
