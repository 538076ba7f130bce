"""The figure of a decoding: what is recovered by depth, and what decoders make of some images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from deconvviz.figures.canvas import canvas
from deconvviz.figures.marks import BLUE, SMALL, name_ticks, wrapped
from deconvviz.images import as_rgb
from deconvviz.intervals import Interval, mean_interval
from deconvviz.results.decoding import Decoding
from deconvviz.results.words import counted

MOST_COLUMNS = 12  # layers whose pictures are drawn
MOST_NAMES = 24  # layers whose names have room on an axis
RANDOM_COLOUR = "#8a8a8a"


def draw(result: Decoding, *, title: str = "", axes: Axes | None = None) -> Figure:
    """What a linear decoder recovers from each layer, how maps resemble the image, and below one image, decoded.

    Args:
        result: The result.
        title: The figure's title.
        axes: Axes to draw in, of a figure of the caller.
    """
    shown = _columns(len(result.layers))
    pictures = result.originals.ndim == 4 and bool(len(result.originals))
    width = max(9.0, 1.15 * (len(shown) + 1) + 1.2)
    figure = canvas((width, 8.4 if pictures else 4.4), axes)
    parts: Any = [figure]
    if pictures:
        parts = figure.subfigures(2, 1, height_ratios=[4.2, 4.0])
    left, right = parts[0].subplots(1, 2)
    _recovered(left, result)
    _likeness(right, result)
    if pictures:
        _pictures(parts[1], result, shown)
    split = f"{result.fitted} images fit the decoder, {counted(len(result.totals), 'other')} are decoded"
    figure.suptitle(title or f"How much of the image is left: {split}", fontsize=11)
    figure.supxlabel(result.verdict, fontsize=SMALL, wrap=True)
    return figure


def _columns(count: int) -> list[int]:
    """The layers whose pictures are drawn: all, or some at equal distances with the first and the last."""
    if count <= MOST_COLUMNS:
        return list(range(count))
    return [round(step * (count - 1) / (MOST_COLUMNS - 1)) for step in range(MOST_COLUMNS)]


def _recovered(panel: Any, result: Decoding) -> None:
    _trained(panel, [result.recovered(layer) for layer in result.layers])
    draws = [result.recovered_at_random(layer) for layer in result.layers]
    for seed in range(len(result.random_errors)):
        values = [of_layer[seed] for of_layer in draws]
        words = f"random weights ({len(result.random_errors)} draws)" if seed == 0 else None
        panel.plot(range(len(values)), values, "x--", color=RANDOM_COLOUR, markersize=4, linewidth=0.8, label=words)
    panel.set(ylabel="share recovered (R squared)", ylim=(min(0.0, *panel.get_ylim()), 1.03))
    _named(panel, result)


def _trained(panel: Any, found: Sequence[Interval]) -> None:
    """The trained network's values by layer, with their intervals."""
    panel.errorbar(
        range(len(found)),
        [one.mean for one in found],
        yerr=[[one.mean - one.low for one in found], [one.high - one.mean for one in found]],
        color=BLUE,
        marker="o",
        markersize=4,
        capsize=3,
        label="trained",
    )


def _likeness(panel: Any, result: Decoding) -> None:
    own = [mean_interval(values, within=(0, 1)) for values in result.likeness]
    _trained(panel, own)
    drawn = [mean_interval(result.random_likeness[:, place].flatten()).mean for place in range(len(own))]
    panel.plot(range(len(own)), drawn, "x--", color=RANDOM_COLOUR, markersize=4, linewidth=0.8, label="random weights")
    panel.set(ylabel="correlation of map and image, without sign", ylim=(0, None))
    _named(panel, result)


def _named(panel: Any, result: Decoding) -> None:
    name_ticks(panel.xaxis, result.layers, MOST_NAMES, rotation=45, ha="right", rotation_mode="anchor")
    panel.set_xlim(-0.5, len(result.layers) - 0.5)
    panel.grid(alpha=0.3)
    panel.legend(fontsize=SMALL, loc="upper right")


def _pictures(figure: Any, result: Decoding, shown: list[int]) -> None:
    """The first example, decoded from each layer, with trained and with random weights, and its strongest map."""
    rows = [("decoded", result.decoded), ("decoded,\nrandom weights", result.random_decoded)]
    panels = figure.subplots(3, len(shown) + 1, squeeze=False)
    for panel in panels.flat:
        panel.set(xticks=[], yticks=[])
        panel.set_frame_on(False)
    _image(panels[0][0], result.originals[0])
    panels[0][0].set_title("image", fontsize=SMALL)
    for row, (words, pictures) in enumerate(rows):
        panels[row][1].set_ylabel(words, fontsize=SMALL)
        for column, place in enumerate(shown, 1):
            _image(panels[row][column], pictures[place][0])
            if row == 0:
                panels[row][column].set_title(wrapped(result.layers[place], 1.05, SMALL), fontsize=SMALL)
    panels[2][1].set_ylabel("strongest map", fontsize=SMALL)
    for column, place in enumerate(shown, 1):
        if result.maps[place].numel() and result.maps[place].ndim == 3:
            panels[2][column].imshow(result.maps[place][0].numpy(), cmap="gray", interpolation="nearest")


def _image(panel: Any, picture: Tensor) -> None:
    panel.imshow(as_rgb(picture.clamp(0, 1)).numpy(), interpolation="nearest")
