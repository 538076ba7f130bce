"""What all figures share: sizes of text, lines that differ by more than colour, keys of scales, and frames.

The colours are those of Okabe and Ito, which people with any common kind of colour blindness can tell apart.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.legend_handler import HandlerBase
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import Normal, Stroke
from matplotlib.textpath import text_to_path
from torch import Tensor

from deconvviz.images import signed_as_rgb
from deconvviz.io.restoring import Restored

SMALL = 8.0  # points of labels, the smallest text
CAPTION = 8.5  # points of captions
HEADING = 9.5  # points of the title of a panel
TITLE = 11.0  # points of the title of a figure
TITLE_LINE = 0.18  # inches of a line of a title
POINTS = 72.0  # in an inch
HINTED = 1.04  # how much wider than its outlines a text may be drawn

BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, BLACK, NEUTRAL = "#CC79A7", "#56B4E9", "#000000", "#777777"
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), (0, (7, 2)), (0, (1, 1)))

HEAT = "inferno"  # its brightness grows all the way
KEY_INCHES = 0.32  # height of a key of up to two lines
KEY_STEPS = 41
KEY_RAMP = 5.0  # width of a key's colours, in sizes of its text


def line(number: int, *, marked: bool = True) -> dict[str, Any]:
    """How the line of a number is drawn: no two of the first 49 have the same dashes and marker.

    >>> line(0)["linestyle"], line(1)["linestyle"]
    ('-', '--')
    """
    turn, place = divmod(number, len(COLOURS))
    style: dict[str, Any] = {"color": COLOURS[place], "linestyle": DASHES[(place + turn) % len(DASHES)]}
    return {**style, "marker": MARKERS[place], "markersize": 4} if marked else style


def shortened(text: str, most: int, end: int = 0) -> str:
    """A text of at most so many characters; of a longer one the beginning, and so many characters of its end.

    >>> shortened("a very long name, AUC 0.91", 16, 8), shortened("short", 16)
    ('a very…AUC 0.91', 'short')
    """
    return text if len(text) <= most else f"{text[: most - end - 1].rstrip()}…{text[len(text) - end :]}"


def name_ticks(axis: Any, names: Sequence[str], most: int, **style: Any) -> None:
    """Name the places 0, 1, ... of an axis; of more names than have room there every second, third and so on.

    Args:
        axis: The axis of a panel.
        names: One name per place.
        most: How many names have room.
        **style: Properties of the text.
    """
    step = max(1, -(-len(names) // most))
    axis.set_ticks(range(0, len(names), step), names[::step], fontsize=SMALL, **style)


def framed(axes: Axes, left: float, top: float, width: float, height: float) -> None:
    """A frame, white on black, which shows on any ground."""
    frame = Rectangle((left, top), width, height, fill=False, edgecolor="white", linewidth=0.9)
    frame.set_path_effects([Stroke(linewidth=2.2, foreground="black"), Normal()])
    axes.add_patch(frame)


def inches(text: str, size: float) -> float:
    """How wide one line of text is drawn, in inches; size: in points."""
    width: float = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0]
    return HINTED * width / POINTS


def wrapped(text: str, width: float, size: float) -> str:
    """A text with line breaks, so that no line is wider than `width` inches; size: in points.

    Lines are broken at spaces; words that do not fit after a mark in them, as names of layers have, or anywhere.

    >>> wrapped("conv2: projections", 1.0, 10).splitlines()
    ['conv2:', 'projections']
    """
    with Restored(warnings.catch_warnings()):
        warnings.simplefilter("ignore")  # of letters that the font lacks matplotlib warns where it draws them
        return "\n".join(line for part in text.split("\n") for line in _lines(part, width, size))


def _lines(text: str, width: float, size: float) -> list[str]:
    lines = [""]
    for word in re.findall(r"\S+\s*|\s+", text):
        if inches((lines[-1] + word).rstrip(), size) > width and lines[-1]:
            lines.append("")
        *full, rest = _parts(word, width, size)
        lines[-1:] = [*full, rest] if full else [lines[-1] + rest]
    return [line.rstrip() for line in lines]


def _parts(word: str, width: float, size: float) -> list[str]:
    """A word in parts that fit, broken after marks if there are any."""
    parts, rest = [], word
    while inches(rest.rstrip(), size) > width and len(rest) > 1:
        fitting = max(1, sum(inches(rest[:end], size) <= width for end in range(1, len(rest))))
        end = next((end for end in range(fitting, 1, -1) if rest[end - 1] in "._/-:"), fitting)
        parts.append(rest[:end])
        rest = rest[end:]
    return [*parts, rest]


# Keys of scales


def scale_words(scale: str) -> str:
    """What a key says of the scale."""
    return "each on its own scale" if scale == "each" else "all on one scale"


def signed_words(channels: int, scale: str) -> str:
    """What the key of signed pictures says."""
    each = " in each colour" if channels == 3 else ""
    zero = "grey" if channels == 3 else "white"
    return f"below zero, zero ({zero}), above zero{each}; {scale_words(scale)}"


def ramp(kind: str) -> Tensor:
    """The colours of a key, (steps, 3): of "colours", of "sign" or of "heat"."""
    steps = torch.linspace(-1, 1, KEY_STEPS, device="cpu")
    if kind == "heat":
        return torch.from_numpy(matplotlib.colormaps[HEAT]((steps.numpy() + 1) / 2)[:, :3]).float()
    if kind == "colours":
        return (0.5 + 0.5 * steps)[:, None].expand(-1, 3)
    return signed_as_rgb(steps[None, None], 1.0)[0]


def kind_of(channels: int) -> str:
    """The kind of key of signed pictures."""
    return "colours" if channels == 3 else "sign"


def room_for_key(figure: Any, height: float) -> tuple[Any, Any]:
    """A figure in two parts: one for panels, `height` inches high, and one below it for a key."""
    above, below = figure.subfigures(2, 1, height_ratios=[height, KEY_INCHES])
    return above, below


def draw_key(axes: Axes, kind: str, words: str) -> None:
    """A key in axes of its own, `KEY_INCHES` high: the colours from left to right, and what they are."""
    axes.axis("off")
    figure: Any = axes.figure
    axes.legend(
        **_legend(kind, key_label(words, figure.bbox.width / figure.dpi)), loc="center", borderaxespad=0
    ).set_in_layout(False)


def key_label(words: str, width: float) -> str:
    """What a key says, in lines that fit beside its colours within `width` inches."""
    return wrapped(words, width - (KEY_RAMP + 1.5) * SMALL / POINTS, SMALL)


def key_below(axes: Axes, kind: str, words: str, said: str = "") -> None:
    """A key under the only panel of a figure, with a caption above it."""
    options = {**_legend(kind, words), "title": said, "title_fontproperties": {"size": SMALL}}
    axes.legend(**options, loc="upper center", bbox_to_anchor=(0.5, 0.0), borderaxespad=0.3)


def _legend(kind: str, words: str) -> dict[str, Any]:
    return {
        "handles": [Patch(label=words)],
        "handler_map": {Patch: _Ramp(ramp(kind))},
        "handlelength": KEY_RAMP,
        "fontsize": SMALL,
        "labelcolor": "0.2",
        "frameon": False,
        "borderpad": 0.0,
    }


class ScaleColour(Rectangle):
    """A colour of a key, which is that of pictures and so the same on light and on dark paper."""


class _Ramp(HandlerBase):
    """Draws the colours of a key side by side, in a thin frame."""

    def __init__(self, colours: Tensor) -> None:
        super().__init__()
        self.colours = colours

    def create_artists(self, *given: Any) -> list[Artist]:
        """As matplotlib calls it."""
        _, _, xdescent, ydescent, width, height, _, trans = given
        each = width / len(self.colours)
        parts = [
            ScaleColour((-xdescent + n * each, -ydescent), each * 1.1, height, facecolor=colour, linewidth=0)
            for n, colour in enumerate(self.colours.tolist())
        ]
        frame = Rectangle((-xdescent, -ydescent), width, height, fill=False, edgecolor="0.4", linewidth=0.6)
        for part in (*parts, frame):
            part.set_transform(trans)
        return [*parts, frame]
