"""The energy of projections over the images.

The energy is the sum over channels of the squares of a projection, smoothed by a Gaussian and divided by its maximum,
``h``. A pixel of the picture is ``(1 - alpha * h) * image + alpha * h * colour(h)``: the image where nothing fired the
unit, and at most ``alpha`` of the colour where most did.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from deconvviz.arguments import FLAG, NUMBER, TEXT, checked_as, takes
from deconvviz.errors import InputError
from deconvviz.figures.marks import HEAT
from deconvviz.figures.projections import COLUMNS, ENLARGE, PROJECTION, inches_of, shown_views, tile_figure, tile_image
from deconvviz.figures.signals import Cell, cells_figure, draw_input, has_signals, level_words, refuse_rate
from deconvviz.figures.tiles import columns_of, field_frames, joined_columns, label, note
from deconvviz.figures.views import View
from deconvviz.io.default_device import on_the_cpu
from deconvviz.results import Projection
from deconvviz.results.energy import OF_THE_FIELD, checked_sigma, energy, usual_sigma

HEAT_COLOURS = matplotlib.colormaps[HEAT]
KEY = "heat", "no energy (the image alone) to the highest; each on its own scale"
LEAST = 1.6  # inches of a picture


@takes(projection=PROJECTION, columns=COLUMNS, crop=FLAG, title=TEXT)
@on_the_cpu
def overlay_grid(
    projection: Projection,
    columns: int | None = None,
    *,
    alpha: float = 0.6,
    sigma: float | None = None,
    crop: bool = False,
    rate: float | None = None,
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """Every unit's image with the energy of its projection laid over it; of a signal, behind it.

    Args:
        projection: The projection.
        columns: Pictures per row; None for an automatic choice.
        alpha: The opacity of the colour where the energy is highest, from 0 to 1.
        sigma: The standard deviation of the smoothing in pixels, 0 for none; None for a twentieth of the longest side
            of the unit's receptive field.
        crop: Whether to crop to the receptive field.
        rate: Of signals, the samples per second, for an axis of time.
        title: The figure's title; by default the layer, the style and what the colours are.
        axes: Where to draw instead of in a figure of its own.
    """
    alpha, sigma = checked_alpha(alpha), checked_sigma(sigma)
    views = shown_views(projection, crop)
    where, labels = projection.provenance, [label(unit) for unit in projection.units]
    origin = f"{where.layer}, {where.style['name']}: energy of the projection"
    if has_signals(views):
        title = title or f"{origin} behind the signal"
        behind = partial(draw_behind, alpha=alpha, sigma=sigma)
        cells: list[Cell] = [
            (said, [(behind, one) for one in of_unit]) for said, of_unit in zip(labels, views, strict=True)
        ]
        said = f"{title}\n{energy_words(sigma)}"
        return cells_figure(cells, columns=columns, rate=rate, title=said, key=key_behind(views), axes=axes)
    refuse_rate(rate)
    said = " ".join(filter(None, (energy_words(sigma), note(views))))
    title = title or f"{origin} over the image"
    tiles = heated_tiles(views, alpha, sigma)
    least = max(LEAST, inches_of(tiles))
    frames = [] if crop else field_frames(views)
    return tile_figure(tiles, columns, title, labels, said=said, key=KEY, frames=frames, least=least, axes=axes)


@takes(projection=PROJECTION, columns=COLUMNS, crop=FLAG, enlarge=ENLARGE)
@on_the_cpu
def overlay_image(
    projection: Projection,
    columns: int | None = None,
    *,
    alpha: float = 0.6,
    sigma: float | None = None,
    crop: bool = False,
    enlarge: int = 2,
) -> Image.Image:
    """The grid of `overlay_grid` without labels, each pixel `enlarge` times as large."""
    alpha, sigma = checked_alpha(alpha), checked_sigma(sigma)
    views = shown_views(projection, crop)
    if has_signals(views):
        raise InputError("signals are drawn as lines, not as tiles; use overlay_grid")
    return tile_image(heated_tiles(views, alpha, sigma), columns, enlarge)


def checked_alpha(alpha: float) -> float:
    """An opacity. Raises InputError for what is not a number from 0 to 1."""
    number: float = checked_as(NUMBER, "alpha", alpha)
    if not 0 <= number <= 1:
        raise InputError(f"alpha is a number from 0 to 1, not {number:g}")
    return number


def heated_tiles(
    views: Sequence[Sequence[View]], alpha: float, sigma: float | None, *, fill: float = 1.0
) -> list[Tensor]:
    """Per unit its image with the energy laid over it, (H, W, 3), all of one size; `fill` fills up smaller ones."""
    columns = []
    for of_input in zip(*views, strict=True):
        heated = [one._replace(pixels=_heat(one, sigma)[None]) for one in of_input]
        columns += columns_of(heated, partial(_blended, alpha))
    return joined_columns(columns, fill)


def _blended(alpha: float, number: int, part: View) -> Tensor:
    heat = part.pixels[0]
    colour = torch.from_numpy(HEAT_COLOURS(heat.numpy())[..., :3]).float()
    share = alpha * heat[..., None]
    return (1 - share) * part.image.movedim(0, -1) + share * colour


def draw_behind(axes: Any, one: View, rate: float, *, alpha: float, sigma: float | None) -> None:
    """Draw a signal as lines, with the energy as the colour of the ground; or a picture with the energy over it."""
    if not one.is_signal:
        axes.imshow(heated_tiles([[one]], alpha, sigma)[0].numpy(), interpolation="nearest")
        axes.axis("off")
        return
    draw_input(axes, one, rate)
    heat = _heat(one, sigma)
    ground = (1 - alpha * heat[..., None]) + alpha * heat[..., None] * torch.from_numpy(
        HEAT_COLOURS(heat.numpy())[:, :3]
    )
    left, right = (one.start[0] - 0.5) / rate, (one.start[0] + len(heat) - 0.5) / rate
    low, high = axes.get_ylim()
    axes.imshow(ground[None].clamp(0, 1).numpy(), extent=(left, right, low, high), aspect="auto", zorder=-0.5)
    axes.set_ylim(low, high)


def _heat(one: View, sigma: float | None) -> Tensor:
    return energy(one.pixels, usual_sigma(one.field) if sigma is None else sigma)


def key_behind(views: Sequence[Sequence[View]]) -> tuple[str, str]:
    """The key of energy behind signals."""
    words = "no energy (nothing behind the signal) to the highest; each on its own scale"
    return KEY[0], words + level_words(views)


def energy_words(sigma: float | None) -> str:
    """What the energy is, in a sentence."""
    size = f"{OF_THE_FIELD:.0%} of the receptive field's longest side" if sigma is None else f"{sigma:g} pixels"
    smoothed = "" if sigma == 0 else f", smoothed by a Gaussian of {size}"
    return f"Energy: squares summed over channels{smoothed}, divided by the maximum."
