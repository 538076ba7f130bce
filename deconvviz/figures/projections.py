"""Grids of projections, strips of reconstructions, and curves.

Signed maps have zero in the middle of a symmetric scale, because the last step of a deconvnet is not rectified. Each
picture has its own scale (`deconvviz.images.display_scale`) unless `scale="shared"`.
"""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image
from torch import Tensor

from deconvviz.arguments import FLAG, MAPPING, TENSOR, TEXT, checked_as, instance, list_of, optional, takes, whole_from
from deconvviz.errors import InputError
from deconvviz.figures.canvas import canvas, panel
from deconvviz.figures.signals import below, cells_figure, common_scale, has_signals, pairs, refuse_rate
from deconvviz.figures.tiles import label, note, picture, signed_picture, smoothing, unit_tiles, unit_views, with_note
from deconvviz.figures.views import View, views_of_sample
from deconvviz.images import as_rgb, signed_as_rgb, tiled, to_pil
from deconvviz.results import LearningCurves, Projection, Reconstruction, TopActivations
from deconvviz.results.words import counted

COLUMNS = optional(whole_from(1))
ENLARGE = whole_from(1, 1001)
PROJECTION = instance("a Projection", Projection)

GAP = 2  # pixels between tiles of a PIL image, in the tiles' own pixels
TILE_PIXELS = 96  # pixels that a figure's tile is enlarged to, at least


@functools.singledispatch
def draw(result: Any, **options: Any) -> Figure:
    """The figure of a result, by its type."""
    raise InputError(f"there is no figure for a {type(result).__name__}")


# Projections


