"""A figure in dark colours, for pages that are read in the dark.

Paper becomes dark and ink light, and the greys between them follow. Colours stay, but those that dark paper would
swallow are lightened. Pictures, what is drawn over them, and the colours of keys are data and stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from deconvviz.figures.canvas import Embedded
from deconvviz.figures.marks import ScaleColour

PAPER, INK = "#1c1e24", "#ececf1"  # those of the pages
LEAST_COLOUR = 0.04  # largest difference between red, green and blue of what counts as grey
TEXT_CONTRAST, GRAPHICS_CONTRAST = 4.5, 3.0  # least contrast with the paper, as WCAG AA asks
STEP = 0.08  # of the way to white, by which a colour is lightened

Colour = tuple[float, float, float, float]


def darkened(figure: Figure) -> Figure:
    """Change a figure that has been drawn to dark colours, and return it.

    Args:
        figure: Any figure of matplotlib; where its text lies must be known, so it must have been drawn or saved once.

    Example:
        >>> from matplotlib.colors import to_hex
        >>> figure = Figure()
        >>> title = figure.suptitle("firing rates")
        >>> to_hex(darkened(figure).get_facecolor()) == PAPER, to_hex(title.get_color()) == INK
        (True, True)
    """
    _darken(figure)
    return figure


def _darken(figure: FigureBase) -> None:
    kept = {id(artist) for axes in figure.findobj(Axes) for artist in _data(axes)}
    for artist in figure.findobj():
        if id(artist) in kept or isinstance(artist, ScaleColour):
            continue
        if isinstance(artist, Embedded):
            _darken(artist.shown)
        elif isinstance(artist, Text):
            artist.set_color(in_the_dark(artist.get_color(), TEXT_CONTRAST))
            if box := artist.get_bbox_patch():
                _change_patch(box)
        elif isinstance(artist, Line2D):
            colours = artist.get_markerfacecolor(), artist.get_markeredgecolor()
            artist.set_color(in_the_dark(artist.get_color()))
            artist.set_markerfacecolor(in_the_dark(colours[0]))
            artist.set_markeredgecolor(in_the_dark(colours[1]))
        elif isinstance(artist, Patch):
            _change_patch(artist)
        elif isinstance(artist, Collection) and artist.get_array() is None:
            artist.set_facecolor([in_the_dark(colour) for colour in artist.get_facecolor()])
            artist.set_edgecolor([in_the_dark(colour) for colour in artist.get_edgecolor()])


def _change_patch(patch: Patch) -> None:
    face, edge = patch.get_facecolor(), patch.get_edgecolor()
    patch.set_facecolor(in_the_dark(face))
    patch.set_edgecolor(in_the_dark(edge))


def _data(axes: Any) -> Iterator[Artist]:
    """What is drawn over the pictures of axes: lines and patches, and texts that lie on a picture."""
    if not axes.images:
        return
    yield from (*axes.lines, *axes.patches, *axes.collections)
    boxes = [image.get_window_extent() for image in axes.images]
    for text in axes.texts:
        at = text.get_transform().transform(text.get_position())
        if any(box.contains(*at) for box in boxes):
            yield text


def in_the_dark(colour: Any, contrast: float = GRAPHICS_CONTRAST) -> Colour:
    """A colour for dark paper: greys between ink and paper, others lightened as far as needed.

    Args:
        colour: Any colour that matplotlib understands. What is transparent stays so.
        contrast: The least contrast of WCAG, from 1 to 21, between the paper and a colour that is no grey.

    Example:
        >>> from matplotlib.colors import to_hex
        >>> to_hex(in_the_dark("white")) == PAPER, to_hex(in_the_dark("black")) == INK, in_the_dark("none")[3]
        (True, True, 0.0)
    """
    *channels, alpha = to_rgba(colour)
    if not alpha:
        return to_rgba(colour)
    if max(channels) - min(channels) <= LEAST_COLOUR:
        light = sum(channels) / 3
        channels = [ink + (paper - ink) * light for ink, paper in zip(to_rgb(INK), to_rgb(PAPER), strict=True)]
    else:
        while _contrast(channels) < contrast:
            channels = [value + STEP * (1 - value) for value in channels]
    red, green, blue = channels
    return to_rgba((red, green, blue, alpha))


def _contrast(channels: list[float]) -> float:
    return (_luminance(channels) + 0.05) / (_luminance(list(to_rgb(PAPER))) + 0.05)


def _luminance(channels: list[float]) -> float:
    """The relative luminance of WCAG 2.2."""
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(share * value for share, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
