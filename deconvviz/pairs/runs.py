"""One pass over a dataset with two networks, and with untrained copies of both as controls."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from deconvviz.data.batches import Batch, batches, none_readable
from deconvviz.data.naming import name_of_item
from deconvviz.data.source import Source
from deconvviz.errors import InputError, UnknownLayerError
from deconvviz.evidence.randomisation import copied, copy_with_random_weights, randomise
from deconvviz.io.progress_bar import progress_bar
from deconvviz.io.restoring import Restored
from deconvviz.mining.progress import ScanProgress
from deconvviz.mining.reducer import Scanner
from deconvviz.mining.scan import provenance_of, scan_result
from deconvviz.mining.scanned_layers import ScannedLayers
from deconvviz.net import DeconvNet
from deconvviz.pairs.correlation import RunningCorrelation
from deconvviz.recording.isolation import as_it_was
from deconvviz.recording.placement import PlacedPreprocess, Placement, required_arguments
from deconvviz.recording.tape import mapped
from deconvviz.results import Broken, TopActivations

RANDOM_DRAWS = 4  # of random weights, for each network
CONTROL_IMAGES = 1024  # on which untrained copies run, in evenly spaced batches
# Bytes of a network's untrained copies up to which all are kept; of larger ones one is kept, and drawn anew each time.
KEPT_COPIES = 1 << 30
SIDES = ("the first network", "the second network")


@dataclass(frozen=True, kw_only=True)
class Correlations:
    """What one pass has found about a pair of layers.

    Attributes:
        own: The first network against the second.
        untrained: Per draw of weights, the first network against an untrained copy of the second, and an untrained copy
            of the first against the second.
    """

    own: RunningCorrelation
    untrained: tuple[tuple[RunningCorrelation, RunningCorrelation], ...]


@dataclass(frozen=True, kw_only=True)
class TwoRuns:
    """What one pass over a dataset has found.

    Attributes:
        layers: Per pair of layers, their names in the first and second network.
        correlations: Per pair of layers.
        tops: The strongest units of both networks.
        broken: Items that could not be read.
        count: Number of images.
    """

    layers: tuple[tuple[str, str], ...]
    correlations: tuple[Correlations, ...]
    tops: tuple[TopActivations, TopActivations]
    broken: tuple[Broken, ...]
    count: int


class _Side:
    """One of the two networks, and untrained copies of it."""

    def __init__(self, net: DeconvNet, scanned: ScannedLayers, k: int, random_state: int) -> None:
        self.net = net
        self.scanner = Scanner(scanned, k, 1)
        self.seeds = range(random_state, random_state + RANDOM_DRAWS)
        size = sum(one.nbytes for one in itertools.chain(net.model.parameters(), net.model.buffers()))
        self.spare = copied(net.model) if RANDOM_DRAWS * size > KEPT_COPIES else None  # has the weights of one draw
        models = [self.spare or copy_with_random_weights(net.model, seed) for seed in self.seeds]
        self.untrained = [Scanner(replace(scanned, model=model), 1, 1) for model in models]

    def run(self, batch: Batch, controlled: bool) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
        """The maxima of each layer, and those of each untrained copy."""
        found, drawn = _run(self.scanner, batch), []
        for scanner, seed in zip(self.untrained, self.seeds, strict=True) if controlled else ():
            if self.spare is not None:
                randomise(self.spare, None, seed, like=self.net.model)
            drawn.append(_run(scanner, batch))
        return found, drawn


def _run(scanner: Scanner, batch: Batch) -> dict[str, Tensor]:
    own = batch._replace(images=mapped(batch.images, torch.clone))  # a model may write into its inputs
    with Restored(as_it_was(scanner.scanned.model), torch.no_grad()):
        return scanner.run(own)


def run_both(
    nets: tuple[DeconvNet, DeconvNet],
    source: Source,
    layers: Sequence[str] | Mapping[str, str] | None,
    *,
    k: int,
    batch_size: int,
    random_state: int,
    progress: bool,
) -> TwoRuns:
    """Run both networks, and untrained copies of them, over a dataset.

    Args:
        nets: The networks.
        source: The dataset.
        layers: Layers of both; a mapping from those of the first to those of the second; None for all convolutions and
            linear layers that both have.
        k: Number of strongest units of a channel.
        batch_size: Images per batch.
        random_state: Seed of the first untrained weights.
        progress: Whether to show a bar.
    """
    placed = [Placement.of(net.model).preprocess(net.preprocess, required_arguments(net.model)) for net in nets]
    first = [source.first(preprocess) for preprocess in placed]
    if first[0] is None or first[1] is None:
        raise none_readable([])
    named = _named(nets, layers)
    scanned = [
        _scanned(net, names, image, side, batch_size > 1)
        for net, names, image, side in zip(nets, named, first, SIDES, strict=True)
    ]
    first_names, second_names = named
    if first_names is None or second_names is None:
        pairs = _common(*scanned)
    else:
        pairs = list(zip(first_names, second_names, strict=True))
    kept = [
        replace(one, layers={name: one.layers[name] for name in dict.fromkeys(pair[side] for pair in pairs)})
        for side, one in enumerate(scanned)
    ]
    sides = [_Side(net, one, k, random_state) for net, one in zip(nets, kept, strict=True)]
    job = _DiffJob(sides, pairs, source, batch_size)
    job.run(placed, progress)
    return job.result()


def _named(
    nets: tuple[DeconvNet, DeconvNet], layers: Sequence[str] | Mapping[str, str] | None
) -> tuple[list[str] | None, list[str] | None]:
    if layers is None:
        return None, None
    if isinstance(layers, Mapping):
        return list(layers), list(layers.values())
    return list(layers), list(layers)


def _scanned(net: DeconvNet, names: list[str] | None, image: Any, side: str, batched: bool) -> ScannedLayers:
    with Restored(as_it_was(net.model), torch.no_grad()):
        try:
            return ScannedLayers.of(net, names, mapped(image, lambda part: part[None]), batched)
        except UnknownLayerError as error:
            raise UnknownLayerError(f"{side}: {error}") from error


def _common(a: ScannedLayers, b: ScannedLayers) -> list[tuple[str, str]]:
    """The layers that both have."""
    both = [(name, name) for name in a.layers if name in b.layers]
    if not both:
        raise InputError(
            f"the networks have no layer of the same name: one has {', '.join(list(a.layers)[:3])}, the other "
            f"{', '.join(list(b.layers)[:3])}; give layers as a mapping from those of the first to those of the second"
        )
    return both


class _DiffJob:
    """A pass at work."""

    def __init__(
        self, sides: Sequence[_Side], pairs: Sequence[tuple[str, str]], source: Source, batch_size: int
    ) -> None:
        self.sides, self.pairs, self.source, self.batch_size = sides, pairs, source, batch_size
        self.found = [
            Correlations(
                own=RunningCorrelation(),
                untrained=tuple((RunningCorrelation(), RunningCorrelation()) for _ in range(RANDOM_DRAWS)),
            )
            for _ in pairs
        ]
        self.total = ScanProgress({})
        self.controlled = 0  # images on which untrained copies ran

    def run(self, preprocesses: Sequence[PlacedPreprocess], progress: bool) -> None:
        """Read the images, once if both networks prepare them alike."""
        every, total = (lambda number: True), self.source.count if self.source.indexed else None
        spacing = max(1, (total or 0) // CONTROL_IMAGES)
        with progress_bar(total=total, unit="image", desc="diff", shown=progress) as bar, Restored() as settings:
            if preprocesses[0] == preprocesses[1]:
                loading = batches(self.source.items(), preprocesses[0], self.batch_size, every)
                read: Iterator[tuple[Batch, Batch]] = ((batch, batch) for batch in settings.enter_context(loading))
            else:
                data = [self.source.items()] * 2 if self.source.indexed else itertools.tee(self.source.items())
                begun = [
                    settings.enter_context(batches(items, preprocess, self.batch_size, every))
                    for items, preprocess in zip(data, preprocesses, strict=True)
                ]
                read = zip(*begun, strict=True)
            for one, other in read:
                both = _shared(one, other)
                if both[0].images is not None:
                    self._see(both, one.number % spacing == 0 and self.controlled < CONTROL_IMAGES)
                self.total.add(both[0], 0)
                bar.update(len(both[0].numbers) + len(both[0].broken))

    def _see(self, batch: tuple[Batch, Batch], controlled: bool) -> None:
        (a, untrained_a), (b, untrained_b) = (
            side.run(part, controlled) for side, part in zip(self.sides, batch, strict=True)
        )
        for found, (name, other) in zip(self.found, self.pairs, strict=True):
            found.own.add(a[name], b[other])
            for drawn, random_a, random_b in zip(found.untrained, untrained_a, untrained_b, strict=False):
                drawn[0].add(a[name], random_b[other])
                drawn[1].add(random_a[name], b[other])
        self.controlled += len(batch[0].numbers) if controlled else 0

    def result(self) -> TwoRuns:
        """What was found. Raises InputError if activations are not finite, DataError if no image could be read."""
        data = self.source.data
        if not self.total.count:
            broken = sorted(self.total.broken.items())
            raise none_readable([Broken(number, name_of_item(data, number), reason) for number, reason in broken])
        tops = []
        for side in self.sides:
            part = replace(self.total, layers=side.scanner.results())
            tops.append(scan_result(part, data, provenance_of(side.net, data, self.batch_size), ()))
        return TwoRuns(
            layers=tuple(self.pairs),
            correlations=tuple(self.found),
            tops=(tops[0], tops[1]),
            broken=tops[0].broken,
            count=self.total.count,
        )


def _shared(a: Batch, b: Batch) -> tuple[Batch, Batch]:
    """Two readings of the same items, with those that could be read for both networks."""
    broken = tuple(sorted({**dict(b.broken), **dict(a.broken)}.items()))
    return _without(a, broken), _without(b, broken)


def _without(batch: Batch, broken: tuple[tuple[int, str], ...]) -> Batch:
    lost = {number for number, _ in broken}
    rows = [row for row, number in enumerate(batch.numbers.tolist()) if number not in lost]
    if len(rows) == len(batch.numbers):
        return batch._replace(broken=broken)
    chosen = torch.tensor(rows, dtype=torch.long)
    images = None if not rows else mapped(batch.images, partial(_rows, chosen))
    return Batch(batch.number, batch.numbers[chosen], images, broken, tuple(batch.labels[row] for row in rows))


def _rows(chosen: Tensor, part: Tensor) -> Tensor:
    return part.index_select(0, chosen.to(part.device))
