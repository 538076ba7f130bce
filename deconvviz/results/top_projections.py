"""The strongest units of channels over a dataset, projected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deconvviz.results.base import Tabular, kind
from deconvviz.results.projections import Projection


@kind
@dataclass(frozen=True, kw_only=True)
class ChannelTop:
    """The strongest units of one channel.

    Attributes:
        channel: The channel.
        projection: The units, strongest first; sample n is the n-th of `images`.
        images: Per unit, the number of its image in the dataset.
        names: Per unit, the name of its image.
        labels: Per unit, the label of its image, or "".
        called: The label that fits the channel and how well, as `ChannelLabels.name` says it; "" if the scan has none.
    """

    channel: int
    projection: Projection
    images: tuple[int, ...]
    names: tuple[str, ...]
    labels: tuple[str, ...]
    called: str = ""


@dataclass(frozen=True)
class TopProjections(Tabular):
    """The strongest units of channels of one layer, projected: Figure 2 of Zeiler and Fergus.

    It has a length and items, the channels in the order in which they were asked for.

    Attributes:
        layer: The layer's name.
        channels: One entry per channel.
    """

    layer: str
    channels: tuple[ChannelTop, ...]

    def __len__(self) -> int:
        return len(self.channels)

    def __getitem__(self, number: int) -> ChannelTop:
        return self.channels[number]

    def __iter__(self) -> Iterator[ChannelTop]:
        return iter(self.channels)

    def table(self) -> list[dict[str, Any]]:
        """One row per unit, strongest first within a channel."""
        return [
            {
                "channel": top.channel,
                "rank": rank + 1,
                "image": top.names[rank],
                "label": top.labels[rank],
                "activation": unit.activation,
                "position": unit.position,
            }
            for top in self.channels
            for rank, unit in enumerate(top.projection.units)
        ]
