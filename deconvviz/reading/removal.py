"""What a unit adds up from, and what it loses without some of that, image by image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deconvviz.mining.dataset_pictures import DatasetPictures
from deconvviz.mining.project_top import stacked
from deconvviz.reading.fed_units import FedUnits, FeederSearch, SourceChannel, in_parts

DRAWS = 8  # of random channels


class Found(NamedTuple):
    """A channel's unit in an image of the dataset."""

    image: int
    position: tuple[int, ...]


class Shares(NamedTuple):
    """What channels add to units.

    Attributes:
        sources: Layer and number of each channel.
        values: (units,), the activations.
        shares: (units, channels), what each adds, over the activation.
    """

    sources: list[SourceChannel]
    values: Tensor
    shares: Tensor


@dataclass(frozen=True)
class ChannelRuns:
    """Runs on the images that fire one channel of a layer.

    Attributes:
        pictures: The dataset.
        search: Finds what feeds the layer.
        channel: The channel.
        batch_size: Number of images that run together, at most.
    """

    pictures: DatasetPictures
    search: FeederSearch
    channel: int
    batch_size: int

    def shares(self, units: Sequence[Found]) -> Shares:
        """What each channel of the sources adds to units."""
        runs = self._each(units, lambda fed: fed)
        names = list(runs[0].added)
        sources = [(name, number) for name in names for number in range(runs[0].added[name].shape[1])]
        values = torch.cat([fed.values for fed in runs]).double()
        added = torch.cat([torch.cat([fed.added[name] for name in names], 1) for fed in runs]).double()
        return Shares(sources, values, added / values[:, None])

    def lost(self, units: Sequence[Found], removed: Sequence[Sequence[SourceChannel]]) -> Tensor:
        """The share of the activation that units lose without some channels, (units, sets of channels)."""

        def of_batch(fed: FedUnits) -> Tensor:
            left = torch.stack([fed.without(channels) for channels in removed], 1).double()
            return 1 - left / fed.values.double()[:, None]

        return torch.cat(self._each(units, of_batch))

    def _each(self, units: Sequence[Found], measure: Callable[[FedUnits], Any]) -> list[Any]:
        """A measure of each batch of units."""
        first = self.pictures.inputs(units[0].image)[0]
        together = self.search.at_once(stacked([first]), self.batch_size)
        measured = []
        for part in in_parts(list(range(len(units))), together):
            inputs = stacked([self.pictures.inputs(units[row].image)[0] for row in part])
            places = [(place, self.channel, units[row].position) for place, row in enumerate(part)]
            measured.append(measure(self.search.units(inputs, places)))
        return measured


def removed_together(count: int) -> tuple[int, ...]:
    """How many of `count` feeders are removed together: 1, 2, 4, 8 and so on."""
    counts, number = [], 1
    while number <= count:
        counts.append(number)
        number *= 2
    return tuple(counts)


def random_channels(
    candidates: Sequence[SourceChannel], counts: Sequence[int], generator: torch.Generator
) -> list[list[SourceChannel]]:
    """For each count `DRAWS` draws of so many channels."""
    return [
        [candidates[place] for place in torch.randperm(len(candidates), generator=generator)[:count].tolist()]
        for count in counts
        for _ in range(DRAWS)
    ]
