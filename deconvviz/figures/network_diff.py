"""Figures of two networks, channel by channel: correlations against chance, and pairs of channels side by side."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from deconvviz.figures.canvas import canvas
from deconvviz.figures.marks import KEY_INCHES, draw_key, kind_of, signed_words, wrapped
from deconvviz.figures.reading import rgb
from deconvviz.images import tiled
from deconvviz.results import LayerDiff, NetworkDiff, PairPictures
from deconvviz.results.network_diff import ALIKE_FROM

PAIRS_SHOWN = 12
PAIRS_ACROSS = 3  # pairs in a row
CHANCE_COLOUR, PAIR_COLOUR = "#b8b8b8", "#1f5fa8"
ACROSS_LAYERS = 4  # histograms in a row


def draw(
    result: NetworkDiff | LayerDiff, *, pairs: int = PAIRS_SHOWN, title: str = "", axes: Axes | None = None
) -> Figure:
    """The correlations of matched channels against those with untrained networks, and of one layer pairs of channels.

    Args:
        result: Two networks, or one of their layers.
        pairs: How many pairs of channels to show, evenly spaced from the most to the least alike.
        title: The figure's title.
        axes: Axes to draw in, of a figure of the caller.
    """
    if isinstance(result, NetworkDiff):
        if len(result.layers) == 1:
            return draw(result.layers[0], pairs=pairs, title=title or _heading(result), axes=axes)
        return _draw_layers(result, title, axes)
    shown = chosen(result, pairs)
    rows = math.ceil(len(shown) / PAIRS_ACROSS)
    figure = canvas((11.0, 2.6 + 1.12 * rows + KEY_INCHES), axes)
    figure.suptitle(title or f"Channels of {result.name} in two networks", fontsize=11)
    ratios = [1.9, max(1.12 * rows, 0.01), KEY_INCHES]
    parts: Any = figure.subfigures(3, 1, height_ratios=ratios) if shown else [figure]
    _draw_histogram(parts[0].subplots(), result)
    if shown:
        channels = shown[0].projections[0].shape[1]
        draw_key(parts[2].subplots(), kind_of(channels), signed_words(channels, "each"))
        panels = parts[1].subplots(rows, PAIRS_ACROSS, squeeze=False)
        for panel in panels.flat:
            panel.axis("off")
        for panel, example in zip(panels.flat, shown, strict=False):
            panel.imshow(pair_picture(example).numpy(), interpolation="nearest")
            panel.set_title(caption(result, example), fontsize=8, loc="left")
        parts[1].suptitle(
            "Per pair: patches and projections of the strongest nine, first network left, second right", fontsize=8
        )
    figure.supxlabel(result.verdict, fontsize=8, wrap=True)
    return figure


def _heading(result: NetworkDiff) -> str:
    return f"{result.layers[0].name}: {result.networks[0]} and {result.networks[1]}"


def _draw_layers(result: NetworkDiff, title: str, axes: Axes | None) -> Figure:
    across = min(ACROSS_LAYERS, len(result.layers))
    rows = math.ceil(len(result.layers) / across)
    figure = canvas((3.3 * across + 0.6, 2.2 * rows + 1.3), axes)
    figure.suptitle(title or f"Channels of two networks: {result.networks[0]}, {result.networks[1]}", fontsize=11)
    panels = figure.subplots(rows, across, squeeze=False)
    for panel, layer in zip(panels.flat, result.layers, strict=False):
        _draw_histogram(panel, layer, alone=False)
        means = f"mean {layer.mean:.2f}, untrained {layer.chance:.2f}, unmatched {layer.unmatched:.2f}"
        said = f"{layer.name}: {len(layer.kept)} of {len(layer.fires[0])} kept\n{means}"
        panel.set_title(wrapped(said, 2.8, 8), fontsize=8)
    for panel in panels.flat[len(result.layers) :]:
        panel.axis("off")
    panels.flat[0].legend(fontsize=8, loc="upper left", framealpha=1.0, edgecolor="none")
    figure.supxlabel(result.verdict, fontsize=8, wrap=True)
    return figure


def _draw_histogram(panel: Any, layer: LayerDiff, alone: bool = True) -> None:
    """Correlations of a layer; if it stands alone, with a legend that says their means."""
    edges = np.linspace(-0.2, 1.0, 37)
    count = max(1, len(layer.pairs))
    drawn = [
        (layer.untrained.flatten(), "with untrained networks", layer.chance, CHANCE_COLOUR, 1.0),
        (layer.correlations, "of the two networks", layer.mean, PAIR_COLOUR, 0.75),
    ]
    for values, what, mean, colour, alpha in drawn:
        said = f"{what}, mean {mean:.2f}" if alone else what
        known = values[~values.isnan()].clamp(-0.2, 1.0)
        weights = torch.full_like(known, count / max(1, len(known)))
        panel.hist(known.numpy(), edges, weights=weights.numpy(), color=colour, alpha=alpha, label=said)
    if not math.isnan(layer.unmatched):
        unmatched = f"channels not matched, mean {layer.unmatched:.2f}" if alone else "channels not matched, mean"
        panel.axvline(layer.unmatched, color="black", linestyle=":", linewidth=1.2, label=unmatched)
    panel.axvline(ALIKE_FROM, color=PAIR_COLOUR, linestyle="--", linewidth=1, label=f"kept above {ALIKE_FROM:g}")
    panel.set(xlabel="correlation of matched channels", ylabel="channels", xlim=(-0.2, 1.02))
    panel.tick_params(labelsize=8)
    panel.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    if alone:
        panel.legend(fontsize=8, loc="upper left", framealpha=1.0, edgecolor="none")


def chosen(layer: LayerDiff, count: int) -> list[PairPictures]:
    """At most `count` of a layer's examples, evenly spaced from the most to the least alike."""
    if len(layer.examples) <= count or count < 2:
        return list(layer.examples[:count])
    last = len(layer.examples) - 1
    return [layer.examples[round(place * last / (count - 1))] for place in range(count)]


def caption(layer: LayerDiff, example: PairPictures) -> str:
    """A pair in a few words."""
    one, other = layer.pairs[example.pair].tolist()
    row = example.pair
    return f"{one} and {other}: {layer.correlations[row]:.2f}, {layer.states[row]}; pictures {layer.cosines[row]:.2f}"


def pair_picture(example: PairPictures) -> Tensor:
    """Patches and projections of both channels of a pair in a row, (h, w, 3) in [0, 1]."""
    blocks = []
    for side in (0, 1):
        for pictures, signed in ((example.patches[side], False), (example.projections[side], True)):
            blocks.append(block(pictures, signed))
    height = max(part.shape[0] for part in blocks)
    gaps = (2, 6, 2, 0)
    row: list[Tensor] = []
    for part, gap in zip(blocks, gaps, strict=True):
        below = torch.ones(height - part.shape[0], part.shape[1], 3)
        row += [torch.cat([part, below]), torch.ones(height, gap, 3)]
    return torch.cat(row, 1)


def block(pictures: Tensor, signed: bool) -> Tensor:
    """Nine pictures as a square, (h, w, 3) in [0, 1]; grey where there are fewer."""
    tiles = rgb(pictures, signed)
    blank = [torch.full_like(tiles[0], 0.6)] * (9 - len(tiles))
    return tiled([*tiles, *blank][:9], 3, gap=1, background=0.6)
