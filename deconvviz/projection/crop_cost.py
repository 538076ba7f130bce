"""Which units see which crops, whether crops are less work than whole maps, and which units can share a tape.

Crops are worth it if they save more work than it takes to write their tapes. Work is counted in multiplications; what
else takes time is counted by `device_costs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deconvviz.operations.regions import NotLocal, Starts
from deconvviz.operations.styles import Style
from deconvviz.projection.batchnorm_folding import has_channels_last
from deconvviz.projection.crops import SeenRegions, phases, regions, seen_operations
from deconvviz.projection.device_costs import DeviceCosts, costs_of
from deconvviz.recording.tape import Operation, Tape, Value


@dataclass(frozen=True, kw_only=True)
class UnitCrops:
    """Units of a layer with the crops that they see.

    Attributes:
        tape: A recorded run, or a template of one.
        style: Chooses among the rules.
        layer: The value whose units these are.
        samples: (units,), the sample of each.
        channels: (units,), the channel of each.
        seen: What units see of each value, by the value's id.
        filters: Parameters laid out for tapes of crops, by the value's id; filled by `write_crops`.
    """

    tape: Tape
    style: Style
    layer: Value
    samples: Tensor
    channels: Tensor
    seen: SeenRegions
    filters: dict[int, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls, tape: Tape, style: Style, layer: Value, units: Sequence[tuple[int, int, Sequence[int]]]
    ) -> UnitCrops | None:
        """The crops of units (sample, channel, position), or None if an operation on the way needs whole maps."""
        if layer.shape[:1] != (tape.samples,) or len(layer.shape) < 3:
            return None  # no positions, or several rows per sample
        positions = np.array([position for *_, position in units], np.int64).reshape(len(units), -1)
        samples, channels = (torch.tensor([unit[part] for unit in units]) for part in (0, 1))
        try:
            seen = regions(tape, style, layer, positions)
        except NotLocal:
            return None
        return cls(tape=tape, style=style, layer=layer, samples=samples, channels=channels, seen=seen)

    @property
    def positions(self) -> Starts:
        """(units, spatial axes), where they lie in the layer."""
        return self.seen[self.layer.id].start

    @cached_property
    def operations(self) -> list[tuple[Operation, Value]]:
        """The operations that units see through, each with the output that is seen."""
        return list(seen_operations(self.tape, self.seen))

    @cached_property
    def channels_last(self) -> bool:
        """Whether channels lie last in their crops."""
        return has_channels_last(self.tape, self.layer)

    @property
    def costs(self) -> DeviceCosts:
        """What work costs where the units' layer lies."""
        return costs_of(self.layer.device)

    @cached_property
    def cost(self) -> float:
        """About how many multiplications one unit's way back takes."""
        return sum(_cost(operation, self.seen[output.id].size, self.costs) for operation, output in self.operations)

    @cached_property
    def whole_cost(self) -> float:
        """The same on whole maps."""
        return sum(_cost(operation, output.shape[2:], self.costs) for operation, output in self.operations)

    @property
    def bytes_per_unit(self) -> int:
        """Bytes of the crops of one unit."""
        return sum(
            torch.Size((output.shape[1], *self.seen[output.id].size)).numel() * output.dtype.itemsize
            for _, output in self.operations
        )

    def pay_back(self) -> bool:
        """Whether the way back is less work on crops than on whole maps."""
        return self._exceeds_writing(self._saving_back)

    def pay_both_ways(self, images: int) -> bool:
        """Whether to run crops forward and back is less work than to record so many images and go back from there."""
        recording = self.costs.writing * len(self.operations) + images * self.whole_cost
        saving = recording - len(self.samples) * self.cost
        # If crops are used on the way back, their tapes are written in any case.
        return saving > 0 if self.pay_back() else self._exceeds_writing(saving + self._saving_back)

    @property
    def _saving_back(self) -> float:
        return len(self.samples) * (self.whole_cost - self.cost)

    def _exceeds_writing(self, saving: float) -> bool:
        """Whether a saving exceeds the cost of writing the tapes: one at least; to count them takes time."""
        tape = self.costs.writing * len(self.operations)
        return saving > tape and saving > tape * (int(self._kinds.max()) + 1)

    @cached_property
    def _kinds(self) -> NDArray[np.int64]:
        """(units,): the number of the group in which each unit travels.

        Units that have the same phases travel together, wherever they lie: of those near the border, what lies outside
        the map is set to what the network would have had there. Units that are much work travel with those whose
        windows lie outside by as much, and nothing outside the map is computed.
        """
        columns = phases(self.tape, self.seen)
        if self.cost > self.costs.large:
            columns = np.concatenate([columns, *(self._outside(value) for value in self._values)], 1)
        return _kinds_of(columns)

    @cached_property
    def _values(self) -> list[Value]:
        """What the operations read."""
        return list({value.id: value for operation, _ in self.operations for value in operation.inputs}.values())

    def _outside(self, value: Value) -> Starts:
        """(units, 2 * spatial axes): by how much the windows reach over the border of a map, ahead and behind."""
        region = self.seen[value.id]
        behind = region.start + region.size - np.array(value.shape[2:])
        outside: Starts = np.maximum(np.concatenate([-region.start, behind], 1), 0)
        return outside

    def groups(self) -> Iterator[tuple[Starts, SeenRegions]]:
        """The units that can share a tape, by their numbers, and what they see; those near the border come first."""
        outside = [self.seen[value.id].crossing(value.shape) for value in self._values]
        order = np.argsort(~np.logical_or.reduce(outside), kind="stable")
        for kind in range(int(self._kinds.max()) + 1):
            group = order[self._kinds[order] == kind]
            if self.cost <= self.costs.large:
                yield group, self.seen.of(group)
                continue
            seen = regions(self.tape, self.style, self.layer, self.positions[group])
            for alike in _alike(phases(self.tape, seen)):  # what is cut off may move a window within what it needs
                yield group[alike], seen.of(alike)


def _kinds_of(rows: Starts) -> Starts:
    """(rows,): a number for each, the same for rows that are equal."""
    if (rows == rows[:1]).all():
        return np.zeros(len(rows), np.int64)
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)


def _alike(rows: Starts) -> Iterator[Starts]:
    """The numbers of rows that are equal."""
    kinds = _kinds_of(rows)
    for kind in range(int(kinds.max()) + 1):
        yield np.nonzero(kinds == kind)[0]


def may_pay(tape: Tape, units: int) -> bool:
    """Quick test: is any operation expensive enough for cropping to pay off?"""
    shapes = ((operation, operation.made) for operation in tape.operations if any(operation.outputs))
    return any(
        units * _cost(operation, value.shape[2:], costs_of(value.device)) > costs_of(value.device).writing
        for operation, value in shapes
        if len(value.shape) > 2
    )


def _cost(operation: Operation, size: Sequence[int], costs: DeviceCosts) -> float:
    """About how many multiplications an operation takes for an output of this size."""
    output = operation.made
    places = torch.Size(size).numel()
    if operation.label == "aten.convolution":
        weight = operation["weight"].shape
        channels = operation["input"].shape[1] if operation["transposed"] else output.shape[1]
        return places * channels * torch.Size(weight[1:]).numel() + costs.element * places * output.shape[1]
    return costs.element * places * output.shape[1]
