"""Figures of evidence: curves and bars with their spread over images, and the verdict."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from deconvviz.errors import InputError
from deconvviz.figures.canvas import canvas
from deconvviz.figures.marks import NEUTRAL, SMALL, framed, line, name_ticks, wrapped
from deconvviz.figures.tiles import with_note
from deconvviz.images import as_rgb
from deconvviz.results import Clarity, Deletion, Judgement, Leak, Localisation, Randomisation, Score, Selectivity

BASELINE_COLOURS = {"brightness": "#b8860b", "edges": "#7a5c2e", "centre": "#8a8a8a", "random": "#444444"}
BASELINE_DASHES = {"brightness": "--", "edges": "-.", "centre": ":", "random": (0, (3, 1, 1, 1, 1, 1))}
IMAGES_SHOWN = 8  # images of a benchmark, at most


@functools.singledispatch
def draw(result: Any, **options: Any) -> Figure:
    """The figure of a result, by its type."""
    raise InputError(f"there is no chart for a {type(result).__name__}")


def _styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How the line of each method is drawn; baselines are brown and grey, and have no markers."""
    others = [name for name in names if name not in BASELINE_COLOURS]
    plain = {name: {"color": colour, "linestyle": BASELINE_DASHES[name]} for name, colour in BASELINE_COLOURS.items()}
    return {**{name: line(n) for n, name in enumerate(others)}, **plain}


def _figure(
    result: Judgement, panels: int, title: str, *, height: float = 3.9, axes: Axes | None
) -> tuple[Figure, list[Any]]:
    figure = canvas((max(6.0, 4.6 * panels), height), axes)
    parts = list(figure.subplots(1, panels, squeeze=False)[0])
    figure.suptitle(title, fontsize=11)
    figure.supxlabel(result.verdict, fontsize=SMALL, wrap=True)
    return figure, parts


def _quartile_band(axes: Any, x: Any, values: Tensor, name: str, style: dict[str, Any]) -> None:
    """A mean over images and the middle half of them, where there are any. values: (images, points)."""
    numbers = values.numpy()
    known = ~np.isnan(numbers).all(0)
    numbers, x = numbers[:, known], np.asarray(x)[known]
    if not len(x):
        axes.plot([], [], label=f"{name}: nothing to show", **style)
        return
    low, high = np.nanquantile(numbers, [0.25, 0.75], axis=0)
    axes.plot(x, np.nanmean(numbers, axis=0), label=name, **style)
    axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)


def _score_bars(axes: Any, scores: Mapping[str, Score], label: str) -> None:
    styles = _styles([name for name in scores if "," not in name])
    for place, (name, score) in enumerate(scores.items()):
        reach = None if np.isnan(score.low) else [[score.mean - score.low], [score.high - score.mean]]
        axes.barh(place, score.mean, xerr=reach, color=styles[name.split(",")[0]]["color"], height=0.6, capsize=3)
    axes.set(yticks=range(len(scores)), xlabel=wrapped(label, 3.9, 10))
    axes.set_yticklabels(list(scores))
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)


def _where(result: Deletion | Leak | Randomisation | Selectivity) -> str:
    first, images = result.units[0], len({unit.sample for unit in result.units})
    return f"{first.layer}, {images} image{'s' if images > 1 else ''}"


@draw.register
def _(result: Deletion, *, axes: Axes | None = None) -> Figure:
    title = f"Deletion and insertion: {_where(result)}, filled with {result.fill}"
    figure, panels = _figure(result, 3, title, height=5.3, axes=axes)
    shown = [name for name in result.deletion if "," not in name]  # by the absolute picture, and baselines
    styles = _styles(shown)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.18), "ncols": 2, "frameon": False}
    for part, curves, scores, name, free in (
        (panels[0], result.deletion, result.deletion_scores, "deleted", "upper right"),
        (panels[1], result.insertion, result.insertion_scores, "inserted", "lower right"),
    ):
        for method in shown:
            label = f"{method} {scores[method].mean:.2f}"
            style = {**styles[method], "markevery": 0.12} if "marker" in styles[method] else styles[method]
            _quartile_band(part, result.fractions.numpy(), curves[method], label, style)
        part.set(xlabel=f"fraction of the receptive field {name}", ylabel="activation of the unit")
        part.grid(alpha=0.3)
        place = below if axes is None else {"loc": free}  # in axes of the caller's there may be no room below
        part.legend(**place, fontsize=SMALL, title="area under the curve", title_fontsize=SMALL)
    _score_bars(panels[2], result.insertion_scores, "insertion, by ranking (higher is better)")
    return figure


