"""How well a linear classifier tells classes apart from each layer's features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from deconvviz.results.base import Finding
from deconvviz.results.top_activations import Broken


@dataclass(frozen=True)
class Probe(Finding):
    """Accuracy of linear classifiers on the features of layers, cross-validated.

    layers: names, from the first to the last. features: how many each has, per image.
    accuracy: (layers, folds), on images that the classifier was not trained on.
    chance: the share of the most frequent class, which is right without looking.
    classes: their names, or labels where they have none. images: how many were used. broken: those left out.
    pool: to how many positions along each axis maps were averaged; None: they were taken as they are.
    """

    layers: tuple[str, ...]
    features: tuple[int, ...]
    accuracy: torch.Tensor
    chance: float
    classes: tuple[str, ...]
    images: int
    broken: tuple[Broken, ...]
    pool: int | None
    verdict: str

    drawn_by = "deconvviz.figures.probe"

    def table(self) -> list[dict[str, Any]]:
        """Per layer the mean over folds, ± the standard deviation of a fold."""
        return [
            {
                "layer": layer,
                "features": count,
                "accuracy": float(one.mean()),
                "±": float(one.std()),
                "chance": self.chance,
            }
            for layer, count, one in zip(self.layers, self.features, self.accuracy, strict=True)
        ]
