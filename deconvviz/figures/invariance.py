"""The figure of an invariance experiment: distances and class probability against the transform (Figure 5)."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from deconvviz.figures.canvas import canvas
from deconvviz.figures.marks import SMALL, line
from deconvviz.figures.tiles import with_note
from deconvviz.images import as_rgb
from deconvviz.results.invariance import Invariance


def draw(result: Invariance, absolute: bool = False, *, axes: Axes | None = None) -> Figure:
    """Means over images with a band of one standard deviation; above, the first image after the transforms.

    Dotted lines are the distance between unrelated images.

    Args:
        result: The invariance.
        absolute: Whether to show absolute distances instead of those divided by the norm of the features.
        axes: Where to draw instead of in a figure of its own; the axis there is hidden.
    """
    panels = 1 if result.probability is None else 2
    figure = canvas((5.0 * panels, 5.0), axes)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[1, 3])[:, 0]
    _examples(above, result)
    curves, *behind = below.subplots(1, panels, squeeze=False)[0]
    order = np.argsort(result.values)
    for number, layer in enumerate(result.layers):
        style = line(number)
        values = result.distances[layer] if absolute else result.relative[layer]
        _deviation_band(curves, result.values, values, order, name=layer, style=style)
        between = float(result.others[layer].nanmean())
        if not absolute and not np.isnan(between):
            curves.axhline(between, color=style["color"], linestyle=":", linewidth=1.2)
    curves.set(xlabel=result.label, ylabel="distance" if absolute else "distance / norm of the features")
    curves.set_ylim(bottom=0)
    curves.grid(alpha=0.3)
    curves.legend(
        loc="upper left", fontsize=SMALL, title=None if absolute else "dotted: another image", title_fontsize=SMALL
    )
    if result.probability is not None:
        _deviation_band(behind[0], result.values, result.probability, order, name="mean", style=line(6), highest=1.0)
        behind[0].set(xlabel=result.label, ylabel="probability of the class", ylim=(-0.03, 1.03))
        behind[0].grid(alpha=0.3)
    images = next(iter(result.distances.values())).shape[1]
    above.suptitle(f"Invariance to {result.transform}: {images} image{'s' if images > 1 else ''}", fontsize=11)
    examples = result.examples if result.examples.ndim == 4 else ()
    below.supxlabel(with_note(result.verdict, examples), fontsize=SMALL, wrap=True)
    return figure


def _examples(figure: Any, result: Invariance) -> None:
    if result.examples.ndim != 4:
        return
    grid = figure.subplots(1, len(result.example_values), squeeze=False)[0]
    for axes, t, picture in zip(grid, result.example_values, result.examples, strict=True):
        axes.set_title(f"{t:g}", fontsize=SMALL)
        axes.axis("off")
        axes.imshow(as_rgb(picture).numpy(), interpolation="nearest")


def _deviation_band(
    axes: Any,
    values: Any,
    measured: Tensor,
    order: Any,
    *,
    name: str,
    style: dict[str, Any],
    highest: float | None = None,
) -> None:
    """A mean over images, and one standard deviation each way. measured: (values, images), from 0 to `highest`."""
    x, numbers = np.asarray(values)[order], measured.numpy()[order]
    numbers = numbers[:, ~np.isnan(numbers).any(0)]
    if not numbers.shape[1]:
        axes.plot([], [], label=f"{name}: silent", **style)
        return
    mean, deviation = numbers.mean(1), numbers.std(1, ddof=min(1, numbers.shape[1] - 1))
    low, high = np.clip([mean - deviation, mean + deviation], 0, highest)
    axes.plot(x, mean, label=name, **style)
    axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
