"""The limits of verdicts, and the words for values between them.

The atlas's pages read the limits and words from its data.
"""

from __future__ import annotations

from typing import NamedTuple

from deconvviz.intervals import FEWEST
from deconvviz.results.words import agreeing, counted

NEAR_CHANCE = 0.05  # insertion this near to that of a random ranking is called no better

# Verdicts on a channel's projections, as an atlas's data have them
SPECIFIC, PARTLY, NOT_SPECIFIC, NOT_JUDGED = VERDICTS = ("specific", "partly", "not", "none")


class Scale(NamedTuple):
    """Rising limits, and what is said of a value up to the first, between two of them, and above the last."""

    limits: tuple[float, ...]
    words: tuple[str, ...]

    def said(self, value: float) -> str:
        """What is said of a value; one that is equal to a limit is below it.

        >>> Scale((0.3, 0.7), ("low", "middle", "high")).said(0.3)
        'low'
        """
        return self.words[sum(value > limit for limit in self.limits)]


ALIKE = Scale(
    (0.3, 0.7), ("is specific to the unit", "is partly specific to the unit", "shows the image more than the unit")
)
KEPT = Scale(
    (0.2, 0.5), ("depends on these layers", "depends partly on these layers", "depends only weakly on these layers")
)

DORMANT = Scale(
    (0.1, 0.5),
    (
        "draw hardly any of it",
        "draw part of it, which shows nothing that the network computes on these images",
        "draw most of it, and it shows nothing that the network computes on these images",
    ),
)


def blank_pictures(name: str, scored: int, images: int) -> str:
    """That a method's picture is blank on too many images for a verdict.

    >>> blank_pictures("guided", 0, 1), blank_pictures("guided", 1, 4)
    ('the guided picture is blank', 'the guided picture is blank on 3 of 4 images, too many for a verdict')
    """
    if images == 1:
        return f"the {name} picture is blank"
    return f"the {name} picture is blank on {images - scored} of {counted(images, 'image')}, too many for a verdict"


def too_few(images: int, what: str = "image") -> str:
    """That so few images get no verdict.

    >>> too_few(1), too_few(7)
    ('1 image is too few to say; use at least 8', '7 images are too few to say; use at least 8')
    """
    return f"{counted(images, what)} {agreeing(images, 'is', 'are')} too few to say; use at least {FEWEST}"
