"""The result of the occlusion experiment: three maps over the positions of a patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from deconvviz.results.base import Finding
from deconvviz.results.projections import Projection


@dataclass(frozen=True, kw_only=True)
class Occlusion(Finding):
    """A network's response while a patch slides over its images.

    Attributes:
        patch: Height and width of the patch in pixels.
        tops: (rows,), the top row of each position of the patch.
        lefts: (columns,), the left column of each position.
        fill: (images, C), the colour of the patch, in the scale of the displayed images.
        activation: (images, rows, columns), summed over the feature map that is strongest on the whole image.
        probability: (images, rows, columns), of the class in `targets`.
        predicted: (images, rows, columns), the most probable class.
        whole_activation: (images,), the same without a patch.
        whole_probability: (images,), the same without a patch.
        whole_predicted: (images,), the same without a patch.
        targets: (images,), the classes.
        projection: The strongest unit of each image's feature map; `projection.images` are the images.
        classes: Class names; empty if unknown.
        verdict: What the maps show, in one sentence.
    """

    drawn_by = "deconvviz.figures.occlusion"

    patch: tuple[int, int]
    tops: torch.Tensor
    lefts: torch.Tensor
    fill: torch.Tensor
    activation: torch.Tensor
    probability: torch.Tensor
    predicted: torch.Tensor
    whole_activation: torch.Tensor
    whole_probability: torch.Tensor
    whole_predicted: torch.Tensor
    targets: torch.Tensor
    projection: Projection
    classes: tuple[str, ...]
    verdict: str

    def name_of(self, number: int) -> str:
        """The name of a class, or its number if there are no names."""
        return self.classes[number] if self.classes else str(number)

    def lowest(self, maps: torch.Tensor) -> torch.Tensor:
        """The position of the patch, (images, 2) top and left, at each map's minimum (the first of equal ones)."""
        rows, columns = torch.unravel_index(maps.flatten(1).argmin(1), maps.shape[1:])
        return torch.stack([self.tops[rows], self.lefts[columns]], 1)

    @property
    def changed(self) -> torch.Tensor:
        """The share of positions with another most probable class than on the whole image, (images,)."""
        return (self.predicted != self.whole_predicted[:, None, None]).flatten(1).double().mean(1)

    def table(self) -> list[dict[str, Any]]:
        """One row per image; positions are the patch's top left pixel, "another class" is a share of all positions."""
        worst, weakest = self.lowest(self.probability), self.lowest(self.activation)
        return [
            {
                "image": n,
                "class": self.name_of(int(self.targets[n])),
                "probability": float(self.whole_probability[n]),
                "lowest": float(self.probability[n].min()),
                "at row": int(worst[n, 0]),
                "column": int(worst[n, 1]),
                "another class": float(self.changed[n]),
                "channel": self.projection.units[n].channel,
                "activation": float(self.whole_activation[n]),
                "weakest": float(self.activation[n].min()),
                "its row": int(weakest[n, 0]),
                "its column": int(weakest[n, 1]),
            }
            for n in range(len(self.targets))
        ]
