"""The figure of a correspondence experiment: the covered parts, and Delta by layer next to both controls."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deconvviz.figures.canvas import canvas
from deconvviz.figures.marks import NEUTRAL, SMALL, line, name_ticks
from deconvviz.figures.tiles import with_note
from deconvviz.images import as_rgb
from deconvviz.results import Correspondence

IMAGES_SHOWN = 8  # images, at most


def draw(result: Correspondence, title: str = "", *, axes: Axes | None = None) -> Figure:
    """The first images with their parts framed, and one panel per part.

    A panel shows Delta with its standard deviation over pairs of images, and for both controls the mean, the standard
    deviation and the range over draws.
    """
    parts = list(result.differences)
    count = min(IMAGES_SHOWN, len(result.images))
    figure = canvas((max(7.0, 1.2 * count, 4.2 * len(parts)), 5.6), axes)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[1, 2.4])[:, 0]
    colours = {part: line(number)["color"] for number, part in enumerate(parts)}
    for n, shown in enumerate(above.subplots(1, count, squeeze=False)[0]):
        _draw_image(shown, result, n, colours)
    panels = below.subplots(1, len(parts), squeeze=False, sharey=True)[0]
    for panel, part in zip(panels, parts, strict=True):
        _draw_part(panel, result, part, colours[part])
    panels[0].set_ylabel("Delta: share of values whose\nchange has another sign")
    figure.suptitle(title or f"Correspondence across {len(result.images)} images: low means related", fontsize=11)
    figure.supxlabel(with_note(result.verdict, result.images[:count]), fontsize=SMALL, wrap=True)
    return figure


def _draw_image(axes: Any, result: Correspondence, n: int, colours: dict[str, Any]) -> None:
    axes.imshow(as_rgb(result.images[n]).numpy(), interpolation="nearest")
    for part, boxes in result.boxes.items():
        (top, bottom), (left, right) = boxes[n].tolist()
        frame = (left - 0.5, top - 0.5), right - left, bottom - top
        axes.add_patch(Rectangle(*frame, fill=False, edgecolor=colours[part], linewidth=1.4))
    axes.set(xticks=[], yticks=[])


def _draw_part(axes: Any, result: Correspondence, part: str, colour: Any) -> None:
    places = range(len(result.layers))
    for label, control, colour_of, marker in (
        ("random places", result.control, NEUTRAL, "s"),
        ("the same place in all", result.aligned, "#b08d3c", "^"),
    ):
        draws = result.average(control, part)
        axes.fill_between(places, draws.amin(1), draws.amax(1), color=colour_of, alpha=0.13, linewidth=0)
        spread = draws.std(1).numpy() if draws.shape[1] > 1 else None
        style = {"color": colour_of, "marker": marker, "markersize": 3, "linestyle": "--", "capsize": 2}
        axes.errorbar(places, draws.mean(1), spread, label=label, **style)
    own = result.differences[part]
    spread = own.std(1).numpy() if own.shape[1] > 1 else None
    axes.errorbar(places, own.mean(1), spread, color=colour, marker="o", markersize=4, capsize=2, label=part)
    axes.set(ylim=(0, None))
    name_ticks(axes.xaxis, result.layers, 20, rotation=60, ha="right", rotation_mode="anchor")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right", fontsize=SMALL)
