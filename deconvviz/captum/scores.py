"""Scores of a method on one unit: Captum's infidelity and sensitivity, and the evidence's deletion and insertion."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor

from deconvviz.captum.explained_unit import ExplainedUnit
from deconvviz.captum.methods import aimed
from deconvviz.errors import InputError, did_you_mean
from deconvviz.evidence.curves import Curves, steps_of
from deconvviz.evidence.methods import BASELINES, RANKINGS, Judged, ranked_by, rankings
from deconvviz.io.restoring import Restored
from deconvviz.recording.random_state import forked, seed

SEED = 0
NOISE = 0.1  # standard deviation of infidelity's noise and radius of sensitivity's, in standard deviations of the input
NOISES, SHIFTS = 32, 3  # how many of them
CURVE_STEPS = 16  # of deletion and insertion


class UnitScores:
    """Scores of methods on one unit."""

    def __init__(self, unit: ExplainedUnit) -> None:
        self.unit = unit
        self._noise = NOISE * float(unit.image.std())
        self._areas: dict[tuple[str, str], dict[str, float]] = {}

    def score(self, score: str, name: str) -> float:
        """A score, one of `SCORES`, of a method; random numbers start from the same seed for each.

        Raises:
            Exception: Whatever the model raises, such as one that takes one image at a time only.
        """
        image = self.unit.image
        with Restored(forked([image.device])):
            seed(image.device, SEED)
            return float(SCORES[score](self, name))

    def infidelity(self, name: str) -> Tensor:
        """Captum's infidelity, normalised, under Gaussian noise."""
        unit = self.unit

        def perturbed(x: Tensor) -> tuple[Tensor, Tensor]:
            noise = self._noise * torch.randn_like(x)
            return noise, x - noise

        score: Tensor = infidelity(
            aimed(unit.net.model, unit.unit.layer, unit.index, "").model,
            perturbed,
            unit.image,
            unit.attributions(name),
            target=unit.index,
            n_perturb_samples=NOISES,
            max_examples_per_batch=8,
            normalize=True,
        )
        return score

    def sensitivity(self, name: str) -> Tensor:
        """Captum's maximal sensitivity in a small box around the image."""
        explain = self.unit.explain(name)
        score: Tensor = sensitivity_max(
            lambda inputs: (explain(inputs[0]),), self.unit.image, perturb_radius=self._noise, n_perturb_samples=SHIFTS
        )
        return score

    def area(self, name: str, score: str, ranking: str) -> float:
        """Area under the unit's activation as the pixels ranked first are deleted or inserted (`score`).

        A baseline has one ranking, the first.
        """
        if name in BASELINES and ranking != RANKINGS[0]:
            return math.nan
        if (name, ranking) not in self._areas:
            net, unit = self.unit.net, self.unit.unit
            judged = Judged(net, self.unit.image, unit.layer, unit.channel, unit.position)
            curves = Curves(torch.zeros_like(judged.x), steps_of(CURVE_STEPS), CURVE_STEPS)
            picture, image = (judged.cut(each[0], 0) for each in (self.unit.attributions(name), judged.x))
            both = curves.of(judged, 0, rankings(picture, image)[ranking])
            areas = (float(torch.trapezoid(curve, curves.fractions)) for curve in both)
            self._areas[name, ranking] = dict(zip(("deletion", "insertion"), areas, strict=True))
        return self._areas[name, ranking][score]


def _area_score(score: str, ranking: str) -> Callable[[UnitScores, str], float]:
    return lambda scores, name: scores.area(name, score, ranking)


SCORES: dict[str, Callable[[UnitScores, str], Tensor | float]] = {
    "infidelity": UnitScores.infidelity,
    "sensitivity": UnitScores.sensitivity,
    **{
        ranked_by(score, ranking): _area_score(score, ranking)
        for ranking in RANKINGS
        for score in ("deletion", "insertion")
    },
}
USUAL_SCORES = ("deletion", "insertion")  # the others take several times as long


def score_names(scores: Iterable[str] | None) -> list[str]:
    """The names of the requested scores, each once and in their order; None for the usual ones, "all" for all.

    Raises InputError for unknown names.

    >>> score_names(None), score_names(["infidelity"]), len(score_names(["all"]))
    (['deletion', 'insertion'], ['infidelity'], 8)
    """
    names = list(dict.fromkeys(USUAL_SCORES if scores is None else scores))
    for name in names:
        if name not in (*SCORES, "all"):
            listed = ", ".join(map(repr, SCORES))
            raise InputError(f"there is no score {name!r}; there are {listed}, or 'all'{did_you_mean(name, SCORES)}")
    return list(SCORES) if "all" in names else names
