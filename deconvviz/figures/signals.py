"""Signals: lines of the signal and of its projection on one axis, of time where a rate is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from deconvviz.arguments import NUMBER, checked_as, optional
from deconvviz.errors import InputError
from deconvviz.figures.canvas import canvas
from deconvviz.figures.marks import KEY_INCHES, SMALL, TITLE, TITLE_LINE, draw_key, scale_words, wrapped
from deconvviz.figures.tiles import picture, shared_scale, signed_picture
from deconvviz.figures.views import View
from deconvviz.images import signed_as_rgb

MARKED = 3  # channels, whose samples are marked where they are few
MANY = 12  # channels; of more, a picture is drawn instead of lines
POSITIVE, NEGATIVE = "#b2052a", "#053094"
# In inches: the least height of a panel, of a line of labels, of the space between panels, of an axis of time with its
# label, and what is left free beside panels for the labels of their axes.
INCHES, LINE_INCHES, GAP_INCHES, AXIS, LEFT, RIGHT = 1.05, 0.14, 0.12, 0.5, 0.75, 0.25
MOST_CELLS = 100  # in one figure, whose height is limited

Panel = tuple[Callable[[Any, View, float], None], View]  # how an input is drawn, and the input
Cell = tuple[str, Sequence[Panel]]  # a label, and what stands under it


def checked_rate(rate: float | None) -> float | None:
    """A sampling rate in hertz, or None. Raises InputError for anything else."""
    hertz: float | None = checked_as(optional(NUMBER), "rate", rate)
    if hertz is not None and hertz <= 0:
        raise InputError(f"the rate is a number of samples per second above 0, not {hertz:g}")
    return hertz


def refuse_rate(rate: float | None) -> None:
    """Raise InputError for a rate where there are no signals."""
    if rate is not None:
        raise InputError("a rate is for signals, and no input is one; leave it out")


def has_signals(views: Sequence[Sequence[View]]) -> bool:
    """Whether any input of any unit is a signal."""
    return any(one.is_signal for of_unit in views for one in of_unit)


def cells_figure(
    cells: Sequence[Cell],
    *,
    columns: int | None,
    rate: float | None,
    title: str,
    key: tuple[str, str],
    axes: Axes | None,
) -> Figure:
    """Cells side by side, each with its panels below one another.

    Args:
        cells: What to draw; of very many, the first ones.
        columns: Cells per row; None for up to two.
        rate: The sampling rate of signals in hertz, or None.
        title: The figure's title.
        key: Of the colours the kind, and what they are.
        axes: Where to draw instead of in a figure of its own.
    """
    hertz = checked_rate(rate)
    if len(cells) > MOST_CELLS:
        cells, title = cells[:MOST_CELLS], f"{title} (the first {MOST_CELLS} of {len(cells)})"
    across = max(1, min(len(cells), columns or (1 if len(cells) < 4 else 2)))
    rows = [cells[first : first + across] for first in range(0, len(cells), across)]
    wide, room = 6.4 if across < 3 else 4.2, None
    if axes is not None:
        root: Any = axes.get_figure(root=True)
        width, room = axes.get_window_extent().size / root.dpi
        wide = width / across
    title = wrapped(title, max(across * wide - LEFT, 1.0), TITLE)
    top = 0.1 + TITLE_LINE * (1 + title.count("\n"))
    share = 1.0
    if room is not None:  # the text keeps its size, the panels take what is left
        texts, all_of_it = (sum(_row_inches(row, wide, part) for row in rows) for part in (0.0, 1.0))
        share = max(0.1, (room - top - KEY_INCHES - texts) / (all_of_it - texts))
    tall = [_row_inches(row, wide, share) for row in rows]
    height = top + sum(tall) + KEY_INCHES
    # Placed in inches: the solver of a constrained layout gives up, or ends the process, on some hundred panels.
    figure = canvas((across * wide, height), axes, layout="none")
    figure.suptitle(title, fontsize=TITLE, y=1 - 0.08 / height, verticalalignment="top")
    for row, of_row in zip(rows, tall, strict=True):
        for column, (said, panels) in enumerate(row):
            at = top + _heading_inches(said, wide)
            for number, (draw, one) in enumerate(panels):
                panel = share * _panel_inches(one)
                place = ((column * wide + LEFT) / (across * wide), 1 - (at + panel) / height)
                drawn = figure.add_axes((*place, (wide - LEFT - RIGHT) / (across * wide), panel / height))
                if number == 0:
                    drawn.set_title(wrapped(said, wide, SMALL), fontsize=SMALL)
                draw(drawn, one, hertz or 1.0)
                is_last = _ends_axis(panels, number)
                if one.is_signal:
                    _time_axis(drawn, one, hertz, is_last)
                at += panel + (AXIS if is_last else GAP_INCHES)
        top += of_row
    draw_key(figure.add_axes((0, 0, 1, KEY_INCHES / height)), *key)
    return figure


def _row_inches(row: Sequence[Cell], wide: float, share: float) -> float:
    """The height of cells side by side, whose panels have a share of the height they want."""
    return max(
        _heading_inches(said, wide)
        + sum(share * _panel_inches(one) for _, one in panels)
        + sum(AXIS if _ends_axis(panels, number) else GAP_INCHES for number in range(len(panels)))
        for said, panels in row
    )


def _heading_inches(said: str, wide: float) -> float:
    return 0.14 + LINE_INCHES * (1 + wrapped(said, wide, SMALL).count("\n"))


def _panel_inches(one: View) -> float:
    """The height that a panel wants: each line's number is to be read."""
    return max(INCHES, LINE_INCHES * len(one.image)) if one.is_signal and len(one.image) <= MANY else INCHES


