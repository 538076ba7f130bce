"""Whether one may believe a unit's projection: measured behind, while one looks."""

from __future__ import annotations

import math
from typing import Any

from deconvviz.atlas.evidence import INSERTION_STEPS, Judge, check_installed
from deconvviz.errors import DependencyError
from deconvviz.evidence.limits import ALIKE, NEAR_CHANCE
from deconvviz.explorer.answers import Answers
from deconvviz.explorer.networks import ImageKey
from deconvviz.explorer.worker import Steps


class UnitBadges:
    """Judges units of the image that is shown. Only the worker's thread may use it."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._judge: Judge | None = None

    def badges(
        self, client: str, image: ImageKey, layer: str, channel: int, position: tuple[int, ...] | None
    ) -> Steps[dict[str, Any]]:
        """How far a unit's projection shows what activates it, and how far it differs from those of other channels.

        Returns:
            Badges, each with a kind (good, weak, bad or none), a few words and a sentence.
        """
        try:
            check_installed()
        except DependencyError as error:
            return {"badges": [["none", "Not judged", str(error)]]}
        yield 0.05
        trace = self._answers.networks.trace(client, image)
        projection = self._answers.projection(client, image, layer, channel, position=position)
        yield 0.2
        self._judge = self._judge or Judge(self._answers.networks.given)
        yield 0.3
        (verdict,) = self._judge.verdicts(trace, projection, [0])
        return {"badges": [_gain(verdict.gain), _alike(verdict.alike)]}


def _gain(value: float) -> list[str]:
    """What insertion says of a projection."""
    how = (
        f"The pixels that it ranks first were inserted into an empty image in {INSERTION_STEPS} steps; beside as many "
        f"random pixels the unit reached {abs(value):.2f} of its activation {'more' if value >= 0 else 'less'}."
    )
    if math.isnan(value):
        return ["none", "Faithfulness not judged", "The unit does not fire, its picture is blank, or it has no field."]
    if value > NEAR_CHANCE:
        return ["good", f"Faithful: {value:+.2f} vs. random", f"The picture shows pixels that activate the unit. {how}"]
    if value < -NEAR_CHANCE:
        return ["bad", f"Misleading: {value:+.2f} vs. random", f"Random pixels activate the unit sooner. {how}"]
    return ["weak", f"No better than random ({value:+.2f})", how]


def _alike(value: float) -> list[str]:
    """What the pictures of other channels say of a projection."""
    if math.isnan(value):
        return ["none", "Specificity not judged", "The pictures of other channels there are blank, or there are none."]
    kind = ("good", "weak", "bad")[sum(value > limit for limit in ALIKE.limits)]
    words = {"good": "Specific", "weak": "Partly specific", "bad": "Not specific"}[kind]
    how = (
        f"Its rank correlation with projections of other channels at this place is {value:.2f}; 1 is the same picture."
    )
    return [kind, f"{words}: {value:.2f} similar to other channels", f"The picture {ALIKE.said(value)}. {how}"]
