"""Scores of a method on one unit: Captum's infidelity and sensitivity, and the evidence's deletion and insertion."""

from __future__ import annotations

import torch
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor

from deconvviz.captum.explained_unit import ExplainedUnit
from deconvviz.captum.methods import aimed
from deconvviz.evidence.deletion import areas
from deconvviz.evidence.methods import Judged
from deconvviz.evidence.metrics import cut, heatmap
from deconvviz.io.restoring import Restored
from deconvviz.recording.random_state import forked

SEED = 0
NOISE = 0.1  # standard deviation of infidelity's noise and radius of sensitivity's, in standard deviations of the input
NOISES, SHIFTS = 32, 3  # how many of them


class UnitScores:
    """Scores of methods on one unit."""

    def __init__(self, unit: ExplainedUnit) -> None:
        self.unit = unit
        self._noise = NOISE * float(unit.image.std())
        self._areas: dict[str, tuple[Tensor, Tensor]] = {}

    def score(self, score: str, name: str) -> float:
        """A score, one of `SCORES`, of a method; random numbers start from the same seed for each.

        Raises:
            Exception: Whatever the model raises, such as one that takes one image at a time only.
        """
        image = self.unit.image
        with Restored(forked([image.device])):
            torch.manual_seed(SEED)
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

    def deletion(self, name: str) -> Tensor:
        """Area under the unit's activation as the pixels ranked first are deleted."""
        return self._deletion_and_insertion(name)[0]

    def insertion(self, name: str) -> Tensor:
        """Area under the unit's activation as the pixels ranked first are inserted."""
        return self._deletion_and_insertion(name)[1]

    def _deletion_and_insertion(self, name: str) -> tuple[Tensor, Tensor]:
        if name not in self._areas:
            net, image, unit = self.unit.net, self.unit.image, self.unit.unit
            judged = Judged(net, image, unit.layer, unit.channel, unit.position)
            heat = cut(heatmap(self.unit.attributions(name))[0], judged.box(0))
            self._areas[name] = areas(judged, [heat])
        return self._areas[name]


SCORES = {
    "infidelity": UnitScores.infidelity,
    "sensitivity": UnitScores.sensitivity,
    "deletion": UnitScores.deletion,
    "insertion": UnitScores.insertion,
}