def _ends_axis(panels: Sequence[Panel], number: int) -> bool:
    """Whether a panel is the last one of a signal, with an axis of its own below it."""
    one = panels[number][1]
    return one.is_signal and (number + 1 == len(panels) or panels[number + 1][1].field != one.field)


def signed_key(views: Sequence[Sequence[View]], scale: str) -> tuple[str, str]:
    """The key of projections of signals, and of pictures beside them."""
    colours = any(not one.is_signal and len(one.pixels) == 3 for of_unit in views for one in of_unit)
    pictures = "; of pictures in colours, grey is zero" if colours else ""
    return "sign", f"projection: below zero, zero, above zero{pictures}; {scale_words(scale)}{level_words(views)}"


def level_words(views: Sequence[Sequence[View]]) -> str:
    """What a key says of signals of several channels; "" if there is none."""
    several = any(one.is_signal and len(one.image) > 1 for of_unit in views for one in of_unit)
    return "; signal: each channel about the middle of its range" if several else ""


def pairs(views: Sequence[View], scale: float | None = None) -> list[Panel]:
    """Each input, and under it what arrived there."""
    return [panel for one in views for panel in ((draw_input, one), (partial(draw_pixels, scale=scale), one))]


def below(views: Sequence[View]) -> list[Panel]:
    """An input, and under it what arrived there from each of several layers."""
    return [(draw_input, views[0]), *((draw_pixels, one) for one in views)]


def common_scale(views: Sequence[Sequence[View]], scale: str) -> float | None:
    """The end of the scale of all pixels, or None for one of its own for each unit."""
    found = shared_scale((one.pixels[None] for of_unit in views for one in of_unit if one.is_signal), scale)
    return None if found is None else max(float(one.pixels.abs().max()) for of_unit in views for one in of_unit)


