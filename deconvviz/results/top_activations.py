"""The result of a scan over a dataset."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from deconvviz.results.base import Tabular, as_html, as_rows, kind, plain
from deconvviz.results.labels import ChannelLabels
from deconvviz.results.words import counted


@kind
@dataclass(frozen=True, kw_only=True)
class ChannelStatistics:
    """Statistics of one layer's channels over a dataset, based on the strongest unit of each channel in each image.

    Attributes:
        fires: (channels,), the fraction of images on which this unit is above zero.
        mean: (channels,), its mean.
        maximum: (channels,), its maximum.
        histogram: (channels, bins), the number of images with a value between neighbouring `edges`.
        edges: (bins + 1,), the bin edges.
        is_dead: (channels,), whether the channel is above zero at no position of any image, behind its rectifier;
            without a rectifier, whether it is constant. None in files of earlier versions.
        is_always_on: (channels,), whether it is above zero at every position of every image, behind its rectifier.
    """

    fires: torch.Tensor
    mean: torch.Tensor
    maximum: torch.Tensor
    histogram: torch.Tensor
    edges: torch.Tensor
    is_dead: torch.Tensor | None = None
    is_always_on: torch.Tensor | None = None

    @property
    def dead(self) -> torch.Tensor:
        """Indices of the dead channels, (n,); none where that is not known."""
        return _indices(self.is_dead)

    @property
    def always_on(self) -> torch.Tensor:
        """Indices of the channels that are always on, (n,); none where that is not known."""
        return _indices(self.is_always_on)


def _indices(mask: torch.Tensor | None) -> torch.Tensor:
    return torch.zeros(0, dtype=torch.long) if mask is None else mask.nonzero().flatten()


@kind
@dataclass(frozen=True)
class Broken:
    """An item of a dataset that could not be read.

    Attributes:
        image: Index in the dataset.
        name: File name, or the index as text.
        reason: Why it could not be read.
    """

    image: int
    name: str
    reason: str


@kind
@dataclass(frozen=True, kw_only=True)
class ScanProvenance:
    """The origin of a scan: enough to decide whether two scans can be compared.

    Attributes:
        model: The model's class name.
        fingerprint: Digest of the model's parameters and buffers.
        dataset: The dataset's name.
        batch_size: Images per batch.
        per_image: At most this many units of one image per list.
        versions: Versions of deconvviz and torch.
    """

    model: str
    fingerprint: str
    dataset: str
    batch_size: int
    per_image: int
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class TopActivations(Tabular):
    """The k strongest units of every channel over a dataset, strongest first; ties go to the lower image index.

    Attributes:
        values: Per layer (channels, k), activations; -inf where the dataset has fewer than k images.
        images: Per layer (channels, k), indices of the images in the dataset; -1 for none.
        positions: Per layer (channels, k, dimensions), indices into the feature map; -1 for none.
        statistics: Per layer, statistics of its channels.
        count: Number of images read.
        broken: Items that could not be read.
        provenance: Model, dataset and settings.
        classes: The names of the dataset's labels, by number; empty if it has none.
        labels: Per layer, the label that fits each channel best; empty if the dataset has none, or they were left out.
    """

    values: dict[str, torch.Tensor]
    images: dict[str, torch.Tensor]
    positions: dict[str, torch.Tensor]
    statistics: dict[str, ChannelStatistics]
    count: int
    broken: tuple[Broken, ...]
    provenance: ScanProvenance
    classes: tuple[str, ...] = ()
    labels: dict[str, ChannelLabels] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self.values)

    @property
    def k(self) -> int:
        return next(iter(self.values.values())).shape[1]

    def table(self) -> list[dict[str, Any]]:
        """One row per layer; "median rate" is the median over channels of the share of images on which they fire."""
        return [
            {
                "layer": layer,
                "channels": len(channels.fires),
                "dead": None if channels.is_dead is None else len(channels.dead),
                "always on": None if channels.is_always_on is None else len(channels.always_on),
                "median rate": float(channels.fires.median()),
                "strongest": float(channels.maximum.max()),
                **({"with a label": int(self.labels[layer].fits.sum())} if layer in self.labels else {}),
            }
            for layer, channels in self.statistics.items()
        ]

    def as_json(self) -> dict[str, Any]:
        counted = {"images": self.count, "dataset": self.provenance.dataset, "broken": plain(self.broken)}
        return {**super().as_json(), **counted}

    def __str__(self) -> str:
        broken = f", {len(self.broken)} could not be read" if self.broken else ""
        return f"{super().__str__()}\n{counted(self.count, 'image')} of {self.provenance.dataset}{broken}"

    def _repr_html_(self) -> str:
        return as_html(as_rows(self.table()))
