"""Where a figure is drawn: as one of its own, which a notebook shows, or in the place of an axes of the caller's.

Figures are not registered with pyplot, so that those of a loop do not accumulate.
"""

from __future__ import annotations

import io
from typing import Any, cast

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.text import Text

from deconvviz.arguments import checked_as, instance, optional
from deconvviz.figures.marks import TITLE, wrapped

MARGIN = 0.2  # inches beside a title, in all
GIVEN_AXES = optional(instance("an Axes of matplotlib", Axes))


class ShownFigure(Figure):
    """A figure that a notebook shows where it is the value of a cell, whatever pyplot's backend is.

    Its title is broken into lines that fit.
    """

    def suptitle(self, t: str, **options: Any) -> Text:
        """As that of matplotlib."""
        size = options.setdefault("fontsize", TITLE)
        return super().suptitle(wrapped(t, self.get_figwidth() - MARGIN, size), **options)

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png", bbox_inches="tight")
        return picture.getvalue()


class Embedded(Artist):
    """A figure that is drawn in the place of axes of another figure, laid out for the size that these have then."""

    def __init__(self, shown: Figure, place: Axes) -> None:
        super().__init__()
        self.shown, self.place = shown, place
        self.set_in_layout(False)

    def draw(self, renderer: RendererBase) -> None:
        """Draw the figure."""
        root: Any = self.place.get_figure(root=True)
        self.shown.set_dpi(root.dpi)
        inches = self.place.bbox.transformed(root.dpi_scale_trans.inverted())
        self.shown.bbox_inches.set_points(inches.get_points())
        self.shown.draw(renderer)


def canvas(size: tuple[float, float], axes: Axes | None, *, layout: Any = "constrained") -> Figure:
    """A figure for several panels, shown alone or in the place of `axes`, whose own axis is then hidden.

    Args:
        size: Width and height in inches of a figure that is shown alone.
        axes: Axes of the caller's, or None.
        layout: The layout of the panels.
    """
    checked_as(GIVEN_AXES, "axes", axes)
    figure = ShownFigure(figsize=size, layout=layout)
    if axes is not None:
        figure.patch.set_visible(False)
        axes.set_axis_off()
        axes.add_artist(Embedded(figure, axes))
    return figure


def panel(size: tuple[float, float], axes: Axes | None) -> tuple[Figure, Axes]:
    """A figure of one panel, and the panel: a new one of a size in inches, or `axes`."""
    checked_as(GIVEN_AXES, "axes", axes)
    if axes is None:
        figure = ShownFigure(figsize=size, layout="constrained")
        return figure, figure.subplots()
    return cast(Figure, axes.figure), axes
