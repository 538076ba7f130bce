"""The result of the correspondence experiment: whether a layer relates the same part across images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from deconvviz.results.base import Finding


@dataclass(frozen=True, kw_only=True)
class Correspondence(Finding):
    """How differently layers change when the same part of each image is covered.

    If a part's differences are below those of both controls, the layer relates the part across images.

    Attributes:
        layers: Layer names.
        differences: Per part (layers, pairs of images), the Hamming distance between the signs of the changes,
            divided by the dimension.
        control: Per part (layers, draws, pairs), the same for random places.
        aligned: Per part (layers, draws, pairs), the same for random places that are equal in all images.
        changed: Per part (layers,), the share of a layer's values that covering the part changes.
        control_changed: Per part (layers,), the same for random places.
        boxes: Per part (images, 2, 2), per axis the first covered pixel and one past the last.
        controls: Per part (draws, images, 2, 2), the boxes of the random places.
        images: (images, C, H, W), for display.
        fill: (images, C), the colour of the patch.
        verdict: What the numbers mean, in one sentence.
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
        """Delta of each layer, (layers,): the mean difference over pairs."""
        return self.differences[part].mean(1)

    def average(self, control: dict[str, torch.Tensor], part: str) -> torch.Tensor:
        """Delta of each draw of a control, (layers, draws)."""
        return control[part].mean(2)

    def table(self) -> list[dict[str, Any]]:
        """One row per layer and part; `std` is over pairs of images, that of the controls over draws."""
        rows = []
        for place, layer in enumerate(self.layers):
            for part, differences in self.differences.items():
                delta = float(differences[place].mean())
                random, same = (self.average(control, part)[place] for control in (self.control, self.aligned))
                rows.append(
                    {
                        "layer": layer,
                        "part": part,
                        "Delta": delta,
                        "std": _standard_deviation(differences[place]),
                        "random places": float(random.mean()),
                        "std, random": _standard_deviation(random),
                        "p, random": chance(random, delta),
                        "same place": float(same.mean()),
                        "std, same": _standard_deviation(same),
                        "p, same": chance(same, delta),
                        "changed": float(self.changed[part][place]),
                        "changed, random": float(self.control_changed[part][place]),
                    }
                )
        return rows


def power(draws: torch.Tensor, effect: float, level: float = 0.05) -> float:
    """How often a Delta that is lower than the control's mean by a share `effect` would be found, with these draws.

    The Delta of a part and those of random places are taken to be normal with the standard deviation of the draws.

    Args:
        draws: Delta of each draw of a control.
        effect: The share.
        level: The largest probability by `chance` that counts.

    Example:
        >>> values = torch.linspace(0.9, 1.1, 20)
        >>> power(values, 0.0) < 0.05 < power(values, 0.1) < power(values, 0.3)
        True
    """
    count, spread, mean = len(draws), float(draws.std()), float(draws.mean())
    most = math.floor(level * (1 + count)) - 1  # draws that may lie as low
    if most < 0 or count < 2:
        return 0.0
    if spread == 0:
        return float(effect * mean > 0)
    x = torch.linspace(-9, 9, 3601, dtype=torch.float64)  # in standard deviations from the part's own mean
    below = torch.special.ndtr(x - effect * mean / spread)  # how likely one draw lies as low
    found = sum(math.comb(count, k) * below**k * (1 - below) ** (count - k) for k in range(most + 1))
    density = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
    return float(torch.trapezoid(density * found, x))


def _standard_deviation(values: torch.Tensor) -> float:
    return float(values.std()) if len(values) > 1 else float("nan")


def chance(draws: torch.Tensor, delta: float) -> float:
    """The probability that a control has a Delta this low: (1 + number of such draws) / (1 + number of draws).

    >>> chance(torch.tensor([0.2, 0.3, 0.4]), 0.3)
    0.75
    """
    return (1 + int((draws <= delta).sum())) / (1 + len(draws))
