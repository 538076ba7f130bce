"""`circuit`: the strongest feeders of a channel, and theirs, checked by removing them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from deconvviz.arguments import FLAG, NET, RANDOM_STATE, WHOLE, check_counts, takes
from deconvviz.data.batches import is_indexed, none_readable
from deconvviz.data.datasets import as_dataset
from deconvviz.errors import DataError, InputError
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.mining.dataset_pictures import DatasetPictures
from deconvviz.mining.project_top import stacked
from deconvviz.mining.scan import scan
from deconvviz.net import DeconvNet
from deconvviz.projection.units import channels_of
from deconvviz.reading.fed_units import FeederSearch, nearest, sources_of
from deconvviz.reading.removal import DRAWS, ChannelRuns, Found, Shares, random_channels, removed_together
from deconvviz.reading.unit_pictures import BLANK_PICTURES, UnitPictures
from deconvviz.recording.layer_names import LayerName, Layers, check_layers, layer_name
from deconvviz.results import TopActivations
from deconvviz.results.circuit import Circuit, CircuitFeeder, CircuitUnit
from deconvviz.trace import Trace

MOST_FOLLOWED = 64  # channels
LEAST_FED = 1e-6  # of an activation, below which a channel does not feed it
EMPTY = torch.zeros(0)


@takes(net=NET, channel=WHOLE, random_state=RANDOM_STATE, progress=FLAG)
@on_the_cpu
def circuit(
    net: DeconvNet,
    dataset: Any,
    layer: LayerName,
    *,
    channel: int,
    sources: Layers = None,
    feeders: int = 8,
    depth: int = 1,
    images: int = 16,
    batch_size: int = 16,
    random_state: int = 0,
    progress: bool = True,
) -> Circuit:
    """Find what feeds a channel on the images that fire it most, and check it by removing channels.

    What a channel below adds to a unit is its own activation times the effective weight: the run is made linear, with
    all functions replaced by factors and all gates and divisors held, and the unit is sent back through it as far as
    the nearest layers. All that is added, biases included, makes up the unit's activation.

    The strongest images are split: every other one ranks the feeders, on the others they are removed (set to zero),
    one alone and the first few together, beside as many random channels.

    Args:
        net: The network; its style is that of the pictures.
        dataset: The dataset, as for `scan`, with items by number.
        layer: The layer.
        channel: The channel.
        sources: Layers whose channels count as feeders; None for convolutions and linear layers, or the batch norms
            that alone read them. Below the lowest of them the channels of the input count.
        feeders: Number of feeders of each channel that are kept: those that add or take most.
        depth: How many layers to go down: 2 also finds the feeders of the feeders. At most 64 channels are followed,
            the first ones from the top.
        images: Number of strongest images; with fewer than 16 there is no verdict.
        batch_size: Number of images that are recorded together, at most.
        random_state: Seed of the random numbers.
        progress: Show progress bars.

    Returns:
        A `deconvviz.results.Circuit`. `figure()` draws the channel with its feeders, `write_page` writes a page on
        which they can be walked.

    Raises:
        InputError: If an argument does not fit, or nothing that the layer computes depends on a source.
        UnknownLayerError: If a layer does not run.

    Example:
        >>> import deconvviz as dv
        >>> from deconvviz.data import mnist_test
        >>> from deconvviz.models import mnist_cnn
        >>> net, images = dv.DeconvNet(mnist_cnn()), mnist_test()[0][:200]
        >>> found = dv.circuit(net, images, "conv2", channel=20, progress=False)
        >>> found.units[0].feeders[0].layer, len(found.units[0].feeders)
        ('conv1', 8)
    """
    check_counts(feeders=feeders, depth=depth, batch_size=batch_size)
    check_counts(2, images=images)
    name, data = layer_name(layer, net.model), as_dataset(dataset)
    if not is_indexed(data):
        raise InputError(f"a circuit needs a dataset with a length and items by number, not a {type(data).__name__}")
    pictures = DatasetPictures(net, data)
    trace = net.trace(_first(pictures, len(data)))
    check_layers([name], trace.tape.layers, net.model)
    known = sources_of(trace, net, sources)
    check_layers(known, trace.tape.layers, net.model)
    depth = int(depth)
    below = _below(trace, name, known, depth)
    top = scan(net, data, layers=list(below), k=images, batch_size=batch_size, labels=False, progress=progress)
    channels_of([channel], len(top.values[name]), name)
    searches = {one: FeederSearch(net, one, names) for one, names in below.items() if names is not None}
    job = _CircuitJob(pictures, top, searches, feeders=feeders, batch_size=batch_size, random_state=random_state)
    with progress_bar(unit="channel", desc="circuit", shown=progress) as bar:
        for _ in job.follow(name, int(channel), depth):
            bar.update()
    asked = [(unit.layer, unit.channel) for unit in job.units]
    shown = UnitPictures.of(net, data, top, asked, batch_size)
    return Circuit(
        units=tuple(map(shown.with_pictures, job.units)),
        style=net.style.name,
        sources=tuple(one for one in known if one in below and one != name),
        images=int(images),
        draws=DRAWS,
        broken=top.broken,
    )


def _first(pictures: DatasetPictures, count: int) -> Any:
    """The first item that can be read, as a batch of one."""
    for number in range(count):
        try:
            return stacked([pictures.inputs(number)[0]])
        except DataError:
            if number == count - 1:
                raise
    raise none_readable([])


def _below(trace: Trace, layer: str, known: Sequence[str], depth: int) -> dict[str, list[str] | None]:
    """For a layer and those below it the layers that feed them; None for those whose feeders are not asked for."""
    found: dict[str, list[str] | None] = {layer: None}
    level = [layer]
    for _ in range(depth):
        further: list[str] = []
        for name in level:
            found[name] = nearest(trace, name, known)
            further += [one for one in found[name] or [] if one not in found]
        level = list(dict.fromkeys(further))
        found.update(dict.fromkeys(level))
        if not level:
            break
    return found


class _CircuitJob:
    """A circuit as it is followed down from one channel."""

    def __init__(
        self,
        pictures: DatasetPictures,
        top: TopActivations,
        searches: dict[str, FeederSearch],
        *,
        feeders: int,
        batch_size: int,
        random_state: int,
    ) -> None:
        self._pictures, self._top, self._searches = pictures, top, searches
        self._feeders, self._batch_size, self._random_state = feeders, batch_size, random_state
        self.units: list[CircuitUnit] = []

    def follow(self, layer: str, channel: int, depth: int) -> Iterator[CircuitUnit]:
        """The channel and those below it, in the order in which they are met."""
        waiting, met, followed = deque([(layer, channel, 0)]), {(layer, channel)}, 0
        while waiting:
            name, number, level = waiting.popleft()
            follows = level < depth and followed < MOST_FOLLOWED
            followed += follows
            unit = self._unit(name, number, follows)
            self.units.append(unit)
            yield unit
            for feeder in unit.feeders:
                key = feeder.layer, feeder.channel
                if feeder.layer in self._top.values and key not in met:
                    met.add(key)
                    waiting.append((*key, level + 1))

    def _unit(self, layer: str, channel: int, follows: bool) -> CircuitUnit:
        found = self._found(layer, channel)
        if not follows or not found:
            values = self._top.values[layer][channel][: len(found)].double()
            return _empty(layer, channel, follows, values)
        runs = ChannelRuns(self._pictures, self._searches[layer], channel, self._batch_size)
        ranking, others = found[::2], found[1::2]
        added = runs.shares(ranking)
        chosen = _strongest(added, self._feeders)
        means = added.shares.mean(0)
        names = self._searches[layer].names
        able = [place for place in chosen if added.sources[place][0] in names]
        counts = removed_together(sum(float(means[place]) > 0 for place in able)) if others else ()
        alone, first, random = self._lost(runs, others, added, able, counts)
        columns = {place: alone[:, number] for number, place in enumerate(able)}
        return CircuitUnit(
            layer=layer,
            channel=channel,
            followed=True,
            activations=added.values,
            feeders=tuple(
                CircuitFeeder(
                    layer=added.sources[place][0],
                    channel=added.sources[place][1],
                    shares=added.shares[:, place],
                    lost=columns.get(place, EMPTY),
                )
                for place in chosen
            ),
            biases=1 - added.shares.sum(1),
            candidates=len(added.sources),
            counts=counts,
            lost_first=first,
            lost_random=random,
            patches=BLANK_PICTURES,
            projections=BLANK_PICTURES,
            names=(),
        )

    def _lost(
        self, runs: ChannelRuns, units: Sequence[Found], added: Shares, able: Sequence[int], counts: Sequence[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What units lose without each feeder, without the first ones together, and without random channels."""
        if not units or not able:
            blank = torch.zeros(len(units), len(counts), dtype=torch.float64)
            return torch.zeros(len(units), len(able), dtype=torch.float64), blank, blank
        means = added.shares.mean(0)
        adding = [added.sources[place] for place in able if float(means[place]) > 0]
        candidates = [source for source in added.sources if source[0] in runs.search.names]
        generator = torch.Generator().manual_seed(self._random_state)
        sets = [
            *([added.sources[place]] for place in able),
            *(adding[:count] for count in counts),
            *random_channels(candidates, counts, generator),
        ]
        alone, first, random = runs.lost(units, sets).split([len(able), len(counts), len(counts) * DRAWS], 1)
        return alone, first, random.unflatten(1, (len(counts), DRAWS)).mean(2)

    def _found(self, layer: str, channel: int) -> list[Found]:
        """The channel's units that fire, strongest first."""
        top = self._top
        values, images, positions = (part[layer][channel].tolist() for part in (top.values, top.images, top.positions))
        return [
            Found(image, tuple(position))
            for value, image, position in zip(values, images, positions, strict=True)
            if value > 0 and image >= 0
        ]


def _strongest(added: Shares, count: int) -> list[int]:
    """The channels that add or take most, strongest first."""
    means = added.shares.mean(0)
    order = means.abs().argsort(descending=True, stable=True)[:count].tolist()
    return [place for place in order if abs(float(means[place])) >= LEAST_FED]


def _empty(layer: str, channel: int, followed: bool, values: Tensor) -> CircuitUnit:
    """A channel whose feeders are not known, or that never fires."""
    return CircuitUnit(
        layer=layer,
        channel=channel,
        followed=followed,
        activations=values,
        feeders=(),
        biases=EMPTY,
        candidates=0,
        counts=(),
        lost_first=torch.zeros(0, 0),
        lost_random=torch.zeros(0, 0),
        patches=BLANK_PICTURES,
        projections=BLANK_PICTURES,
        names=(),
    )
