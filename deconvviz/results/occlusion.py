"""What occlusion finds: three maps over the places of a patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from deconvviz.results.base import Finding
from deconvviz.results.projections import Projection


@dataclass(frozen=True)
class Occlusion(Finding):
    """What a network says while a patch slides over its images.

    patch: height and width in pixels. tops, lefts: (rows,) and (columns,), where the patch stood; the maps are
        (images, rows, columns).
    fill: (images, C), the patch's colour, as the images are displayed.
    activation: summed over the feature map that was strongest on the whole image. probability: of the class in
        `targets` (images,). predicted: the most probable class.
    whole_activation, whole_probability, whole_predicted: (images,), the same with nothing covered.
    projection: the strongest unit of each image's feature map; `projection.images` are the images.
    classes: names of the classes, or none.
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
        """A class as one reads it: its name, or its number where there are no names."""
        return self.classes[number] if self.classes else str(number)

    def lowest(self, maps: torch.Tensor) -> torch.Tensor:
        """Where the patch stood when each image's map was lowest, the first of equals: (images, 2), top and left."""
        rows, columns = torch.unravel_index(maps.flatten(1).argmin(1), maps.shape[1:])
        return torch.stack([self.tops[rows], self.lefts[columns]], 1)

    @property
    def changed(self) -> torch.Tensor:
        """On what share of the places the most probable class is another than on the whole image, (images,)."""
        return (self.predicted != self.whole_predicted[:, None, None]).flatten(1).double().mean(1)

    def table(self) -> list[dict[str, Any]]:
        """A row for each image; places are the patch's top left pixel, another class on a share of all places."""
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
