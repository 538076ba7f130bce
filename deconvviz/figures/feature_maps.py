"""Figures of feature maps: a grid per image, the image first, each map labelled with its channel and its maximum.

Maps without negative numbers go from dark (zero) to bright; others from blue through white (zero) to red. They have one
scale with a colour bar, or each its own, as the title says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import matplotlib
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from deconvviz.arguments import TENSOR, TEXT, instance, takes, whole_from
from deconvviz.errors import InputError
from deconvviz.figures.canvas import panel
from deconvviz.figures.layer_tiles import (
    CHANNEL_ORDER,
    HOW_MANY,
    LINE_TILE,
    MOST_CHANNELS,
    VOLUME_INCHES,
    check_scale,
    chosen_channels,
    line_tile,
    map_pictures,
    size_words,
)
from deconvviz.figures.marks import SMALL, TITLE_LINE, wrapped
from deconvviz.figures.projections import COLUMNS, ENLARGE, TILE_PIXELS, by, check_dimensions, tile_figure, tile_image
from deconvviz.figures.tiles import side_by_side
from deconvviz.figures.views import slices_through
from deconvviz.images import as_rgb
from deconvviz.io.default_device import on_the_cpu
from deconvviz.results import FeatureMaps
from deconvviz.results.layer_pictures import magnitudes
from deconvviz.results.words import counted, in_digits

BAR = 0.9  # inches of a colour bar beside the maps
MAPS_RESULT = instance("a FeatureMaps", FeatureMaps)


class ShownMaps(NamedTuple):
    """The tiles of some maps, with their labels, a title, and the colour scale that they share."""

    tiles: list[Tensor]
    labels: list[str]
    title: str
    colours: Any


@takes(maps=TENSOR, columns=COLUMNS, title=TEXT)
@on_the_cpu
def activation_grid(maps: Tensor, columns: int | None = None, *, title: str = "") -> Figure:
    """Feature maps (C, H, W) as a grid on one scale, numbered by channel; for a layer see `DeconvNet.activations`."""
    tiles, colours = _tiles_on_one_scale(maps)
    figure = tile_figure(tiles, columns, title or f"{len(tiles)} feature maps, {by(maps.shape[1:])}")
    return _with_colour_bar(figure, colours, None)


@takes(maps=TENSOR, columns=COLUMNS, enlarge=ENLARGE)
@on_the_cpu
def activation_image(maps: Tensor, columns: int | None = None, *, enlarge: int = 2) -> Image.Image:
    """The grid of `activation_grid` without labels, each pixel `enlarge` times as large."""
    return tile_image(_tiles_on_one_scale(maps)[0], columns, enlarge)


def _tiles_on_one_scale(maps: Tensor) -> tuple[list[Tensor], Any]:
    check_dimensions("feature maps", maps.shape, 3, "(C, H, W)")
    return _coloured([[one] for one in magnitudes(maps)], "shared")


@takes(
    result=MAPS_RESULT,
    columns=COLUMNS,
    sample=whole_from(0),
    scale=TEXT,
    order=CHANNEL_ORDER,
    most=HOW_MANY,
    title=TEXT,
)
def draw(
    result: FeatureMaps,
    columns: int | None = None,
    *,
    sample: int = 0,
    channel: Any = None,
    scale: str = "shared",
    order: str = "number",
    most: int = MOST_CHANNELS,
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """The feature maps of one image as a grid, each labelled with its channel and its maximum.

    Args:
        result: The feature maps. Of a layer that has only channels, a bar is drawn for each.
        columns: Maps per row; None for an automatic choice.
        sample: The image, by its number in the batch.
        channel: The channels that are shown, one or several; None for the first `most`.
        scale: "shared" for one scale with a colour bar, or "each" for one per map.
        order: "number", or "strength" for the maps with the highest maximum first.
        most: The highest number of maps shown if no channel is given.
        title: The figure's title; by default what is shown, and on which scale.
        axes: Where to draw instead of in a figure of its own.
    """
    _check_sample(result, sample)
    if result.maps.ndim == 2:
        return _bars(result, sample, title, axes, channel=channel, order=order, most=most)
    shown = _shown(result, sample, scale, channel=channel, order=order, most=most)
    tiles, labels = shown.tiles, shown.labels
    if (picture := _input_tile(result, sample, tiles[0])) is not None:
        enlarge = max(1, -(-TILE_PIXELS // tiles[0].shape[1]))
        tiles = [tile.repeat_interleave(enlarge, 0).repeat_interleave(enlarge, 1) for tile in tiles]
        tiles, labels = [_fitted(picture, tiles[0]), *tiles], ["input", *labels]
    least = VOLUME_INCHES if result.maps.ndim == 5 else 0.7
    figure = tile_figure(tiles, columns, title or shown.title, labels, axes=axes, least=least)
    return figure if shown.colours is None else _with_colour_bar(figure, shown.colours, axes)


@takes(
    result=MAPS_RESULT,
    columns=COLUMNS,
    sample=whole_from(0),
    scale=TEXT,
    order=CHANNEL_ORDER,
    most=HOW_MANY,
    enlarge=ENLARGE,
)
def grid(
    result: FeatureMaps,
    columns: int | None = None,
    *,
    sample: int = 0,
    channel: Any = None,
    scale: str = "shared",
    order: str = "number",
    most: int = MOST_CHANNELS,
    enlarge: int = 2,
) -> Image.Image:
    """The maps of `draw` without labels and without the image, each pixel `enlarge` times as large."""
    _check_sample(result, sample)
    if result.maps.ndim == 2:
        raise InputError(
            f"layer {result.provenance.layer!r} returns one number for each channel, which is no map; figure() draws "
            f"them"
        )
    return tile_image(_shown(result, sample, scale, channel=channel, order=order, most=most).tiles, columns, enlarge)


def _check_sample(result: FeatureMaps, sample: int) -> None:
    if sample >= len(result):
        raise InputError(f"there is no image {sample}; give one from 0 to {len(result) - 1}")


def _shown(result: FeatureMaps, sample: int, scale: str, **choice: Any) -> ShownMaps:
    check_scale(scale)
    layer, strength = result.provenance.layer, result.strength[sample]
    channels = chosen_channels(strength, layer, **choice)
    maps = magnitudes(result.maps[sample][channels])
    if maps.ndim == 2:
        tiles, colours = _lines(maps, scale), None
    else:
        tiles, colours = _coloured(map_pictures(maps, layer), scale)
    count = f"{len(channels)} of {len(strength)} feature maps"
    count = count if len(channels) < len(strength) else counted(len(strength), "feature map")
    first = f"{layer}: {count}, {size_words(result.maps.shape[2:])}" + ", strongest first" * (
        choice["order"] == "strength"
    )
    volumes = "; the middle slices along each axis" if maps.ndim == 4 else ""
    scaled = "all on one scale" if scale == "shared" else "each on its own scale"
    which = f"image {sample} of {len(result)}; " if len(result) > 1 else ""
    labels = [f"{number}: {in_digits(float(strength[number]), 4)}" for number in channels]
    return ShownMaps(tiles, labels, f"{first}\n{which}channel: maximum; {scaled}{volumes}", colours)


def _coloured(maps: Sequence[Sequence[Tensor]], scale: str) -> tuple[list[Tensor], Any]:
    """Maps, each with its pictures (H, W), as tiles (H, W, 3), and the colour scale if they share one."""
    signed = any(bool((picture < 0).any()) for pictures in maps for picture in pictures)

    def colours_up_to(pictures: Iterable[Tensor]) -> Any:
        largest = max((float(picture.abs().max()) for picture in pictures), default=0.0) or 1.0
        norm = matplotlib.colors.Normalize(-largest if signed else 0, largest)
        return matplotlib.cm.ScalarMappable(norm, "RdBu_r" if signed else "viridis")

    shared = colours_up_to(picture for pictures in maps for picture in pictures) if scale == "shared" else None
    tiles = []
    for pictures in maps:
        colours = shared or colours_up_to(pictures)
        drawn = [torch.from_numpy(colours.to_rgba(picture.numpy())[..., :3]).float() for picture in pictures]
        tiles.append(side_by_side(drawn))
    return tiles, shared


def _lines(maps: Tensor, scale: str) -> list[Tensor]:
    """Maps (n, length) as tiles with a line each; zero is always in the picture."""
    shared = min(0.0, float(maps.min())), max(0.0, float(maps.max()))
    ends = [shared if scale == "shared" else (min(0.0, float(m.min())), max(0.0, float(m.max()))) for m in maps]
    return [line_tile(curve[None], low, high) for curve, (low, high) in zip(maps, ends, strict=True)]


def _input_tile(result: FeatureMaps, sample: int, tile: Tensor) -> Tensor | None:
    """The input as a tile of its own size; None if it is not drawn as the maps are."""
    shown = magnitudes(result.images[sample])
    if shown.ndim != result.maps.ndim - 1:
        return None
    if shown.ndim == 2:
        return line_tile(shown, float(shown.min()), float(shown.max()))
    if shown.ndim == 3:
        return as_rgb(shown)
    if shown.ndim != 4:
        return None
    volume = as_rgb(shown[:1].flatten(1, 2)).reshape(*shown.shape[1:], 3)
    return side_by_side(slices_through(volume, [extent // 2 for extent in shown.shape[1:]]))


def _fitted(picture: Tensor, tile: Tensor) -> Tensor:
    """A picture (H, W, 3) in the size of a tile."""
    if picture.shape == tile.shape or tile.shape[:2] == LINE_TILE:
        return picture
    sized = F.interpolate(picture.permute(2, 0, 1)[None], tuple(tile.shape[:2]), mode="bilinear", antialias=True)
    return sized[0].permute(1, 2, 0).clamp(0, 1)


def _bars(result: FeatureMaps, sample: int, title: str, given: Axes | None, **choice: Any) -> Figure:
    """The numbers of a layer that has only channels."""
    layer, values = result.provenance.layer, magnitudes(result.maps[sample])
    channels = chosen_channels(values, layer, **choice)
    wide = max(4.0, min(12.0, 0.22 * len(channels) + 1.5))
    count = f"{len(channels)} of {counted(len(values), 'channel')}" if len(channels) < len(values) else ""
    which = f", image {sample} of {len(result)}" if len(result) > 1 else ""
    said = wrapped(title or f"{layer}: {count or counted(len(values), 'channel')}{which}", wide - 0.8, 10)
    figure, axes = panel((wide, 2.6 + TITLE_LINE * said.count("\n")), given)
    axes.bar(range(len(channels)), values[channels].numpy(), width=0.8)
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.set_xticks(range(len(channels)), [str(number) for number in channels], fontsize=SMALL, rotation=90)
    axes.set(xlabel="channel", ylabel="activation", xlim=(-0.6, len(channels) - 0.4))
    axes.set_title(said, fontsize=10)
    return figure


def _with_colour_bar(figure: Figure, colours: Any, axes: Axes | None) -> Figure:
    if axes is None:
        figure.set_figwidth(figure.get_figwidth() + BAR)
    figure.colorbar(colours, ax=figure.axes[0] if axes is None else axes, shrink=0.7, pad=0.02, label="activation")
    return figure
