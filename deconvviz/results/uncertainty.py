"""How well a classifier's uncertainty tells wrong answers from right ones, with dropout left on and without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from deconvviz.results.base import Finding
from deconvviz.results.top_activations import Broken


@dataclass(frozen=True, kw_only=True)
class Uncertainty(Finding):
    """Measures of uncertainty for each image, and how well each of them tells wrong answers from right ones.

    The measures are by name, in nats: "softmax", the entropy of the probabilities without dropout; "dropout", the
    entropy of their mean over draws with dropout; "disagreement", what of the latter the draws do not share (the mutual
    information of answer and draw). The answer is that without dropout, so that all measures are compared on the same.

    Attributes:
        right: (N,), whether the answer is right.
        entropy: Per measure (N,), in nats.
        auroc: Per measure (3,), the area under the ROC curve, with the lower and upper end of its 95 % interval: the
            probability that a wrong answer is more uncertain than a right one; 0.5 is chance.
        gain: (4,), area of "dropout" minus that of "softmax" on the same images, ends of the interval, and p.
        accuracy: Shares of right answers, without dropout and of the mean over draws.
        samples: Number of draws.
        broken: Items that could not be read.
        verdict: What the numbers mean.
    """

    right: torch.Tensor
    entropy: dict[str, torch.Tensor]
    auroc: dict[str, torch.Tensor]
    gain: torch.Tensor
    accuracy: tuple[float, float]
    samples: int
    broken: tuple[Broken, ...]
    verdict: str

    drawn_by = "deconvviz.figures.uncertainty"

    def table(self) -> list[dict[str, Any]]:
        """Per measure, its means over right and over wrong answers, and its area with the interval."""
        return [
            {
                "uncertainty": name,
                "right answers": float(values[self.right].mean()),
                "wrong answers": float(values[~self.right].mean()),
                "AUROC": float(self.auroc[name][0]),
                "from": float(self.auroc[name][1]),
                "to": float(self.auroc[name][2]),
            }
            for name, values in self.entropy.items()
        ]
