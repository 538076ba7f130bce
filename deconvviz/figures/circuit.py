"""The figure of a circuit: a channel with its feeders, what each adds, and what it loses without them."""

from __future__ import annotations

import math
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch
from torch import Tensor

from deconvviz.figures.canvas import canvas
from deconvviz.figures.marks import KEY_INCHES, SMALL, draw_key, kind_of, signed_words
from deconvviz.figures.reading import rgb
from deconvviz.images import tiled
from deconvviz.intervals import Interval, mean_interval
from deconvviz.results import Circuit, CircuitFeeder, CircuitUnit

ADDS, TAKES, CONTROL = "#2457c5", "#b3261e", "#8a8a8a"
WIDEST_LINE = 7  # points
DRAWN_FEEDERS = 8
COLUMN = 1.45  # inches of a feeder
LONGEST_NAME = 19  # characters of a layer's name that fit above a feeder


def draw(
    result: Circuit, *, layer: str | None = None, channel: int | None = None, title: str = "", axes: Axes | None = None
) -> Figure:
    """A channel above its feeders with their pictures, joined by lines as wide as what they add; below, removals.

    Args:
        result: The result.
        layer: Layer of the channel that is drawn; None with `channel` for the one that was asked for.
        channel: Its number.
        title: The figure's title.
        axes: Axes to draw in, of a figure of the caller.
    """
    asked = layer is None and channel is None
    unit = result.units[0] if asked else result.unit(str(layer), -1 if channel is None else channel)
    shown = unit.feeders[:DRAWN_FEEDERS]
    columns = max(4, len(shown))
    figure = canvas((COLUMN * columns + 0.4, 8.6 + KEY_INCHES), axes)
    parts: Any = figure.subfigures(3, 1, height_ratios=[5.6, KEY_INCHES, 3.0])
    upper, between, lower = parts
    grid: Any = upper.add_gridspec(3, columns, height_ratios=[1.6, 1, 1])
    middle = columns // 2
    top = [upper.add_subplot(grid[0, place]) for place in (middle - 1, middle)]
    _tiles(top[0], unit.projections, signed=True)
    _tiles(top[1], unit.patches, signed=False)
    top[0].set_title(f"{unit.layer} {unit.channel}", fontsize=10, loc="left")
    for place, feeder in enumerate(shown):
        held = next((one for one in result.units if (one.layer, one.channel) == (feeder.layer, feeder.channel)), None)
        pair = [upper.add_subplot(grid[1, place]), upper.add_subplot(grid[2, place])]
        _feeder(pair, feeder, held)
        _line(upper, pair[0], top[0] if place < middle else top[1], feeder, shown)
    if len(unit.projections):
        channels = unit.projections.shape[1]
        draw_key(between.subplots(), kind_of(channels), signed_words(channels, "each"))
    _below(lower, unit, shown)
    figure.suptitle(title or f"What feeds channel {unit.channel} of {unit.layer}", fontsize=11)
    figure.supxlabel(result.verdict if unit is result.units[0] else "", fontsize=SMALL, wrap=True)
    return figure


def _tiles(panel: Any, pictures: Tensor, signed: bool) -> None:
    panel.axis("off")
    if not len(pictures):
        panel.text(0.5, 0.5, "no picture", fontsize=SMALL, color=CONTROL, ha="center", va="center")
        panel.set(xlim=(0, 1), ylim=(0, 1))
        return
    tiles = rgb(pictures, signed)
    across = math.ceil(math.sqrt(len(tiles)))
    blank = [torch.ones_like(tiles[0])] * (-len(tiles) % across)
    panel.imshow(tiled([*tiles, *blank], across, gap=1, background=0.6).numpy(), interpolation="nearest")