def draw_input(axes: Any, one: View, rate: float) -> None:
    """A signal as lines, or a picture."""
    if not one.is_signal:
        axes.imshow(picture(one).numpy(), interpolation="nearest")
        axes.axis("off")
    elif len(one.image) > MANY:
        levelled = _levelled(one.image)
        end = float(levelled.abs().max())
        scaled = 0.5 + levelled / (2 * end) if end else torch.full_like(levelled, 0.5)
        axes.imshow(
            scaled.numpy(), extent=_extent(one, len(one.image), rate), aspect="auto", cmap="gray", vmin=0, vmax=1
        )
        axes.set_ylabel("channel", fontsize=SMALL)
    else:
        _lines(axes, one, (_levelled(one.image) if len(one.image) > 1 else one.image).numpy(), rate)
        _shade(axes, one, rate)


def _levelled(values: Tensor) -> Tensor:
    """Each channel about the middle of its range: levels that differ would put lines in their neighbours' places."""
    return values - (values.amax(1, keepdim=True) + values.amin(1, keepdim=True)) / 2


def draw_pixels(axes: Any, one: View, rate: float, scale: float | None = None) -> None:
    """What arrived at a signal as lines, red above zero and blue below; or as a signed picture."""
    if not one.is_signal:
        axes.imshow(signed_picture(one).numpy(), interpolation="nearest")
        axes.axis("off")
    elif len(one.pixels) > MANY:
        shown = signed_as_rgb(one.pixels[None], scale or float(one.pixels.abs().max()))
        axes.imshow(shown.numpy(), extent=_extent(one, len(one.pixels), rate), aspect="auto", interpolation="nearest")
        axes.set_ylabel("channel", fontsize=SMALL)
    else:
        _lines(axes, one, one.pixels.numpy(), rate, filled=True, end=scale)
        _shade(axes, one, rate)


def _lines(axes: Any, one: View, values: Any, rate: float, *, filled: bool = False, end: float | None = None) -> None:
    """One line per channel, the first at the top, with one scale for all."""
    count, length = values.shape
    x = (one.start[0] + np.arange(length)) / rate
    low, high = float(values.min()), float(values.max())
    if filled:
        high = float(np.abs(values).max()) if end is None else end
        low = -high
    step = 1.1 * (high - low) or 1.0
    offsets = [(count - 1 - channel) * step for channel in range(count)]
    style = {"marker": "o", "markersize": 2.5} if length <= 40 and count <= MARKED else {}
    for offset, line in zip(offsets, values, strict=True):
        if filled:
            for colour, where in ((POSITIVE, line >= 0), (NEGATIVE, line <= 0)):
                axes.fill_between(
                    x, offset, offset + line, where=where, interpolate=True, color=colour, alpha=0.55, linewidth=0
                )
            axes.axhline(offset, color="0.8", linewidth=0.5, zorder=0)
        axes.plot(x, offset + line, color="0.25", linewidth=0.7, **style)
    margin = 0.05 * step
    axes.set_ylim(low - margin, high + margin + (count - 1) * step)
    if count > 1:
        axes.set_yticks(offsets if filled else [offset + (low + high) / 2 for offset in offsets], range(count))
        axes.set_ylabel("channel", fontsize=SMALL)


def _shade(axes: Any, one: View, rate: float) -> None:
    """A grey ground where the unit sees, if more than that is shown."""
    first, last = one.field[0]
    if (first, last) != (one.start[0], one.start[0] + one.pixels.shape[1]):
        axes.axvspan((first - 0.5) / rate, (last - 0.5) / rate, color="0.9", zorder=-1, linewidth=0)


def _extent(one: View, channels: int, rate: float) -> tuple[float, float, float, float]:
    first, length = one.start[0], one.pixels.shape[1]
    return (first - 0.5) / rate, (first + length - 0.5) / rate, channels - 0.5, -0.5


def _time_axis(axes: Any, one: View, rate: float | None, is_last: bool) -> None:
    axes.set_xlim(*_extent(one, 1, rate or 1.0)[:2])
    axes.tick_params(labelsize=SMALL, labelbottom=is_last)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if is_last:
        axes.set_xlabel("seconds" if rate else "sample", fontsize=SMALL)
