"""What correspondence finds: whether a layer relates a part across images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from deconvviz.results.base import Finding


@dataclass(frozen=True)
class Correspondence(Finding):
    """How differently images change when the same part of each is covered; below the controls, the layer relates it.

    layers: names. differences: per part (layers, pairs of images), the Hamming distance between the signs of the
        changes, divided by the dimension. control: the same for random places, (layers, draws, pairs); aligned: for
        random places that are the same in all images.
    changed, control_changed: per part (layers,), the share of a layer's values that covering changes at all.
    boxes: per part (images, 2, 2), per axis the first pixel covered and one past the last; controls: (draws, images,
        2, 2). images: (images, C, H, W), for display; fill: (images, C), what covers.
    """

    drawn_by = "deconvviz.figures.correspondence"

    layers: tuple[str, ...]
    differences: dict[str, torch.Tensor]
    control: dict[str, torch.Tensor]
    aligned: dict[str, torch.Tensor]
    changed: dict[str, torch.Tensor]
    control_changed: dict[str, torch.Tensor]
    boxes: dict[str, torch.Tensor]
    controls: dict[str, torch.Tensor]
    images: torch.Tensor
    fill: torch.Tensor
    verdict: str

    def delta(self, part: str) -> torch.Tensor:
        """Delta of each layer, (layers,): the mean over pairs."""
        return self.differences[part].mean(1)

    def average(self, control: dict[str, torch.Tensor], part: str) -> torch.Tensor:
        """Delta of each draw of a control, (layers, draws)."""
        return control[part].mean(2)

    def table(self) -> list[dict[str, Any]]:
        """A row for each layer and part; `std` over pairs of images, those of the controls over draws."""
        rows = []
        for place, layer in enumerate(self.layers):
            for part, differences in self.differences.items():
                delta = float(differences[place].mean())
                random, same = (self.average(one, part)[place] for one in (self.control, self.aligned))
                rows.append(
                    {
                        "layer": layer,
                        "part": part,
                        "Delta": delta,
                        "std": _spread(differences[place]),
                        "random places": float(random.mean()),
                        "std of these": _spread(random),
                        "by chance": chance(random, delta),
                        "same place": float(same.mean()),
                        "std of those": _spread(same),
                        "by chance there": chance(same, delta),
                        "values changed": float(self.changed[part][place]),
                        "at random": float(self.control_changed[part][place]),
                    }
                )
        return rows


def _spread(values: torch.Tensor) -> float:
    return float(values.std()) if len(values) > 1 else float("nan")


def chance(draws: torch.Tensor, delta: float) -> float:
    """How likely a control gives a Delta as low: (1 + draws that do) / (1 + draws).

    >>> chance(torch.tensor([0.2, 0.3, 0.4]), 0.3)
    0.75
    """
    return (1 + int((draws <= delta).sum())) / (1 + len(draws))
