"""What an atlas says of its own pictures: numbers, and the pictures of the same units from random weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from deconvviz.atlas.records import AtlasEvidence, Measured
from deconvviz.errors import DependencyError, InputError
from deconvviz.evidence.deletion import UnitsInImages, gains
from deconvviz.evidence.metrics import Box, cut, heatmap, library
from deconvviz.evidence.randomisation import randomise, weights_of
from deconvviz.evidence.selectivity import likeness, strongest_at
from deconvviz.net import DeconvNet
from deconvviz.projection.receptive_field import channel_axis
from deconvviz.results import Projection
from deconvviz.trace import Trace

JUDGED = 2  # of a channel's units, its strongest; one where images are large, since each takes 16 forward passes
LARGE = 128 * 128  # pixels of an image
OTHERS = 3  # channels that a picture is compared with
STEPS = 8  # of insertion
BATCH = 64  # images in a forward pass
NONE = float("nan")


class Verdict(NamedTuple):
    """Of one unit's projection; NaN where it cannot be judged."""

    gain: float = NONE  # insertion above a random ranking
    alike: float = NONE  # rank correlation with projections of other channels at the same place, those not blank


class Judge:
    """Judges projections, and projects the same units in a copy of the network whose weights are all random.

    Raises DependencyError where SciPy is not installed.
    """

    def __init__(self, net: DeconvNet) -> None:
        check_installed()
        model = copy.deepcopy(net.model)
        randomise(model, [name for name, module in model.named_modules() if weights_of(module)], seed=0)
        self.net = net
        self.random = DeconvNet(model, net.style, net.preprocess, net.strict)

    def from_random_weights(self, x: Tensor, projection: Projection) -> Tensor:
        """The same units of the same images (samples, C, H, W), (units, C, H, W); a silent unit has a picture, too.

        Zero where random weights make the numbers overflow, as they may in a deep network.
        """
        units = [(unit.sample, unit.channel, unit.position) for unit in projection.units]
        try:
            pixels = self.random.project_units(x, projection.units[0].layer, units, seed="one").pixels.cpu()
        except InputError:  # activations that are not finite; the images themselves have been projected
            return torch.zeros_like(projection.pixels, device="cpu")
        return pixels.nan_to_num(nan=0, posinf=0, neginf=0)

    def verdicts(self, trace: Trace, projection: Projection, ranks: Sequence[int]) -> list[Verdict]:
        """One for each unit; NaN for those that are not among the strongest of their channels.

        trace: the one that was projected, with the layer's activations. ranks: of the units in their channels.
        """
        layer = projection.units[0].layer
        value = trace.layer(layer).value
        if value.id not in trace.apart or channel_axis(trace.tape, value) != 1:
            return [Verdict()] * len(projection.units)  # samples that act on each other, or no maps of channels
        judged = JUDGED if trace.call.first[0, 0].numel() < LARGE else 1
        boxes = [tuple((first, last) for first, last in box) for box in projection.receptive_fields.tolist()]
        seen = [n for n, box in enumerate(boxes) if ranks[n] < judged and all(first < last for first, last in box)]
        heats = [cut(heat, boxes[n]) for n, heat in zip(seen, heatmap(projection.pixels[seen]), strict=True)]
        found = [Verdict()] * len(boxes)
        if seen:
            places = [(projection.units[n].channel, projection.units[n].position) for n in seen]
            x = trace.call.first[[projection.units[n].sample for n in seen]]
            units = UnitsInImages(self.net, layer, x, places, [boxes[n] for n in seen])
            risen = gains(units, heats, steps=STEPS, batch_size=BATCH)
            alike = self._alike(trace, projection, seen, boxes, heats)
            for n, *verdict in zip(seen, risen, alike, strict=True):
                found[n] = Verdict(*verdict)
        return found

    def _alike(
        self, trace: Trace, projection: Projection, rows: Sequence[int], boxes: Sequence[Box], heats: Sequence[Tensor]
    ) -> Iterator[float]:
        layer = projection.units[0].layer
        others = []
        for unit in (projection.units[row] for row in rows):
            found = strongest_at(trace.activations[layer][unit.sample], unit.position, OTHERS + 1)
            others.append([channel for channel in found if channel != unit.channel][:OTHERS])
        wanted = [
            (projection.units[row].sample, channel, projection.units[row].position)
            for row, channels in zip(rows, others, strict=True)
            for channel in channels
        ]
        pixels = self.net.project_units(trace, layer, wanted, seed="one").pixels if wanted else torch.empty(0)
        parts = pixels.split([len(channels) for channels in others])
        for row, heat, part in zip(rows, heats, parts, strict=True):
            yield likeness(heat, [cut(other, boxes[row]) for other in heatmap(part)] if len(part) else [])


def check_installed() -> None:
    """Raises DependencyError where the libraries that evidence needs are not installed."""
    library("scipy.stats")


def installed() -> bool:
    """Whether they are."""
    try:
        check_installed()
    except DependencyError:
        return False
    return True


def of_channel(verdicts: Sequence[Verdict]) -> AtlasEvidence:
    """Means over a channel's units that could be judged."""
    return AtlasEvidence(*(_mean(values) for values in zip(*verdicts, strict=True)))


def _mean(values: Sequence[float]) -> Measured | None:
    known = [value for value in values if math.isfinite(value)]
    return Measured(sum(known) / len(known), len(known)) if known else None
