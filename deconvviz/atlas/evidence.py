"""Evidence in an atlas: scores of its projections, and projections of the same units with random weights."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from deconvviz.atlas.records import AtlasEvidence, Measured
from deconvviz.errors import DependencyError, InputError
from deconvviz.evidence.curves import UnitsInImages, gains
from deconvviz.evidence.metrics import FieldRanges, heatmap, library
from deconvviz.evidence.randomisation import randomise, weights_of
from deconvviz.evidence.selectivity import likeness, strongest_at
from deconvviz.net import DeconvNet
from deconvviz.projection.receptive_field import channel_axis
from deconvviz.results import Projection
from deconvviz.trace import Trace

JUDGED = 2  # a channel's strongest units; one if images are large, since each takes 16 forward passes
LARGE_IMAGE = 128 * 128  # pixels of an image
COMPARED_CHANNELS = 3  # channels that a picture is compared with
INSERTION_STEPS = 8  # of insertion
BATCH = 64  # images in a forward pass
NONE = float("nan")


class Verdict(NamedTuple):
    """Scores of one unit's projection; NaN if it cannot be judged.

    Attributes:
        gain: Insertion above a random ranking.
        alike: Rank correlation with the projections of other channels at the same place that are not blank.
    """

    gain: float = NONE
    alike: float = NONE


class Judge:
    """Judges projections, and projects the same units in a copy of the network with random weights."""

    def __init__(self, net: DeconvNet) -> None:
        """Copy the network and make its weights random.

        Raises:
            DependencyError: If SciPy is not installed.
        """
        check_installed()
        model = copy.deepcopy(net.model)
        randomise(model, [name for name, module in model.named_modules() if weights_of(module)], random_state=0)
        self.net = net
        self.random = DeconvNet(model, net.style, preprocess=net.preprocess, strict=net.strict)

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

    def verdicts(self, trace: Trace, projection: Projection, ranks: Sequence[int]) -> list[Verdict]:
        """One verdict per unit; NaN for units that are not among the strongest of their channels.

        Args:
            trace: The trace that was projected, with the layer's activations.
            projection: The projections to judge.
            ranks: Ranks of the units in their channels' lists.
        """
        layer = projection.units[0].layer
        value = trace.layer(layer).value
        if value.id not in trace.apart or channel_axis(trace.tape, value) != 1:
            return [Verdict()] * len(projection.units)  # samples are mixed, or there are no maps of channels
        judged = JUDGED if trace.call.first[0, 0].numel() < LARGE_IMAGE else 1
        boxes = [tuple((first, last) for first, last in box) for box in projection.receptive_fields.tolist()]
        rows = [n for n, box in enumerate(boxes) if ranks[n] < judged and all(first < last for first, last in box)]
        heats = [_heat(projection, n, boxes[n]) for n in rows]
        verdicts = [Verdict()] * len(boxes)
        if rows:
            places = [(projection.units[n].channel, projection.units[n].position) for n in rows]
            x = trace.call.first[[projection.units[n].sample for n in rows]]
            units = UnitsInImages(self.net, layer, x, places, [boxes[n] for n in rows])
            gained = gains(units, heats, steps=INSERTION_STEPS, batch_size=BATCH)
            alike = self._alike(trace, projection, rows, boxes, heats)
            for n, *scores in zip(rows, gained, alike, strict=True):
                verdicts[n] = Verdict(*scores)
        return verdicts

    def _alike(
        self,
        trace: Trace,
        projection: Projection,
        rows: Sequence[int],
        boxes: Sequence[FieldRanges],
        heats: Sequence[Tensor],
    ) -> Iterator[float]:
        """How similar each unit's projection is to those of other channels at the same position."""
        layer = projection.units[0].layer
        units = [projection.units[row] for row in rows]
        at = [(unit.sample, unit.position) for unit in units]
        others = [
            [channel for channel in strongest if channel != unit.channel][:COMPARED_CHANNELS]
            for unit, strongest in zip(
                units, strongest_at(trace.activations[layer], at, COMPARED_CHANNELS + 1), strict=True
            )
        ]
        places = [
            (projection.units[row].sample, channel, projection.units[row].position)
            for row, channels in zip(rows, others, strict=True)
            for channel in channels
        ]
        projected = self.net.project_units(trace, layer, places, seed="one").cpu() if places else projection
        numbers = itertools.count()
        for row, heat, channels in zip(rows, heats, others, strict=True):
            yield likeness(heat, [_heat(projected, next(numbers), boxes[row]) for _ in channels])


def _heat(projection: Projection, row: int, box: FieldRanges) -> Tensor:
    """The heatmap of one unit in its receptive field, outside of which it is zero."""
    return heatmap(projection.cut(row, box)[None])[0]


def check_installed() -> None:
    """Raise DependencyError if the libraries that evidence needs are not installed."""
    library("scipy.stats")


def installed() -> bool:
    """Whether the libraries that evidence needs are installed."""
    try:
        check_installed()
    except DependencyError:
        return False
    return True


def of_channel(verdicts: Sequence[Verdict]) -> AtlasEvidence:
    """The mean scores of a channel's units that could be judged."""
    return AtlasEvidence(*(_measured_mean(values) for values in zip(*verdicts, strict=True)))


def _measured_mean(values: Sequence[float]) -> Measured | None:
    judged = [value for value in values if math.isfinite(value)]
    return Measured(sum(judged) / len(judged), len(judged)) if judged else None