@draw.register
def _(result: Randomisation, *, axes: Axes | None = None) -> Figure:
    figure, panels = _figure(result, 2, f"Random weights, {result.mode}: {_where(result)}", height=4.6, axes=axes)
    styles = _styles(list(result.spearman))
    places = range(len(result.layers))
    measure = "cosine" if result.cosine else "rank correlation"
    for part, curves, name in (
        (panels[0], result.similarity, f"{measure} with the trained picture"),
        (panels[1], result.ssim, "SSIM with the trained picture"),
    ):
        for method, values in curves.items():
            _quartile_band(part, places, values.T, method, styles[method])
        for method, floor in result.floors.items() if part is panels[0] else ():
            part.axhline(floor.both.mean, color=styles[method]["color"], linestyle=":", linewidth=1)
        if result.floors and part is panels[0]:
            part.plot([], [], ":", color="black", linewidth=1, label="other unit on another image")
        part.set(ylabel=name, ylim=(min(-0.05, part.get_ylim()[0]), 1.02))
        name_ticks(part.xaxis, result.layers, 20, rotation=60, ha="right", rotation_mode="anchor")
        part.grid(alpha=0.3)
        part.legend(loc="upper right", fontsize=SMALL)
    return figure


@draw.register
def _(result: Selectivity, *, axes: Axes | None = None) -> Figure:
    figure, panels = _figure(
        result, 2, f"Pictures of different units on the same image: {_where(result)}", height=3.6, axes=axes
    )
    cosines = {name: floor.other_unit for name, floor in result.floors.items()}
    for part, scores, name in (
        (panels[0], cosines or result.spearman, "cosine" if cosines else "rank correlation"),
        (panels[1], result.ssim, "SSIM"),
    ):
        _score_bars(part, scores, name)
        part.set_xlim(min(0, *(score.mean for score in scores.values() if not np.isnan(score.mean)), 0), 1.02)
    floors = list(result.floors.values())
    for control, marker, size, label in (
        ("other_image", "D", 7, "same unit, other image"),
        ("both", "|", 18, "other unit, other image (floor)"),
    ):
        means = [getattr(floor, control).mean for floor in floors]
        panels[0].plot(means, range(len(means)), marker, color="black", label=label, markersize=size, linestyle="")
    if floors:
        above: dict[str, Any] = {"loc": "lower right"}
        if axes is None:
            above = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": 2, "frameon": False}
        panels[0].legend(**above, fontsize=SMALL, markerscale=0.6)
    return figure


@draw.register
def _(result: Leak, *, axes: Axes | None = None) -> Figure:
    figure, (part,) = _figure(result, 1, f"Leak through silent units: {_where(result)}", height=3.2, axes=axes)
    shares = {"off on the image": result.leak, "off on all images": result.dormant, "random weights": result.untrained}
    _score_bars(part, shares, "share of the deconvnet picture's norm that went through units that were off")
    return figure


@draw.register
def _(result: Localisation, *, axes: Axes | None = None) -> Figure:
    figure = canvas((9, 4.6), axes)
    count = min(IMAGES_SHOWN, len(result.images))
    grid = figure.add_gridspec(2, count, height_ratios=[1.7, 1])
    part = figure.add_subplot(grid[0, :])
    _score_bars(part, result.hits, "images on which the strongest pixel lies in the object")
    part.axvline(result.chance, color="black", linestyle=":", label="chance")
    part.set_xlim(0, 1)
    part.legend(loc="lower right", fontsize=SMALL)
    styles = _styles(list(result.points))
    for n in range(count):
        panel = figure.add_subplot(grid[1, n])
        panel.imshow(as_rgb(result.images[n]).numpy(), interpolation="nearest")
        (top, bottom), (left, right) = result.boxes[n].tolist()
        framed(panel, left - 0.5, top - 0.5, right - left, bottom - top)
        for name, points in result.points.items():
            row, column = points[n].tolist()
            if row < 0:
                continue  # a blank picture points nowhere
            mark = {"marker": styles[name].get("marker", "*"), "color": styles[name]["color"]}
            panel.plot(column, row, ms=5, mec="white", mew=0.4, linestyle="", **mark)
        panel.axis("off")
    figure.supxlabel(with_note(result.verdict, result.images[:count]), fontsize=SMALL, wrap=True)
    return figure


@draw.register
def _(result: Clarity, *, axes: Axes | None = None) -> Figure:
    figure, (part,) = _figure(
        result, 1, f"How clearly a layer's reconstruction shows the image ({result.style})", axes=axes
    )
    places = range(len(result.layers))
    _quartile_band(part, places, result.trained.T, "trained", line(0))
    _quartile_band(part, places, result.random.T, "random weights", {**line(1), "color": NEUTRAL})
    part.set(ylabel="correlation with the image")
    name_ticks(part.xaxis, result.layers, 30, rotation=45, ha="right", rotation_mode="anchor")
    part.grid(alpha=0.3)
    part.legend(loc="upper right", fontsize=SMALL)
    return figure
