"""The figure of the labels that fit channels: the area under the ROC curve of each, with its interval."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deconvviz.figures.canvas import canvas
from deconvviz.figures.marks import SMALL, shortened
from deconvviz.results import ChannelLabels
from deconvviz.results.labels import FITS

NAME = 36  # characters of a label, at most
ROWS_DRAWN = 48  # channels that are drawn
FITTING, OTHER = "#1a5fb4", "#8a8a8a"


def draw(result: ChannelLabels, *, title: str = "", axes: Axes | None = None) -> Figure:
    """One row per channel, the best first: its label, and the area with its interval; what fits is blue."""
    order = (
        result.auc.nan_to_num(-1).argsort(descending=True, stable=True)[:ROWS_DRAWN].tolist() if result.names else []
    )
    figure = canvas((7.0, 0.2 * max(len(order), 4) + 1.6), axes)
    panel = figure.subplots()
    for row, channel in enumerate(order):
        auc, low, high = (float(values[channel]) for values in (result.auc, result.low, result.high))
        color = FITTING if result.fits[channel] else OTHER
        panel.plot([low, high], [row, row], color=color, linewidth=1.2)
        panel.plot([auc], [row], "o", color=color, markersize=4)
    called = [f"channel {channel}: {shortened(result.names[int(result.label[channel])], NAME)}" for channel in order]
    panel.set_yticks(range(len(order)), called, fontsize=SMALL)
    panel.set_ylim(max(len(order), 1) - 0.5, -0.5)
    lowest = min((float(result.low[channel]) for channel in order), default=0.5)
    panel.set_xlim(min(0.4, lowest - 0.02), 1.02)
    for place, style in ((0.5, ":"), (FITS, "--")):
        panel.axvline(place, color="0.6", linewidth=0.8, linestyle=style)
    panel.set_xlabel("area under the ROC curve on held-out images (0.5 is chance)", fontsize=9)
    panel.tick_params(axis="x", labelsize=SMALL)
    more = f", the best {len(order)} of {len(result.label)}" if len(result.label) > len(order) else ""
    figure.suptitle(title or f"Labels of channels, {result.layer}{more}", fontsize=11)
    figure.supxlabel(result.verdict, fontsize=SMALL, wrap=True)
    return figure
