"""What a pass over a dataset finds."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from deconvviz.results.base import Result, as_html, as_text, kind


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
class TopActivations(Result):
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

    def rows(self) -> list[tuple[str, ...]]:
        """One row of text per layer, a header first."""
        rows: list[tuple[str, ...]] = [("layer", "channels", "dead", "always on", "median rate", "strongest")]
        for layer, found in self.statistics.items():
            counts = len(found.fires), len(found.dead), len(found.always_on)
            strongest = float(found.maximum.max())
            rows.append((layer, *map(str, counts), f"{float(found.fires.median()):.1%}", f"{strongest:.4g}"))
        return rows

    def __str__(self) -> str:
        broken = f", {len(self.broken)} could not be read" if self.broken else ""
        return f"{as_text(self.rows())}\n{self.count:,} images of {self.provenance.dataset}{broken}"

    def _repr_html_(self) -> str:
        return as_html(self.rows())