@takes(projection=PROJECTION, columns=COLUMNS, scale=TEXT, crop=FLAG, title=TEXT)
def projection_grid(
    projection: Projection,
    columns: int | None = None,
    *,
    scale: str = "each",
    crop: bool = True,
    sigma: float = 0.0,
    rate: float | None = None,
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """Every unit of a projection next to its image patch, labelled by channel and activation.

    Signals are drawn as lines, with the projection under the signal. Of a volume, three slices through the strongest
    place of the projection are shown. Of several inputs all are shown but numbers, each with its own window.

    Args:
        projection: The projection.
        columns: Pairs per row; None for an automatic choice.
        scale: "each" for one scale per picture, or "shared".
        crop: Whether to crop to the receptive field; units at the border are padded with white.
        sigma: Smooth the projections by a Gaussian of this standard deviation in pixels, which the title then says.
            What is left of the fine grain of a deep layer can be seen better at 1.
        rate: Of signals, the samples per second, for an axis of time.
        title: The figure's title.
        axes: Where to draw instead of in a figure of its own.
    """
    views = shown_views(projection, crop, sigma)
    labels = [label(unit) for unit in projection.units]
    where = projection.provenance
    if has_signals(views):
        end = common_scale(views, scale)
        cells = [(said, pairs(of_unit, end)) for said, of_unit in zip(labels, views, strict=True)]
        title = title or f"{where.layer}, {where.style['name']}: signal and projection{smoothing(sigma)}"
        return cells_figure(cells, columns=columns, rate=rate, title=title, axes=axes)
    refuse_rate(rate)
    tiles = [tiled(pair, columns=2, gap=1) for pair in unit_tiles(views, scale)]
    title = title or f"{where.layer}, {where.style['name']}: image and projection{smoothing(sigma)}"
    return tile_figure(tiles, columns, title, labels, said=note(views), least=inches_of(tiles), axes=axes)


@takes(projection=PROJECTION, columns=COLUMNS, scale=TEXT, crop=FLAG, enlarge=ENLARGE)
def projection_image(
    projection: Projection,
    columns: int | None = None,
    *,
    scale: str = "each",
    crop: bool = True,
    sigma: float = 0.0,
    enlarge: int = 2,
) -> Image.Image:
    """The grid of `projection_grid` without labels, each pixel `enlarge` times as large."""
    views = shown_views(projection, crop, sigma)
    if has_signals(views):
        raise InputError("signals are drawn as lines, not as tiles; use projection_grid")
    tiles = [tiled(pair, columns=2, gap=1) for pair in unit_tiles(views, scale)]
    return tile_image(tiles, columns, enlarge)


def shown_views(projection: Projection, crop: bool, sigma: float = 0.0) -> list[list[View]]:
    """Per unit, its inputs that are drawn. Raises InputError without units."""
    if not projection.units:
        raise InputError("the projection has no units to show")
    return unit_views(projection, crop, sigma)


# Strips: one row of pictures per image


@takes(reconstructions=list_of(instance("a Reconstruction", Reconstruction), "reconstructions"), title=TEXT)
def reconstruction_strip(
    reconstructions: Sequence[Reconstruction], title: str = "", *, rate: float | None = None, axes: Axes | None = None
) -> Figure:
    """Images and their reconstructions from whole layers: one row per image, one column per layer.

    Signals are drawn as lines, one below the other.

    Args:
        reconstructions: One or more, of the same images.
        title: The figure's title.
        rate: Of signals, the samples per second, for an axis of time.
        axes: Where to draw instead of in a figure of its own; the axis there is hidden.
    """
    if not reconstructions:
        raise InputError("there is no reconstruction to show; give at least one")
    names = [reconstruction.provenance.layer for reconstruction in reconstructions]
    if len(set(names)) < len(names):
        names = [
            f"{reconstruction.provenance.layer}, {reconstruction.provenance.style['name']}"
            for reconstruction in reconstructions
        ]
    views = [
        [views_of_sample(reconstruction, sample) for sample in range(len(reconstruction.pixels))]
        for reconstruction in reconstructions
    ]
    if any(map(has_signals, views)):
        cells = [
            (f"input {sample}", [panel for of_input in zip(*of_sample, strict=True) for panel in below(of_input)])
            for sample, of_sample in enumerate(zip(*views, strict=True))
        ]
        title = title or f"signal, and reconstructions from {', '.join(names)}"
        return cells_figure(cells, columns=None, rate=rate, title=title, axes=axes)
    refuse_rate(rate)
    inputs = [one for of_sample in views[0] for one in of_sample]
    columns = [("input", [picture(one) for one in inputs])]
    for name, of_layer in zip(names, views, strict=True):
        columns.append((name, [signed_picture(one) for of_sample in of_layer for one in of_sample]))
    return _strip(columns, title, axes, note(views[0]))


@takes(image=TENSOR, attributions=MAPPING, title=TEXT)
def attribution_strip(
    image: Tensor, attributions: Mapping[str, Tensor], *, title: str = "", axes: Axes | None = None
) -> Figure:
    """An image (C, H, W) and its attributions by several methods, each on its own symmetric scale.

    Args:
        image: The image.
        attributions: The attributions (C, H, W) by name.
        title: The figure's title.
        axes: Where to draw instead of in a figure of its own; the axis there is hidden.
    """
    shown = [
        (str(name), [signed_as_rgb(_check_picture(f"{name}", attribution))])
        for name, attribution in attributions.items()
    ]
    return _strip([("input", [as_rgb(_check_picture("image", image))]), *shown], title, axes, with_note("", [image]))


def _strip(columns: Sequence[tuple[str, Sequence[Tensor]]], title: str, axes: Axes | None, said: str) -> Figure:
    """Named columns of pictures (H, W, 3), one row each."""
    rows = max(len(pictures) for _, pictures in columns)
    figure = canvas((1.7 * len(columns), 1.7 * rows + 0.5), axes)
    grid = figure.subplots(rows, len(columns), squeeze=False)
    for column, (name, pictures) in enumerate(columns):
        grid[0, column].set_title(name, fontsize=9)
        for row in range(rows):
            grid[row, column].axis("off")
            if row < len(pictures):
                grid[row, column].imshow(pictures[row].numpy(), interpolation="nearest")
    if title:
        figure.suptitle(title)
    if said:
        figure.supxlabel(said, fontsize=7, color="0.3", wrap=True)
    return figure


# Curves


@takes(curves=instance("LearningCurves", LearningCurves), title=TEXT)
def learning_curves(curves: LearningCurves, title: str = "", *, axes: Axes | None = None) -> Figure:
    """Loss and accuracy on training and validation images per epoch, with the diagnosis below.

    Args:
        curves: The curves.
        title: The figure's title.
        axes: Where to draw instead of in a figure of its own; the axis there is hidden.
    """
    figure = canvas((9, 3.8), axes)
    left, right = figure.subplots(1, 2)
    for part, name, train, validation in (
        (left, "loss", curves.train_loss, curves.validation_loss),
        (right, "accuracy", curves.train_accuracy, curves.validation_accuracy),
    ):
        part.plot(curves.epochs, train, "o-", ms=3, label="training")
        part.plot(curves.epochs, validation, "s--", ms=3, label="validation")
        part.set(xlabel="epoch", ylabel=name)
        part.xaxis.set_major_locator(MaxNLocator(integer=True))
        part.grid(alpha=0.3)
        part.legend(loc="upper right" if name == "loss" else "lower right")
    figure.supxlabel(curves.diagnosis, fontsize=9, wrap=True)
    figure.suptitle(title)
    return figure


@takes(top=instance("a TopActivations", TopActivations), title=TEXT)
def firing_rates(top: TopActivations, title: str = "", *, axes: Axes | None = None) -> Figure:
    """How often the channels of each layer fire, sorted; and how many are dead or fire on every image.

    Args:
        top: The result of a scan.
        title: The figure's title.
        axes: Where to draw instead of in a figure of its own; the axis there is hidden.
    """
    figure = canvas((9, 3.8), axes)
    left, right = figure.subplots(1, 2)
    colours = matplotlib.colormaps["viridis"](torch.linspace(0, 0.9, len(top.layers)).numpy())
    for (layer, statistics), colour in zip(top.statistics.items(), colours, strict=True):
        rates = statistics.fires.sort(descending=True).values
        left.plot(torch.linspace(0, 1, len(rates)).numpy(), rates.numpy(), color=colour, label=layer)
    left.set(xlabel="channels of the layer, sorted", ylabel="fraction of images on which it fires", ylim=(-0.02, 1.02))
    left.grid(alpha=0.3)
    places = range(len(top.layers))
    for shift, name in ((-0.2, "dead"), (0.2, "always_on")):
        shares = [len(getattr(statistics, name)) / len(statistics.fires) for statistics in top.statistics.values()]
        right.barh([place + shift for place in places], shares, 0.4, label=name.replace("_", " "))
    right.set(xlabel="fraction of the layer's channels", xlim=(0, 1), yticks=list(places))
    right.set_yticklabels(top.layers, fontsize=max(4, min(8, 200 // len(top.layers))))
    right.invert_yaxis()
    right.legend(loc="upper right", fontsize=8)
    if len(top.layers) <= 8:
        left.legend(loc="upper right", fontsize=8)
    figure.suptitle(title or f"{counted(top.count, 'image')} of {top.provenance.dataset}")
    return figure


draw.register(Projection, projection_grid)
draw.register(TopActivations, firing_rates)
draw.register(LearningCurves, learning_curves)


@draw.register
def _(result: Reconstruction, **options: Any) -> Figure:
    return reconstruction_strip([result], **options)


# What the grids share


def _check_picture(what: str, value: Any) -> Tensor:
    """Check an image or attributions (C, H, W). Raises InputError for anything else."""
    picture: Tensor = checked_as(TENSOR, what, value)
    check_dimensions(what, picture.shape, 3, "(C, H, W)")
    return picture


def check_dimensions(what: str, shape: Sequence[int], dimensions: int, wanted: str) -> None:
    if len(shape) != dimensions or 0 in shape:
        raise InputError(f"{what} are shown from a tensor {wanted}, not from one of shape {tuple(shape)}")


def by(shape: Sequence[int]) -> str:
    """A size in words: 3 x 3."""
    return " x ".join(map(str, shape))


def _columns(count: int, columns: int | None, tile: Tensor) -> int:
    """The given number, or one that makes the grid about one and a half times as wide as high."""
    if columns is None:
        columns = math.ceil(math.sqrt(count * 1.5 * tile.shape[0] / tile.shape[1]))
    return max(1, min(count, columns))


def tile_image(tiles: list[Tensor], columns: int | None, enlarge: int, gap: int = GAP) -> Image.Image:
    return to_pil(tiled(tiles, _columns(len(tiles), columns, tiles[0]), gap=gap), enlarge)


def inches_of(tiles: Sequence[Tensor]) -> float:
    """How wide a tile has to be for the pictures that stand in it side by side."""
    height, width, _ = tiles[0].shape
    return max(0.7, min(4.0, 0.55 * width / height))


def tile_figure(
    tiles: list[Tensor],
    columns: int | None,
    title: str,
    labels: Sequence[str] | None = None,
    *,
    said: str = "",
    least: float = 0.7,
    axes: Axes | None = None,
) -> Figure:
    """Tiles, at least `least` inches wide, with a label above each: given, or its number.

    said: what stands below, small.
    """
    enlarge = max(1, math.ceil(TILE_PIXELS / tiles[0].shape[1]))  # whole pixels stay whole whatever the figure's size
    tiles = [tile.repeat_interleave(enlarge, 0).repeat_interleave(enlarge, 1) for tile in tiles]
    height, width, _ = tiles[0].shape
    columns = _columns(len(tiles), columns, tiles[0])
    rows = -(-len(tiles) // columns)
    texts = labels or [str(number) for number in range(len(tiles))]
    inches = max(least, 0.065 * max(map(len, texts)), min(2.5, width / enlarge / 60))  # wide enough for the labels
    headroom, gap = round(0.2 / inches * width), round(0.06 / inches * width)
    width_inches, height_inches = (
        columns * inches * (1 + gap / width) + 0.2,
        rows * inches * (height + headroom + gap) / width + 0.4,
    )
    across = max(3.0, width_inches)  # for a title
    heading = "\n".join(textwrap.fill(line, int(12 * across)) for line in title.split("\n"))
    size = across, height_inches + 0.18 * heading.count("\n")
    lines = textwrap.wrap(said, max(30, round(17 * size[0])))
    figure, shown = panel((size[0], size[1] + 0.12 * len(lines)), axes)
    sheet = tiled([torch.cat([torch.ones(headroom, width, 3), tile]) for tile in tiles], columns, gap=gap)
    shown.imshow(sheet.numpy())
    for number, text in enumerate(texts):
        x = (number % columns) * (width + gap) + gap + width / 2
        y = (number // columns) * (height + headroom + gap) + gap + headroom - 0.01 / inches * width
        shown.text(x, y, text, ha="center", va="bottom", fontsize=6)
    shown.axis("off")
    shown.set_title(heading, fontsize=10)
    if said:
        small = dict[str, Any](fontsize=6.5, color="0.3", ha="center", va="top", transform=shown.transAxes)
        shown.text(0.5, -0.01, "\n".join(lines), **small)
    return figure
