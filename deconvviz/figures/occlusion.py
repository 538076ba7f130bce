"""The figure of an occlusion experiment, as Figure 7 of Zeiler and Fergus: one row per image, five panels."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray
from torch import Tensor

from deconvviz.errors import InputError
from deconvviz.figures.canvas import canvas
from deconvviz.figures.marks import COLOURS, KEY_INCHES, SMALL, draw_key, kind_of, room_for_key, signed_words
from deconvviz.figures.tiles import with_note
from deconvviz.images import as_rgb, signed_as_rgb
from deconvviz.results import Occlusion
from deconvviz.results.words import in_digits

CLASSES_COLOURED = 6  # classes with a colour of their own
OTHER_CLASSES = "#bbbbbb"
PANELS = (
    "(a) patch where the class is weakest, (b) summed activation of the feature map, "
    "(c) projection of its strongest unit, (d) probability of the class, (e) most probable class"
)
INCHES = 2.3  # width of a panel


def draw(result: Occlusion, rows: int = 6, *, title: str = "", axes: Axes | None = None) -> Figure:
    """Per image: the patch where the class is weakest; the feature map's activation; the strongest unit's projection;
    the class probability; the most probable class.

    Maps lie over the image: each value is drawn at the centre of the patch, extended to the border at the ends.

    Args:
        result: The occlusion.
        rows: Maximum number of images shown.
        title: The figure's title.
        axes: Where to draw instead of in a figure of its own; the axis there is hidden.
    """
    count = min(rows, len(result.targets))
    if count < 1:
        raise InputError(f"a figure shows 1 image or more, not {rows}")
    tall = result.projection.images.shape[2] / result.projection.images.shape[3]
    size = (5 * INCHES + 2.6, count * (INCHES * min(2.0, max(0.5, tall)) + 0.45) + 0.9)
    figure = canvas((size[0], size[1] + KEY_INCHES), axes)
    above, below = room_for_key(figure, size[1])
    grid = above.subplots(count, 5, squeeze=False)
    for n in range(count):
        _row(above, grid[n], result, n)
    channels = result.projection.pixels.shape[1]
    draw_key(below.subplots(), kind_of(channels), f"(c) {signed_words(channels, 'each')}")
    layer = result.projection.provenance.layer
    places = f"{len(result.tops)} x {len(result.lefts)} places"
    said = f"Occlusion by {result.patch[0]} x {result.patch[1]} pixels at {places}, {layer}\n{PANELS}"
    figure.suptitle(title or said, fontsize=10)
    figure.supxlabel(with_note(result.verdict, result.projection.images[:count]), fontsize=SMALL, wrap=True)
    return figure


def _row(figure: Figure, axes: Any, result: Occlusion, n: int) -> None:
    unit, name = result.projection.units[n], _name(result, int(result.targets[n]))
    _draw_image(axes[0], result, n)
    said = f"(b) map {unit.channel}, whole {in_digits(float(result.whole_activation[n]))}"
    _map(figure, axes[1], result, result.activation[n], said)
    axes[2].imshow(signed_as_rgb(result.projection.whole(n)).numpy(), interpolation="nearest")
    axes[2].set_title(f"(c) projection of map {unit.channel}", fontsize=SMALL)
    said = f"(d) {name}, whole {float(result.whole_probability[n]):.2f}"
    _map(figure, axes[3], result, result.probability[n], said, low=0.0, high=1.0)
    _classes(axes[4], result, n)
    for panel in axes:
        panel.set(xticks=[], yticks=[])
        for spine in panel.spines.values():
            spine.set(color="0.75", linewidth=0.6)


def _draw_image(axes: Any, result: Occlusion, n: int) -> None:
    top, left = result.lowest(result.probability)[n].tolist()
    height, width = result.patch
    covered = result.projection.images[n].clone()
    covered[:, top : top + height, left : left + width] = result.fill[n][:, None, None].to(covered)
    axes.imshow(as_rgb(covered).numpy(), interpolation="nearest")
    axes.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor="#e0402a", linewidth=1.2))
    axes.set_title(f"(a) {_name(result, int(result.targets[n]))}", fontsize=SMALL)


def _map(
    figure: Figure,
    axes: Any,
    result: Occlusion,
    values: Tensor,
    title: str,
    *,
    low: float | None = None,
    high: float | None = None,
) -> None:
    mesh = axes.pcolormesh(*_cell_edges(result), values.numpy(), cmap="viridis", vmin=low, vmax=high)
    _as_image(axes, result)
    bar = figure.colorbar(mesh, ax=axes, fraction=0.046, pad=0.03)
    bar.ax.tick_params(labelsize=SMALL)
    axes.set_title(title, fontsize=SMALL)


def _classes(axes: Any, result: Occlusion, n: int) -> None:
    classes, counts = np.unique(result.predicted[n].numpy(), return_counts=True)
    shown = classes[np.argsort(-counts, kind="stable")][:CLASSES_COLOURED].tolist()
    numbers = np.full(result.predicted[n].shape, len(shown))
    for number, label in enumerate(shown):
        numbers[result.predicted[n].numpy() == label] = number
    colours = [*COLOURS[: len(shown)], OTHER_CLASSES]
    axes.pcolormesh(
        *_cell_edges(result),
        numbers,
        cmap=ListedColormap(colours),
        norm=BoundaryNorm(np.arange(len(colours) + 1) - 0.5, len(colours)),
    )
    _as_image(axes, result)
    axes.set_title("(e) most probable class", fontsize=SMALL)
    entries = [Patch(color=colours[number], label=_name(result, label)) for number, label in enumerate(shown)]
    if len(classes) > len(shown):
        entries.append(Patch(color=OTHER_CLASSES, label=f"{len(classes) - len(shown)} others"))
    axes.legend(
        handles=entries, fontsize=SMALL, loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0, frameon=False
    )


def _as_image(axes: Any, result: Occlusion) -> None:
    height, width = result.projection.images.shape[2:]
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal")


def _cell_edges(result: Occlusion) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where cells begin and end, along x and y, in the pixels of the image."""
    height, width = result.projection.images.shape[2:]
    return _between(result.lefts, result.patch[1], width), _between(result.tops, result.patch[0], height)


def _between(starts: Tensor, size: int, length: int) -> NDArray[np.float64]:
    centres = starts.numpy() + (size - 1) / 2
    return np.concatenate([[-0.5], (centres[1:] + centres[:-1]) / 2, [length - 0.5]])


def _name(result: Occlusion, number: int) -> str:
    """A class, in a few words."""
    name = result.name_of(number) if result.classes else f"class {number}"
    return name if len(name) <= 22 else f"{name[:20]}..."
