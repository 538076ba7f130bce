"""How well linear classifiers predict the class from each layer's features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from deconvviz.results.base import Finding
from deconvviz.results.top_activations import Broken


@dataclass(frozen=True, kw_only=True)
class Probe(Finding):
    """Cross-validated accuracy of linear classifiers on the features of layers.

    Attributes:
        layers: Layer names, from the first to the last.
        features: Number of features per image, for each layer.
        accuracy: (layers, folds), on images that the classifier was not trained on.
        chance: The share of the most frequent class.
        classes: Class names, or labels if there are no names.
        images: Number of images used.
        broken: Items that could not be read.
        pool: Number of positions per axis to which maps were averaged; None without averaging.
        verdict: What the numbers mean, in one sentence.
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
        """Per layer, the mean accuracy over folds ± its standard deviation."""
        return [
            {
                "layer": layer,
                "features": count,
                "accuracy": float(folds.mean()),
                "±": float(folds.std()),
                "chance": self.chance,
            }
            for layer, count, folds in zip(self.layers, self.features, self.accuracy, strict=True)
        ]
