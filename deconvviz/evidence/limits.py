"""The limits of verdicts and the words between them, which the atlas's pages read, too."""

from __future__ import annotations

from typing import NamedTuple

NEAR_CHANCE = 0.05  # insertion this near to that of a random ranking is called no better


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
