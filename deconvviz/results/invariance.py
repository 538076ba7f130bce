"""The effect of image transforms on layers: distances in feature space, and the class probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from deconvviz.results.base import Finding


@dataclass(frozen=True, kw_only=True)
class Invariance(Finding):
    """How far the features of layers move when images are transformed, and how the class probability changes.

    Attributes:
        transform: The transform's name.
        label: The label of the axis for its values.
        values: The values t.
        layers: Layer names, from the first to the last.
        distances: Per layer (values, images), the norm of f(x) - f(T_t x).
        relative: Per layer (values, images), the same divided by the norm of f(x); NaN if that is zero.
        others: Per layer (images,), the relative distance of each untransformed image to the one before it in the
            batch (of the first to the last), as a scale for unrelated images. NaN for a single image.
        targets: Per image, the class whose probability is measured; empty if the model returns no classes.
        probability: (values, images), the probability of that class; None if the model returns no classes.
        example_values: Some of the values, for display.
        examples: (values, C, H, W), the first image transformed by these values.
        verdict: What the numbers mean, in one sentence.
    """

    transform: str
    label: str
    values: tuple[float, ...]
    layers: tuple[str, ...]
    distances: dict[str, torch.Tensor]
    relative: dict[str, torch.Tensor]
    others: dict[str, torch.Tensor]
    targets: tuple[int, ...]
    probability: torch.Tensor | None
    example_values: tuple[float, ...]
    examples: torch.Tensor
    verdict: str

    drawn_by = "deconvviz.figures.invariance"

    def table(self) -> list[dict[str, Any]]:
        """For each t the means over images; ± columns hold the standard deviation of the column before."""
        records = []
        for row, t in enumerate(self.values):
            record: dict[str, Any] = {self.transform: t}
            for layer in self.layers:
                record[f"{layer} distance"] = float(self.distances[layer][row].nanmean())
                record[f"{layer} relative"], record[f"{layer} ±"] = mean_and_deviation(self.relative[layer][row])
            if self.probability is not None:
                record["probability"], record["probability ±"] = mean_and_deviation(self.probability[row])
            records.append(record)
        return records


def mean_and_deviation(values: torch.Tensor) -> tuple[float, float]:
    """Mean and sample standard deviation of `values` (images,) without NaN; the deviation of fewer than two is NaN.

    >>> mean_and_deviation(torch.tensor([1.0, 3.0, float("nan")]))
    (2.0, 1.4142135381698608)
    """
    known = values[~values.isnan()]
    return float(known.mean()), float(known.std()) if len(known) > 1 else float("nan")
