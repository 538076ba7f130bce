"""The figure of synthetic pictures: a grid, each labelled with its channel and its activation."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deconvviz.arguments import TEXT, instance, takes
from deconvviz.figures.projections import COLUMNS, tile_figure
from deconvviz.images import as_rgb
from deconvviz.results import SyntheticPictures
from deconvviz.results.words import counted, in_digits


@takes(result=instance("a SyntheticPictures", SyntheticPictures), columns=COLUMNS, title=TEXT)
def draw(result: SyntheticPictures, columns: int | None = None, *, title: str = "", axes: Axes | None = None) -> Figure:
    """Each picture with its channel and, if that is known, how much stronger it is than the best of the data set.

    Args:
        result: The pictures.
        columns: Pictures per row; None for an automatic choice: the variants of a channel, if there are several.
        title: The figure's title.
        axes: Where to draw instead of in a figure of its own.
    """
    tiles, labels = [], []
    variants = result.pictures.shape[1]
    for channel, pictures, times in zip(result.channels, result.pictures, result.times, strict=True):
        for picture, multiple in zip(pictures, times.tolist(), strict=True):
            tiles.append(as_rgb(picture))
            labels.append(f"{channel}" if math.isnan(multiple) else f"{channel}: {in_digits(multiple, 2)} x")
    columns = columns or (variants if variants > 1 else None)
    compared = "; channel: times the best of the data" if result.best is not None else ""
    named = f"{result.layer}: synthetic pictures of {counted(len(result.channels), 'channel')}{compared}"
    return tile_figure(tiles, columns, title or named, labels, axes=axes)
