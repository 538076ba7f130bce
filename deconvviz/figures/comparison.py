"""The figure of a comparison: one panel per method, with its remark."""

from __future__ import annotations

import functools
import math
import textwrap
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor

from deconvviz.errors import InputError
from deconvviz.figures.canvas import canvas
from deconvviz.figures.marks import CAPTION, KEY_INCHES, SMALL, TITLE, draw_key, room_for_key, signed_words
from deconvviz.figures.tiles import with_note
from deconvviz.images import as_rgb, signed_as_rgb
from deconvviz.results import Attributed, Comparison

SCALE = (
    "Each map is summed over its channels and divided by its own 99.5th percentile of absolute values: "
    "red is above zero, blue below."
)
INCHES = 2.1  # width of a panel
LINE = 31  # characters of small print in a panel's width


@functools.singledispatch
def draw(result: Any, **options: Any) -> Figure:
    """The figure of a result, by its type."""
    raise InputError(f"there is no panel for a {type(result).__name__}")


def comparison_panels(
    comparison: Comparison, columns: int | None = None, *, title: str = "", axes: Axes | None = None
) -> Figure:
    """The image and every method's attribution on one scale; the reason, if a method failed.

    All panels are cropped to the unit's receptive field, outside which most methods are zero.
    """
    (top, bottom), (left, right) = comparison.receptive_field.tolist()
    count = 1 + len(comparison.methods)
    across = columns or min(count, 4 if count <= 12 else 6)
    rows = math.ceil(count / across)
    tall = min(2.0, max(0.5, (bottom - top) / max(1, right - left)))
    remarks = max(len(_small_print(method)) for method in comparison.methods)
    size = across * INCHES, rows * (INCHES * tall + 0.24 + 0.15 * remarks) + 0.8
    close = ConstrainedLayoutEngine(h_pad=0.03, w_pad=0.02, hspace=0, wspace=0)
    figure = canvas((size[0], size[1] + KEY_INCHES), axes, layout=close)
    above, below = room_for_key(figure, size[1])
    grid = above.subplots(rows, across, squeeze=False).ravel().tolist()
    shown = as_rgb(comparison.image)[top:bottom, left:right]
    _draw_picture(grid[0], shown, "image", [_seen(comparison)])
    for tile, method in zip(grid[1:], comparison.methods, strict=False):
        cut = None if method.pixels is None else method.pixels[:, top:bottom, left:right]
        picture = torch.full_like(shown, 0.93) if cut is None else signed_as_rgb(_sum_of_channels(cut))
        _draw_picture(tile, picture, method.name, _small_print(method))
        if method.pixels is None:
            reason = textwrap.fill(method.remark, 22, max_lines=9, placeholder=" ...")
            tile.text(0.5, 0.5, reason, transform=tile.transAxes, ha="center", va="center", fontsize=SMALL)
    for tile in grid[count:]:
        tile.axis("off")
    draw_key(below.subplots(), "sign", signed_words(1, "each"))
    figure.suptitle(title or comparison.title, fontsize=TITLE)
    figure.supxlabel(
        "\n".join(textwrap.wrap(with_note(SCALE, [comparison.image]), across * 29)), fontsize=CAPTION, color="0.3"
    )
    return figure


def _draw_picture(axes: Any, picture: Tensor, name: str, small_print: list[str]) -> None:
    axes.imshow(picture.numpy(), interpolation="nearest")
    axes.set_title(name, fontsize=8.5, pad=3)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color="0.75", linewidth=0.6)
    if small_print:
        wrong = any(word in " ".join(small_print) for word in ("not seen", "differs", "failed"))
        axes.set_xlabel("\n".join(small_print), fontsize=SMALL, labelpad=2, color="#b00020" if wrong else "0.35")


def _small_print(method: Attributed) -> list[str]:
    """The method's library and its remark; the reason for a failure is in the panel itself."""
    remark = "failed" if method.pixels is None else method.remark
    return textwrap.wrap(f"{method.by}: {remark}" if remark else method.by, LINE)


def _seen(comparison: Comparison) -> str:
    (top, bottom), (left, right) = comparison.receptive_field.tolist()
    if (bottom - top, right - left) == tuple(comparison.image.shape[1:]):
        return "the whole of it"
    return f"rows {top} to {bottom - 1}, columns {left} to {right - 1}"


def _sum_of_channels(pixels: Tensor) -> Tensor:
    return pixels.sum(0, keepdim=True)


draw.register(Comparison, comparison_panels)
