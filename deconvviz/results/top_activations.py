"""What a pass over a dataset finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from deconvviz.results.base import Tabular, as_html, as_rows, kind, plain


@kind
@dataclass(frozen=True)
class ChannelStatistics:
    """How the channels of one layer behave over a dataset, by their strongest unit in each image.

    fires: (channels,), the fraction of images on which it is above zero. mean, maximum: (channels,).
    histogram: (channels, bins), on how many images it fell between neighbouring `edges` (bins + 1).
    """

    fires: torch.Tensor
    mean: torch.Tensor
    maximum: torch.Tensor
    histogram: torch.Tensor
    edges: torch.Tensor

    @property
    def dead(self) -> torch.Tensor:
        """Channels that fire on no image, (n,)."""
        return (self.fires == 0).nonzero().flatten()

    @property
    def always_on(self) -> torch.Tensor:
        """Channels that fire on every image, (n,)."""
        return (self.fires == 1).nonzero().flatten()


@kind
@dataclass(frozen=True)
class Broken:
    """An item of a dataset that could not be read."""

    image: int
    name: str
    reason: str


@kind
@dataclass(frozen=True)
class ScanProvenance:
    """What a scan ran over: enough to say whether two may be compared."""

    model: str
    fingerprint: str
    dataset: str
    batch_size: int
    per_image: int
    versions: dict[str, str]


@dataclass(frozen=True)
class TopActivations(Tabular):
    """The k strongest units of every channel over a dataset, strongest first; of equals the lower image first.

    values: per layer (channels, k), activations; -inf where the dataset has fewer than k images.
    images: per layer (channels, k), numbers of the images in the dataset; -1 for none.
    positions: per layer (channels, k, dimensions), indices into the channel's map; -1 for none.
    statistics: per layer.
    count: images that were read. broken: those that could not be.
    """

    values: dict[str, torch.Tensor]
    images: dict[str, torch.Tensor]
    positions: dict[str, torch.Tensor]
    statistics: dict[str, ChannelStatistics]
    count: int
    broken: tuple[Broken, ...]
    provenance: ScanProvenance

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self.values)

    @property
    def k(self) -> int:
        return next(iter(self.values.values())).shape[1]

    def table(self) -> list[dict[str, Any]]:
        """One row for each layer; the median rate: on what share of the images its middle channel fires."""
        return [
            {
                "layer": layer,
                "channels": len(found.fires),
                "dead": len(found.dead),
                "always on": len(found.always_on),
                "median rate": float(found.fires.median()),
                "strongest": float(found.maximum.max()),
            }
            for layer, found in self.statistics.items()
        ]

    def as_json(self) -> dict[str, Any]:
        counted = {"images": self.count, "dataset": self.provenance.dataset, "broken": plain(self.broken)}
        return {**super().as_json(), **counted}

    def __str__(self) -> str:
        broken = f", {len(self.broken)} could not be read" if self.broken else ""
        return f"{super().__str__()}\n{self.count:,} images of {self.provenance.dataset}{broken}"

    def _repr_html_(self) -> str:
        return as_html(as_rows(self.table()))