def _feeder(pair: list[Any], feeder: CircuitFeeder, held: CircuitUnit | None) -> None:
    empty = torch.zeros(0, 1, 1, 1)
    _tiles(pair[0], empty if held is None else held.projections, signed=True)
    _tiles(pair[1], empty if held is None else held.patches, signed=False)
    share = feeder.share.mean
    colour = ADDS if share > 0 else TAKES
    said = f"{_fitting(feeder.layer)}\n{feeder.channel}: {_percent(share)}"
    pair[0].set_title(said, fontsize=SMALL, color=colour)


def _fitting(name: str) -> str:
    """A layer's name as wide as a feeder's pictures; of a longer one the end, which tells layers apart."""
    return name if len(name) <= LONGEST_NAME else f"\u2026{name[1 - LONGEST_NAME :]}"


def _percent(share: float) -> str:
    return f"{round(share, 2) + 0.0:+.0%}".replace("-", "\u2212")


def _line(figure: Any, below: Any, above: Any, feeder: CircuitFeeder, shown: tuple[CircuitFeeder, ...]) -> None:
    widest = max(abs(one.share.mean) for one in shown)
    share = feeder.share.mean
    figure.add_artist(
        ConnectionPatch(
            xyA=(0.5, 1.42),
            coordsA=below.transAxes,
            xyB=(0.5, -0.02),
            coordsB=above.transAxes,
            color=ADDS if share > 0 else TAKES,
            linewidth=max(0.6, WIDEST_LINE * abs(share) / widest),
            linestyle="-" if share > 0 else (0, (2, 1)),
            alpha=0.55,
        )
    )


def _below(figure: Any, unit: CircuitUnit, shown: tuple[CircuitFeeder, ...]) -> None:
    left, right = figure.subplots(1, 2)
    names = [f"{one.layer} {one.channel}" for one in shown]
    rows = [(one.share, ADDS if one.share.mean > 0 else TAKES) for one in shown]
    if len(unit.biases):
        names, rows = [*names, "biases"], [*rows, (mean_interval(unit.biases), CONTROL)]
    for place, (share, colour) in enumerate(rows):
        left.barh(place, share.mean, color=colour, alpha=0.75, height=0.55)
        _whisker(left, share, place)
    for place, feeder in enumerate(shown):
        if len(feeder.lost):
            left.plot(feeder.loss.mean, place, "o", color="black", markersize=4, fillstyle="none")
    left.axvline(0, color="black", linewidth=0.8)
    left.set_yticks(range(len(names)), names, fontsize=SMALL)
    left.invert_yaxis()
    left.set_xlabel(
        "share of the activation: bars, what is added;\ncircles, what is lost without it on other images",
        fontsize=SMALL,
    )
    left.tick_params(axis="x", labelsize=SMALL)
    _curve(right, unit)


def _whisker(panel: Any, share: Interval, place: int) -> None:
    if not math.isnan(share.low):
        panel.plot([share.low, share.high], [place, place], color="black", linewidth=1)


def _curve(panel: Any, unit: CircuitUnit) -> None:
    if not unit.counts or not len(unit.lost_first):
        panel.axis("off")
        return
    for values, colour, words in (
        (unit.lost_first, ADDS, "the first that add"),
        (unit.lost_random, CONTROL, f"random ones of {unit.candidates}"),
    ):
        found = [mean_interval(values[:, place]) for place in range(len(unit.counts))]
        means = [one.mean for one in found]
        panel.plot(unit.counts, means, "o-", color=colour, markersize=4, label=words)
        if not any(math.isnan(one.low) for one in found):
            panel.fill_between(
                unit.counts, [one.low for one in found], [one.high for one in found], color=colour, alpha=0.2
            )
    panel.set_xscale("log", base=2)
    panel.set_xticks(unit.counts, [str(count) for count in unit.counts])
    panel.set_xlabel("channels removed together", fontsize=SMALL)
    panel.set_ylabel("share of the activation lost", fontsize=SMALL)
    panel.tick_params(labelsize=SMALL)
    panel.grid(alpha=0.3)
    panel.legend(fontsize=SMALL, loc="upper left")  # losses grow to the right
