"""The figure of a diagnosis: the first filters with their flags, and the measurements of every layer."""

from __future__ import annotations

import math
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from torch import Tensor

from deconvviz.figures.canvas import canvas
from deconvviz.figures.marks import BLUE, GREEN, ORANGE, PURPLE, SKY, SMALL, VERMILION, name_ticks
from deconvviz.images import signed_as_rgb, tiled
from deconvviz.results import Diagnosis, LayerFacts

FLAG_COLOURS = {"dead": "#444444", "always on": ORANGE, "duplicate": PURPLE, "RMS": VERMILION, "aliasing": GREEN}
HATCHES = {"dead": "", "always on": "//", "duplicate": "..", "RMS": "xx", "aliasing": "--"}
FRAMES = {"dead": "-", "always on": "--", "duplicate": ":", "RMS": "-.", "aliasing": (0, (6, 2))}
BELOW = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.08), "fontsize": SMALL, "frameon": False}  # of a panel
FILTERS_SHOWN = 96  # filters, at most
FILTER_PIXELS = 48  # pixels that a filter is enlarged to, at least


def draw(result: Diagnosis, *, axes: Axes | None = None) -> Figure:
    """The first convolution's filters, framed by what is wrong with them; flags per layer; what was measured."""
    first = next(layer for layer in result.layers if layer.layer == result.first)
    figure = canvas((13, 8.2), axes)
    outer = figure.add_gridspec(2, 3, height_ratios=[1.35, 1])
    filters = figure.add_subplot(outer[0, :2])
    if result.filters.ndim == 4:
        _draw_filters(filters, result, first)
    else:
        filters.axis("off")
    _flags(figure.add_subplot(outer[0, 2]), result)
    _sizes(figure.add_subplot(outer[1, 0]), result)
    likest = figure.add_subplot(outer[1, 1])
    _draw_spread(likest, result, [layer.correlation for layer in result.layers])
    likest.set_title("correlation with the most similar channel", fontsize=9)
    _frequencies(figure.add_subplot(outer[1, 2]), first)
    figure.supxlabel(result.verdict, fontsize=9, wrap=True)
    return figure


def _draw_filters(axes: Any, result: Diagnosis, first: LayerFacts) -> None:
    tiles = [signed_as_rgb(weights) for weights in result.filters[:FILTERS_SHOWN]]
    enlarge = max(1, math.ceil(FILTER_PIXELS / tiles[0].shape[1]))
    tiles = [tile.repeat_interleave(enlarge, 0).repeat_interleave(enlarge, 1) for tile in tiles]
    height, width, _ = tiles[0].shape
    gap, columns = 20, math.ceil(math.sqrt(len(tiles) * 1.9))
    axes.imshow(tiled(tiles, columns, gap=gap).numpy(), interpolation="nearest")
    for number in range(len(tiles)):
        left, top = gap + number % columns * (width + gap) - 0.5, gap + number // columns * (height + gap) - 0.5
        axes.text(left + width / 2, top - 2, str(number), ha="center", va="bottom", fontsize=SMALL)
        wrong = [flag.problem for flag in result.flags if (flag.layer, flag.channel) == (first.layer, number)]
        for inset, problem in enumerate(wrong):
            left_, top_, reach = left - 3 + 4 * inset, top - 3 + 4 * inset, 6 - 8 * inset
            frame = Rectangle(
                (left_, top_),
                width + reach,
                height + reach,
                fill=False,
                ec=FLAG_COLOURS[problem],
                lw=2,
                ls=FRAMES[problem],
            )
            axes.add_patch(frame)
    more = f", the first {FILTERS_SHOWN}" if len(result.filters) > FILTERS_SHOWN else ""
    axes.set_title(f"filters of {first.layer}{more}; a frame is a flag, in the colour at the right", fontsize=9)
    axes.axis("off")


def _flags(axes: Any, result: Diagnosis) -> None:
    places = np.arange(len(result.layers))
    left = np.zeros(len(places))
    for problem, colour in FLAG_COLOURS.items():
        shares = np.array([len(result.flagged(problem, layer.layer)) / len(layer.rms) for layer in result.layers])
        axes.barh(
            places, shares, left=left, color=colour, label=problem, height=0.7, hatch=HATCHES[problem], ec="white", lw=0
        )
        left += shares
    axes.set(title="flags, as a share of the layer's channels")
    axes.title.set_fontsize(9)
    axes.set_xlim(0, max(0.05, float(left.max()) * 1.05))
    name_ticks(axes.yaxis, [layer.layer for layer in result.layers], 27)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.legend(**BELOW, ncols=3)


def _sizes(axes: Any, result: Diagnosis) -> None:
    _draw_spread(axes, result, [layer.rms / layer.rms.median() for layer in result.layers])
    axes.set_title("RMS of filters, as a multiple of the layer's median", fontsize=9)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.25), max(high, 4))


def _draw_spread(axes: Any, result: Diagnosis, values: list[Tensor]) -> None:
    """A point for each channel, layer by layer."""
    for place, channels in enumerate(values):
        known = channels[~channels.isnan()].numpy()
        beside = np.linspace(-0.3, 0.3, len(known)) if len(known) > 1 else np.zeros(len(known))
        axes.plot(place + beside, known, ".", ms=3, color=matplotlib.colormaps["viridis"](place / (len(values) + 0.2)))
    names = [facts.layer for facts in result.layers]
    name_ticks(axes.xaxis, names, 20, rotation=50, ha="right", rotation_mode="anchor")
    axes.grid(axis="y", alpha=0.3)


def _frequencies(axes: Any, first: LayerFacts) -> None:
    """Shares of low, mid and high frequencies for each filter of the first layer, sorted by the first."""
    order = first.bands[:, 0].nan_to_num(0).argsort(descending=True)
    low, mid, high = first.bands[order].nan_to_num(0).numpy().T
    places = np.arange(len(low))
    for base, share, name, colour in (
        (0, low, "low", BLUE),
        (low, mid, "mid", SKY),
        (low + mid, high, "high", VERMILION),
    ):
        axes.bar(places, share, bottom=base, width=1.0, color=colour, label=name)
    axes.set(title=f"share of energy of the filters of {first.layer}, sorted", ylim=(0, 1), xlim=(-0.5, len(low) - 0.5))
    axes.title.set_fontsize(9)
    axes.legend(**BELOW, ncols=3, title="spatial frequencies", title_fontsize=SMALL)
