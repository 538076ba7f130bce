"""The figure of channels that respond to two things: both groups of pictures, beside the patches."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deconvviz.figures.canvas import canvas
from deconvviz.figures.marks import KEY_INCHES, SMALL, draw_key, kind_of, room_for_key, signed_words
from deconvviz.figures.network_diff import block
from deconvviz.results import MixedChannels
from deconvviz.results.mixed import OUTLIERS


def draw(result: MixedChannels, *, title: str = "", axes: Axes | None = None) -> Figure:
    """One row per channel: the pictures and patches of its larger group, then those of the other one."""
    rows = max(1, len(result.examples))
    tall = 2.35 * rows + 0.9
    figure = canvas((9.0, tall + KEY_INCHES), axes)
    above, below = room_for_key(figure, tall)
    panels = above.subplots(rows, 4, squeeze=False)
    for panel in panels.flat:
        panel.axis("off")
    for row, shown in zip(panels, result.examples, strict=False):
        place = result.channels.index(shown.channel)
        share = float(result.groups[place].float().mean())
        for group in (0, 1):
            for panel, pictures, signed in (
                (row[2 * group], shown.pictures[group], True),
                (row[2 * group + 1], shown.patches[group], False),
            ):
                if len(pictures):
                    panel.imshow(block(pictures, signed).numpy(), interpolation="nearest")
        clear = f"separation {result.separations[place]:.2f} ({result.expected[place]:.2f} without a gap)"
        row[0].set_title(f"Channel {shown.channel}, {clear}", fontsize=9, loc="left")
        few = ", outliers" if share < OUTLIERS else ""
        row[2].set_title(f"the other {share:.0%} of its units{few}", fontsize=9, loc="left")
    channels = max((part.shape[1] for shown in result.examples for part in shown.pictures), default=1)
    draw_key(below.subplots(), kind_of(channels), signed_words(channels, "each"))
    figure.suptitle(
        title or f"Channels with the clearest two groups, {result.layer}: guided pictures by how much each unit fired",
        fontsize=11,
    )
    figure.supxlabel(result.verdict, fontsize=SMALL, wrap=True)
    return figure
