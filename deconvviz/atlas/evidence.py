"""Evidence in an atlas: beside each unit's projection, that of another unit, and that of random weights.

From these, and from a test of reading on images that are not among a channel's strongest, comes its one verdict.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from deconvviz.errors import InputError
from deconvviz.evidence.limits import NOT_SPECIFIC, PARTLY, SPECIFIC
from deconvviz.evidence.metrics import mean_of_known
from deconvviz.evidence.randomisation import with_random_weights
from deconvviz.evidence.selectivity import duplicates, strongest_at
from deconvviz.evidence.specificity import Specificity
from deconvviz.net import DeconvNet
from deconvviz.projection.receptive_field import channel_axis
from deconvviz.results import Projection
from deconvviz.results.words import agreeing, counted
from deconvviz.trace import Trace

MOST_ACTIVE = 4  # channels that fire most at a place, among which one is looked for that is no duplicate
FEWEST_NUMBERS = 16  # activations by which two channels are called duplicates


class Neighbours(NamedTuple):
    """The projections of other units at the same places.

    Attributes:
        channels: Per unit the other channel; -1 if there is none.
        rows: Per unit its row in the projection; -1 if there is none.
        projection: The projections; None if there are none.
    """

    channels: list[int]
    rows: list[int]
    projection: Projection | None

    @classmethod
    def none(cls, count: int) -> Neighbours:
        return cls([-1] * count, [-1] * count, None)


class Judge:
    """Projects what a projection is compared with: other units at the same places, and random weights."""

    def __init__(self, net: DeconvNet) -> None:
        """Prepare to judge projections of a network."""
        self.net = net

    @functools.cached_property
    def random(self) -> DeconvNet:
        """A copy of the network with random weights."""
        return with_random_weights(self.net, 0)

    def from_random_weights(self, x: Tensor, projection: Projection) -> Projection | None:
        """Project the same units with random weights; units that do not fire have a picture, too.

        Args:
            x: The images, (samples, C, H, W).
            projection: The projection whose units are meant.

        Returns:
            The projection; None if random weights make the numbers overflow, as they may in a deep network.
        """
        units = [(unit.sample, unit.channel, unit.position) for unit in projection.units]
        try:
            return self.random.project_units(x, projection.units[0].layer, units, seed="one").cpu()
        except InputError:  # activations that are not finite; the images themselves have been projected
            return None

    def neighbours(self, trace: Trace, projection: Projection) -> Neighbours:
        """Project, for each unit, the channel that fires most beside it at the same place and is no duplicate of it.

        Args:
            trace: The trace that was projected, with the layer's activations.
            projection: The projection whose units are meant.
        """
        units, layer = projection.units, projection.units[0].layer
        value = trace.layer(layer).value
        if value.id not in trace.apart or channel_axis(trace.tape, value) != 1:
            return Neighbours.none(len(units))  # samples are mixed, or there are no maps of channels
        maps = trace.activations[layer]
        strongest = strongest_at(maps, [(unit.sample, unit.position) for unit in units], MOST_ACTIVE + 1)
        channels = _others(maps, [unit.channel for unit in units], strongest)
        places = [
            (unit.sample, channel, unit.position) for unit, channel in zip(units, channels, strict=True) if channel >= 0
        ]
        if not places:
            return Neighbours.none(len(units))
        rows, count = [-1] * len(units), 0
        for number, channel in enumerate(channels):
            if channel >= 0:
                rows[number], count = count, count + 1
        return Neighbours(channels, rows, self.net.project_units(trace, layer, places, seed="one").cpu())


def _others(maps: Tensor, channels: Sequence[int], found: Sequence[Sequence[int]]) -> list[int]:
    """Per channel the first of those found for it that is neither itself nor a duplicate of it; -1 if there is none."""
    left = [[other for other in others if other != own] for own, others in zip(channels, found, strict=True)]
    doubtful = list(range(len(channels))) if maps[:, :1].numel() >= FEWEST_NUMBERS else []
    while doubtful := [number for number in doubtful if left[number]]:  # once, but for duplicates
        alike = duplicates(maps, [(channels[number], left[number][0]) for number in doubtful])
        doubtful = [number for number, same in zip(doubtful, alike, strict=True) if same]
        for number in doubtful:
            left[number].pop(0)
    return [others[0] if others else -1 for others in left]


def said_of_layer(found: Sequence[Specificity], pictures: int) -> str:
    """What holds for the projections of a layer, in a sentence or two; "" if it has no pictures.

    Args:
        found: What is known of each channel with pictures.
        pictures: Number of these channels.

    Example:
        >>> said_of_layer([Specificity(verdict="not", images=9)] * 512, 512)
        "512 of 512 channels' projections are not specific to them: look at the patches."
    """
    if not found:
        return ""
    counts = {verdict: sum(one.verdict == verdict for one in found) for verdict in (SPECIFIC, PARTLY, NOT_SPECIFIC)}
    judged = sum(counts.values())
    if not judged:
        return "No channel's projections could be judged: look at the patches."
    if counts[NOT_SPECIFIC] * 2 > judged:
        said = f"{_of(counts[NOT_SPECIFIC], judged)} not specific to {_them(judged)}: look at the patches"
    elif counts[SPECIFIC] * 2 > judged:
        said = f"{_of(counts[SPECIFIC], judged)} specific to {_them(judged)}"
    else:
        said = f"{_of(counts[SPECIFIC], judged)} specific to {_them(judged)}, {counts[PARTLY]:,} partly"
        said += f" and {counts[NOT_SPECIFIC]:,} not: look at the patches, too"
    left = pictures - judged
    rest = f" {counted(left, 'channel')} could not be judged." if left else ""
    return f"{said}.{rest}{_read(found)}"


def _of(count: int, judged: int) -> str:
    return f"{count:,} of {counted(judged, 'channel')}{agreeing(judged, chr(39) + 's', chr(39))} projections are"


def _them(judged: int) -> str:
    return agreeing(judged, "it", "them")


def _read(found: Sequence[Specificity]) -> str:
    """How the layer's projections did in the test of reading, beside their controls."""
    known = [one.reading for one in found if one.reading is not None]
    if not known:
        return ""
    means = {name: _mean([getattr(one, name) for one in known]) for name in ("score", "other", "random")}
    beside = [
        f"{means[name]:.0%} {words}"
        for name, words in (("other", "by another channel's"), ("random", "by those of random weights"))
        if means[name] is not None
    ]
    controls = f" ({' and '.join(beside)})" if beside else ""
    return (
        f" An observer who sees a channel's projections tells which of two other images fires it in "
        f"{means['score']:.0%} of the cases{controls}; chance is 50%."
    )


def _mean(values: Sequence[float]) -> float | None:
    mean = mean_of_known(values)
    return None if math.isnan(mean) else mean
