"""Filters and feature maps of one layer: what there is to see of it before anything is sent back."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deconvviz.results.base import Tabular, array_of
from deconvviz.results.projections import Provenance
from deconvviz.results.shown_images import ImagesField
from deconvviz.results.summary import summary


class LayerPictures(Tabular):
    """Base class of `Filters` and `FeatureMaps`, which are drawn with or without labels. It prints in one line."""

    def grid(self, **options: Any) -> Any:
        """The pictures of `figure` as a PIL image, without labels.

        Args:
            **options: The options of `figure` except `title`, and `enlarge`, the width of a pixel.
        """
        return importlib.import_module(self.drawn_by).grid(self, **options)

    def __str__(self) -> str:
        return summary(self)


@dataclass(frozen=True, kw_only=True)
class Filters(LayerPictures):
    """The filters of one layer, as it computes with them.

    Attributes:
        weight: (filters, inputs, kernel size), one filter per channel of the layer. For a linear layer that reads
            feature maps, the size of the maps takes the place of the kernel size.
        groups: In how many groups the layer's inputs are divided; a filter reads those of its own group.
        transposed: Whether the convolution is transposed. A filter is then what it adds to its output at one position.
        provenance: Model and layer. It has no style and no seed.
    """

    drawn_by = "deconvviz.figures.filters"

    weight: torch.Tensor
    groups: int
    transposed: bool
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.weight)

    @property
    def strength(self) -> torch.Tensor:
        """The Euclidean norm of each filter, (filters,)."""
        return magnitudes(self.weight).flatten(1).square().sum(1).sqrt()

    def first_input(self, channel: int) -> int:
        """The first of the layer's input channels that a filter reads."""
        return channel // (len(self.weight) // self.groups) * self.weight.shape[1]

    def numpy(self) -> NDArray[Any]:
        """`weight` as an array."""
        return array_of(self.weight)

    def table(self) -> list[dict[str, Any]]:
        """One row per filter; its strength is its Euclidean norm."""
        weight = magnitudes(self.weight).flatten(1)
        facts = torch.stack([self.strength, weight.amin(1), weight.amax(1)], 1).tolist()
        return [
            {"channel": channel, "strength": strength, "lowest": lowest, "highest": highest}
            for channel, (strength, lowest, highest) in enumerate(facts)
        ]


@dataclass(frozen=True, kw_only=True)
class FeatureMaps(LayerPictures):
    """The activations of one layer on images.

    Attributes:
        maps: (samples, channels, map size). A layer that has only channels has no map size.
        images: (samples, input shape), the network's inputs, for display.
        provenance: Model, layer and settings of torch. It has no style and no seed.
    """

    drawn_by = "deconvviz.figures.feature_maps"

    maps: torch.Tensor
    images: torch.Tensor
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def strength(self) -> torch.Tensor:
        """The maximum of each map, (samples, channels)."""
        return magnitudes(self.maps).flatten(2).amax(2) if self.maps.ndim > 2 else magnitudes(self.maps)

    def numpy(self) -> NDArray[Any]:
        """`maps` as an array."""
        return array_of(self.maps)

    def table(self) -> list[dict[str, Any]]:
        """One row per image and channel, with the maximum of the map and its first place."""
        values = magnitudes(self.maps).reshape(*self.maps.shape[:2], -1)
        means, (highest, places) = values.mean(2).tolist(), values.max(2)
        where = np.stack(np.unravel_index(places.numpy(), self.maps.shape[2:] or (1,)), -1).tolist()
        return [
            {
                "image": sample,
                "channel": channel,
                "mean": means[sample][channel],
                "maximum": maximum,
                "at": tuple(where[sample][channel]) if self.maps.ndim > 2 else (),
            }
            for sample, row in enumerate(highest.tolist())
            for channel, maximum in enumerate(row)
        ]


FeatureMaps.images = ImagesField()  # type: ignore[assignment]


def magnitudes(values: torch.Tensor) -> torch.Tensor:
    """Real numbers on the CPU in double precision: of complex ones their absolute values."""
    values = values.detach().cpu()
    return (values.abs() if values.is_complex() else values).double()
