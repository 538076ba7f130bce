"""The figure of a probe: the accuracy of linear classifiers by layer."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deconvviz.figures.canvas import canvas
from deconvviz.figures.marks import SMALL, line, name_ticks
from deconvviz.results.probe import Probe
from deconvviz.results.words import counted


def draw(result: Probe, *, axes: Axes | None = None) -> Figure:
    """Means over folds with their standard deviation, from the first layer to the last, and the chance level."""
    count = len(result.layers)
    figure = canvas((max(6.8, min(12.0, 2.0 + 0.45 * count)), 4.4), axes)
    curve = figure.subplots()
    mean, deviation = result.accuracy.mean(1).numpy(), result.accuracy.std(1).numpy()
    curve.errorbar(range(count), mean, yerr=deviation, capsize=3, **line(0))
    curve.axhline(result.chance, color="black", linestyle=":", label=f"chance {result.chance:.2f}")
    curve.set(ylabel="accuracy of a linear classifier", ylim=(0, 1.03))
    name_ticks(curve.xaxis, result.layers, 40, rotation=45, ha="right", rotation_mode="anchor")
    curve.grid(alpha=0.3)
    curve.legend(loc="lower right", fontsize=SMALL)
    kinds = f"{counted(result.images, 'image')} of {len(result.classes)} classes, {result.accuracy.shape[1]} folds"
    figure.suptitle(f"What layers tell about the class: {kinds}", fontsize=11)
    figure.supxlabel(result.verdict, fontsize=SMALL, wrap=True)
    return figure
