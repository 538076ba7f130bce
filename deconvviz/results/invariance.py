"""What a transform of the image does to layers: distances in feature space, and the probability of the class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from deconvviz.results.base import Finding


@dataclass(frozen=True)
class Invariance(Finding):
    """How far the features of layers move when images are transformed, and what becomes of their class.

    transform: its name. label: what its values measure, for an axis.
    values: t, as given. layers: names, from the first to the last.
    distances: per layer (values, images), ||f(x) - f(T_t x)||_2.
    relative: per layer (values, images), the same divided by ||f(x)||_2; NaN where that is zero.
    others: per layer (images,), relative distance of each image to the one before it in the batch (of the first to the
        last), without a transform: what images have that have nothing to do with each other. NaN for one image alone.
    targets: per image, the class whose probability is followed. Empty where the model returns no classes.
    probability: (values, images), that class's; None where the model returns no classes.
    example_values, examples: some of the values, and the first image so transformed (values, C, H, W), to look at.
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
        """For each t the means over images, and ± the standard deviation of the column before."""
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
    """Of the values (images,) that are known; the deviation is that of a sample, NaN of fewer than two.

    >>> mean_and_deviation(torch.tensor([1.0, 3.0, float("nan")]))
    (2.0, 1.4142135381698608)
    """
    known = values[~values.isnan()]
    return float(known.mean()), float(known.std()) if len(known) > 1 else float("nan")
