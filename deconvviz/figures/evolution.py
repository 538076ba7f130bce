"""The figure of an evolution: a grid of projections for each layer, and curves that show when it settles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from deconvviz.figures.canvas import canvas
from deconvviz.figures.marks import CAPTION, KEY_INCHES, SMALL, draw_key, kind_of, line, signed_words, wrapped
from deconvviz.figures.tiles import same_size, with_note
from deconvviz.images import as_rgb, signed_as_rgb, tiled
from deconvviz.results import Evolution, StrongestUnit
from deconvviz.results.words import in_digits

CHECKPOINTS_SHOWN = 10  # checkpoints in a grid, at most
WIDE = 12.5  # inches
TILE_PIXELS = 64  # pixels that a tile is enlarged to, at least


def draw(result: Evolution, columns: int = CHECKPOINTS_SHOWN, *, axes: Axes | None = None) -> Figure:
    """Per layer, one row per channel and one column per checkpoint, with the last one's image patch; then curves.

    A tile in a grey frame shows another image than the tile before it. Layers that are not images have no grid.

    Args:
        result: The evolution.
        columns: Maximum number of checkpoints shown, evenly spaced from the first to the last. The curves have all of
            them.
        axes: Where to draw instead of in a figure of its own; the axis there is hidden.
    """
    shown = np.unique(np.linspace(0, len(result.times) - 1, min(columns, len(result.times))).round().astype(int))
    grids = {layer: rows for layer, rows in result.grids.items() if rows[0][0].pixels.ndim == 3}
    across = min(2, max(1, len(grids)))
    heights = [max(map(len, list(grids.values())[n : n + across])) for n in range(0, len(grids), across)]
    inches = WIDE / across / (len(shown) + 3)
    tall = [count * inches + 0.5 for count in heights]
    figure = canvas((WIDE, sum(tall) + 4.0 + KEY_INCHES), axes)
    outer = figure.add_gridspec(len(tall) + 2, 1, height_ratios=[*tall, KEY_INCHES, 3.6])
    for n, (layer, rows) in enumerate(grids.items()):
        if n % across == 0:
            inner = outer[n // across].subgridspec(1, across)
        _grid(figure.add_subplot(inner[n % across]), result, layer, rows, shown.tolist(), wide=WIDE / across)
    if grids:
        channels = len(next(iter(grids.values()))[0][0].pixels)
        words = f"{signed_words(channels, 'each')}; framed: of another image than the tile before"
        draw_key(figure.add_subplot(outer[len(tall)]), kind_of(channels), words)
    _draw_curves(figure, outer[len(tall) + 1].subgridspec(1, 3), result)
    patches = [row[-1].patch for rows in grids.values() for row in rows]
    figure.supxlabel(with_note(result.verdict, patches), fontsize=CAPTION, wrap=True)
    return figure


def _grid(
    axes: Any, result: Evolution, layer: str, rows: Sequence[Sequence[StrongestUnit]], shown: list[int], *, wide: float
) -> None:
    tiles = same_size(
        [tile for row in rows for tile in _tiles([row[place] for place in shown])],
        [edge for row in rows for edge in _at_image_edges([row[place] for place in shown])],
    )
    enlarge = max(1, math.ceil(TILE_PIXELS / tiles[0].shape[1]))
    tiles = [tile.repeat_interleave(enlarge, 0).repeat_interleave(enlarge, 1) for tile in tiles]
    gap = max(3, tiles[0].shape[1] // 16)
    height, width, _ = tiles[0].shape
    axes.imshow(tiled(tiles, len(shown) + 1, gap=gap).numpy(), interpolation="nearest")
    for number, row in enumerate(rows):
        middle = gap + number * (height + gap) + height / 2
        axes.text(-gap, middle, str(row[0].channel), ha="right", va="center", fontsize=SMALL)
        for column, place in enumerate(shown):
            left, top = gap + column * (width + gap) - 0.5, gap + number * (height + gap) - 0.5
            if row[place].activation <= 0:
                axes.text(left + width / 2, middle, "silent", ha="center", va="center", fontsize=SMALL, color="#777777")
            if column and row[place].image != row[shown[column - 1]].image:
                frame = matplotlib.patches.Rectangle((left, top), width, height, fill=False, ec="#888888", lw=0.9)
                axes.add_patch(frame)
    names = [in_digits(result.times[place], 6) for place in shown] + ["patch"]
    for column, name in enumerate(names):
        axes.text(gap + column * (width + gap) + width / 2, -gap, name, ha="center", va="bottom", fontsize=SMALL)
    axes.set_title(wrapped(f"{layer}: channels by checkpoint", wide - 0.5, 10), fontsize=10, pad=14)
    axes.axis("off")


def _tiles(row: Sequence[StrongestUnit]) -> list[Tensor]:
    return [*(signed_as_rgb(unit.pixels) for unit in row), as_rgb(row[-1].patch)]


def _at_image_edges(row: Sequence[StrongestUnit]) -> list[tuple[bool, bool]]:
    """Whether each tile, and the patch, begins where the image does, at the top and at the left."""
    return [(unit.field[0][0] == 0, unit.field[1][0] == 0) for unit in (*row, row[-1])]


def _draw_curves(figure: Figure, places: Any, result: Evolution) -> None:
    remaining, moves, changed = (figure.add_subplot(places[n]) for n in range(3))
    for number, layer in enumerate(result.layers):
        style, left = line(number), result.remaining[layer].numpy()
        colour = style["color"]
        remaining.plot(result.times, left.mean(0), label=layer, **style)
        remaining.fill_between(result.times, *np.quantile(left, [0.25, 0.75], axis=0), color=colour, alpha=0.15, lw=0)
        if not math.isnan(result.settled[layer]):
            remaining.axvline(result.settled[layer], color=colour, linestyle=":", lw=1.2)
        moves.plot(result.times[1:], result.moves[layer].numpy().mean(0), **style)
        hollow = {**style, "markerfacecolor": "white", "linewidth": 0.9}
        moves.plot(result.times[1:], result.jumps[layer].numpy().mean(0), **hollow)
        changed.plot(result.times[1:], result.changed[layer].numpy(), **style)
    remaining.set(
        title="distance to the final projection, same image\n(band: middle half of channels; dotted: settled)"
    )
    moves.set(title="distance to the checkpoint before\n(hollow marks: as in the grids, with jumps)")
    changed.set(title="share of channels\nwhose strongest image changed", ylim=(-0.03, 1.03))
    remaining.legend(loc="upper right", fontsize=SMALL)
    for axes in (remaining, moves, changed):
        axes.title.set_fontsize(9)
        axes.set_xlabel("checkpoint", fontsize=SMALL)
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
        axes.grid(alpha=0.3)
        if all(float(time).is_integer() for time in result.times):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
