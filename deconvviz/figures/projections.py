"""Grids of projections and strips of reconstructions.

Signed maps have zero in the middle of a symmetric scale, because the last step of a deconvnet is not rectified. Each
picture has its own scale (`deconvviz.images.display_scale`) unless `scale="shared"`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from deconvviz.arguments import FLAG, MAPPING, TENSOR, TEXT, checked_as, instance, list_of, optional, takes, whole_from
from deconvviz.errors import InputError
from deconvviz.figures.canvas import MARGIN, canvas, panel
from deconvviz.figures.marks import (
    CAPTION,
    HEADING,
    KEY_INCHES,
    SMALL,
    TITLE,
    TITLE_LINE,
    draw_key,
    framed,
    key_below,
    key_label,
    kind_of,
    room_for_key,
    signed_words,
    wrapped,
)
from deconvviz.figures.signals import below, cells_figure, common_scale, has_signals, pairs, refuse_rate, signed_key
from deconvviz.figures.tiles import (
    Frame,
    field_frames,
    label,
    note,
    picture,
    signed_picture,
    smoothing,
    unit_tiles,
    unit_views,
    with_note,
)
from deconvviz.figures.views import View, views_of_sample
from deconvviz.images import as_rgb, signed_as_rgb, tiled, to_pil
from deconvviz.io.default_device import on_the_cpu
from deconvviz.results import Projection, Reconstruction

COLUMNS = optional(whole_from(1))
ENLARGE = whole_from(1, 1001)
PROJECTION = instance("a Projection", Projection)

STRIP_PICTURE = 1.7  # inches of a picture in a strip
GAP = 2  # pixels between tiles of a PIL image, in the tiles' own pixels
TILE_PIXELS = 96  # pixels that a figure's tile is enlarged to, at least


@functools.singledispatch
def draw(result: Any, **options: Any) -> Figure:
    """The figure of a result, by its type."""
    raise InputError(f"there is no figure for a {type(result).__name__}")


# Projections


@takes(projection=PROJECTION, columns=COLUMNS, scale=TEXT, crop=FLAG, title=TEXT)
@on_the_cpu
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
        crop: Whether to crop to the receptive field; units at the border are padded with white. In whole images a frame
            marks it.
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
        key = signed_key(views, scale)
        return cells_figure(cells, columns=columns, rate=rate, title=title, key=key, axes=axes)
    refuse_rate(rate)
    pairs_of_tiles = unit_tiles(views, scale)
    tiles = [tiled(pair, columns=2, gap=1) for pair in pairs_of_tiles]
    title = title or f"{where.layer}, {where.style['name']}: image and projection{smoothing(sigma)}"
    across = pairs_of_tiles[0][0].shape[1] + 1
    frames = [
        [(top + 1, left + 1 + shift, height, width) for top, left, height, width in boxes for shift in (0, across)]
        for boxes in ([] if crop else field_frames(views))
    ]
    channels = len(views[0][0].pixels)
    return tile_figure(
        tiles,
        columns,
        title,
        labels,
        said=note(views),
        key=(kind_of(channels), signed_words(channels, scale)),
        frames=frames,
        least=inches_of(tiles),
        axes=axes,
    )


@takes(projection=PROJECTION, columns=COLUMNS, scale=TEXT, crop=FLAG, enlarge=ENLARGE)
@on_the_cpu
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
@on_the_cpu
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
        key = signed_key([one for of_layer in views for one in of_layer], "each")
        return cells_figure(cells, columns=None, rate=rate, title=title, key=key, axes=axes)
    refuse_rate(rate)
    inputs = [one for of_sample in views[0] for one in of_sample]
    columns = [("input", [picture(one) for one in inputs])]
    for name, of_layer in zip(names, views, strict=True):
        columns.append((name, [signed_picture(one) for of_sample in of_layer for one in of_sample]))
    return _strip(columns, title, axes, note(views[0]), _key(len(views[0][0][0].pixels)))


@takes(image=TENSOR, attributions=MAPPING, title=TEXT)
@on_the_cpu
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
    first = [("input", [as_rgb(_check_picture("image", image))])]
    channels = len(next(iter(attributions.values()), image))
    return _strip([*first, *shown], title, axes, with_note("", [image]), _key(channels))


def _key(channels: int) -> tuple[str, str]:
    return kind_of(channels), signed_words(channels, "each")


def _strip(
    columns: Sequence[tuple[str, Sequence[Tensor]]], title: str, axes: Axes | None, said: str, key: tuple[str, str]
) -> Figure:
    """Named columns of pictures (H, W, 3), one row each."""
    rows = max(len(pictures) for _, pictures in columns)
    across = max(3.4, STRIP_PICTURE * len(columns))
    names = [wrapped(name, across / len(columns) - 0.1, HEADING) for name, _ in columns]
    lines = max(name.count("\n") for name in names) + wrapped(title, across - MARGIN, TITLE).count("\n")
    tall = STRIP_PICTURE * rows + 0.5 + TITLE_LINE * lines
    figure = canvas((across, tall + KEY_INCHES), axes)
    above, below = room_for_key(figure, tall)
    grid = above.subplots(rows, len(columns), squeeze=False)
    for column, (name, (_, pictures)) in enumerate(zip(names, columns, strict=True)):
        grid[0, column].set_title(name, fontsize=HEADING)
        for row in range(rows):
            grid[row, column].axis("off")
            if row < len(pictures):
                grid[row, column].imshow(pictures[row].numpy(), interpolation="nearest")
    draw_key(below.subplots(), *key)
    if title:
        figure.suptitle(title, fontsize=TITLE)
    if said:
        figure.supxlabel(said, fontsize=CAPTION, color="0.3", wrap=True)
    return figure


draw.register(Projection, projection_grid)


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
    key: tuple[str, str] | None = None,
    frames: Sequence[Sequence[Frame]] = (),
    least: float = 0.7,
    axes: Axes | None = None,
) -> Figure:
    """Tiles, at least `least` inches wide, with a label above each: given, or its number.

    Args:
        tiles: The pictures (H, W, 3), all of one size.
        columns: Tiles per row; None for an automatic choice.
        title: The figure's title.
        labels: What stands above each.
        said: What stands below.
        key: Of the colours the kind, and what they are.
        frames: Per tile, what is framed in it.
        least: How wide a tile is at least, in inches.
        axes: Where to draw instead of in a figure of its own.
    """
    enlarge = max(1, math.ceil(TILE_PIXELS / tiles[0].shape[1]))  # whole pixels stay whole whatever the figure's size
    tiles = [tile.repeat_interleave(enlarge, 0).repeat_interleave(enlarge, 1) for tile in tiles]
    height, width, _ = tiles[0].shape
    columns = _columns(len(tiles), columns, tiles[0])
    rows = -(-len(tiles) // columns)
    texts = labels or [str(number) for number in range(len(tiles))]
    inches = max(least, 0.08 * max(map(len, texts)), min(2.5, width / enlarge / 60))  # wide enough for the labels
    headroom, gap = round(0.22 / inches * width), round(0.06 / inches * width)
    across = max(3.0, columns * inches * (1 + gap / width) + 0.2)  # for a title
    heading = wrapped(title, across - MARGIN, HEADING + 0.5)
    caption = wrapped(said, across - MARGIN, SMALL)
    words = key_label(key[1], across) if key else ""
    below = 0.15 * (caption.count("\n") + bool(caption) + words.count("\n")) + (0.22 if key else 0.0)
    tall = rows * inches * (height + headroom + gap) / width + 0.4 + TITLE_LINE * heading.count("\n")
    figure, shown = panel((across, tall + below), axes)
    sheet = tiled([torch.cat([torch.ones(headroom, width, 3), tile]) for tile in tiles], columns, gap=gap)
    shown.imshow(sheet.numpy())
    for number, text in enumerate(texts):
        left = (number % columns) * (width + gap) + gap
        top = (number // columns) * (height + headroom + gap) + gap + headroom
        y = top - 0.015 / inches * width
        shown.text(left + width / 2, y, text, ha="center", va="bottom", fontsize=SMALL)
        for frame in frames[number] if frames else ():
            place = [enlarge * extent for extent in frame]
            framed(shown, left + place[1] - 0.5, top + place[0] - 0.5, place[3], place[2])
    shown.axis("off")
    shown.set_title(heading, fontsize=HEADING + 0.5)
    if key:
        key_below(shown, key[0], words, caption)
    elif said:
        small = dict[str, Any](fontsize=SMALL, color="0.3", ha="center", va="top", transform=shown.transAxes)
        shown.text(0.5, -0.01, caption, **small)
    return figure
