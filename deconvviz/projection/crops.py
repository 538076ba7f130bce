"""A tape of crops: the same operations, on the windows that certain units see.

A unit's projection is zero outside its receptive field, so only that window needs to be computed, forward and back.
`regions` carries the windows of many units back over a recorded tape; `write_crops` writes a tape on which each unit is
a sample of its own, and each value is the unit's window of the recorded value. Convolutions and poolings run without
padding there: if a window reaches over the border of a map, what lies outside is set to zero (to minus infinity before
max pooling), as if it were the padding. The rules that mirror a tape mirror this one, too.

How each operation runs on crops stands in its file in `operations`. Not every one can: `NotLocal` says which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deconvviz.operations.borders import filled_outside
from deconvviz.operations.convolution import FORMATS_OF_RANK
from deconvviz.operations.normalisation import is_batch_norm
from deconvviz.operations.own_channels import has_own_channels, own_channels
from deconvviz.operations.pooling import has_switches
from deconvviz.operations.regions import NotLocal, Region, Starts
from deconvviz.operations.registry import crop_for, region_needed, rule_for
from deconvviz.operations.styles import Style
from deconvviz.recording.tape import Operation, Tape, Value, mapped

aten: Any = torch.ops.aten
SeenAt = TypeVar("SeenAt")

# Which windows


class SeenRegions(dict[int, Region]):
    """The windows that units see, by the id of the value.

    Attributes:
        needed: What each operation needs of each input, by the operation and the id of the input.
    """

    def __init__(self, seen: Mapping[int, Region], needed: Mapping[tuple[Operation, int], Region]) -> None:
        super().__init__(seen)
        self.needed = dict(needed)

    def of(self, units: Starts | slice) -> SeenRegions:
        """The windows of some units."""
        return SeenRegions(_of_units(self, units), _of_units(self.needed, units))


def _of_units(regions: Mapping[SeenAt, Region], units: Starts | slice) -> dict[SeenAt, Region]:
    return {key: region.of(units) for key, region in regions.items()}


def regions(tape: Tape, style: Style, layer: Value, positions: Starts) -> SeenRegions:
    """The windows that units of a layer see, at every value on the way.

    positions: (units, spatial axes). Raises NotLocal if an operation on the way, or its mirror, needs whole maps.
    """
    rank = positions.shape[1]
    seen = SeenRegions({layer.id: Region(positions, (1,) * rank)}, {})
    for operation in reversed(tape.operations):
        if not any(operation.outputs):
            raise NotLocal("a decision that depends on the image")
        parts = [seen[value.id] for value in operation.outputs if value is not None and value.id in seen]
        if not parts:
            continue
        if has_switches(operation) and (switches := operation.outputs[1]) is not None and switches.id in seen:
            raise NotLocal(f"the places in the whole map that {operation} returns")
        region = parts[0]
        for other in parts[1:]:
            region = region.bounding(other)
        region = region.clipped(operation.made.shape)
        seen.update({value.id: region for value in operation.outputs if value is not None})
        _check_local(operation, style, tape.samples, rank)
        for value in dict.fromkeys(operation.inputs):
            seen.needed[operation, value.id] = needed = region_needed(operation, value, region)
            seen[value.id] = seen[value.id].bounding(needed) if value.id in seen else needed
    image = tape.inputs[0]
    if len(tape.inputs) != 1 or image.id not in seen:
        raise NotLocal("a model with several inputs")
    seen[image.id] = seen[image.id].clipped(image.shape)
    return seen


def _check_local(operation: Operation, style: Style, samples: int, rank: int) -> None:
    """Raise NotLocal unless an operation and its mirror are right on crops."""
    crop_for(operation)
    if operation.drawn is not None:
        raise NotLocal(f"the random numbers of {operation}")
    if not rule_for(operation, style).local:
        raise NotLocal(str(operation))
    if any(len(value.shape) != rank + 2 or value.shape[0] != samples for value in operation.inputs):
        raise NotLocal(str(operation))


def seen_operations(tape: Tape, seen: dict[int, Region]) -> Iterator[tuple[Operation, Value]]:
    """The operations that units see through, each with its output, or the first of its outputs that is seen."""
    for operation in tape.operations:
        output = next((value for value in operation.outputs if value is not None and value.id in seen), None)
        if output is not None:
            yield operation, output


def phases(tape: Tape, seen: SeenRegions) -> Starts:
    """(units, n): offsets of the region that each operation needs within its input's crop, and of what it makes.

    Units can share a tape if all of these agree.
    """
    columns: list[NDArray[np.int64]] = []
    for operation, output in seen_operations(tape, seen):
        for value in dict.fromkeys(operation.inputs):
            needed = seen.needed[operation, value.id]
            columns.append(needed.start - seen[value.id].start)
            columns.append(crop_for(operation).phase(operation, seen[output.id], needed))
    varying = [column for column in columns if (column != column[:1]).any()]
    units = len(next(iter(seen.values())).start)
    return np.concatenate(varying, 1) if varying else np.zeros((units, 0), np.int64)


# Writing the tape


class Crops:
    """The tape of crops as it is written.

    Attributes:
        tape: What has been written so far.
        values: The new value for a recorded one, by its id.
        origins: What a new value is a window of, by its id.
        planes: Where switches point into: the window and the size of the map, by the switches' id.
        channels_last: Whether channels lie last, in crops and in filters.
    """

    def __init__(self, tape: Tape, seen: SeenRegions, filters: dict[int, Tensor], channels_last: bool) -> None:
        self.recorded, self.seen, self.filters, self.channels_last = tape, seen, filters, channels_last
        self.units = len(next(iter(seen.values())).start)
        self.tape = Tape(samples=self.units, constants=tape.constants)
        self.values: dict[int, Value] = {}
        self.origins: dict[int, tuple[Value, Region]] = {}
        self.planes: dict[int, tuple[Region, tuple[int, ...]]] = {}
        self._ids = max([0, *tape.data, *(v.id for op in tape.operations for v in (*op.inputs, *op.outputs) if v)])
        image = tape.inputs[0]
        self.values[image.id] = self.new(image, seen[image.id])
        self.tape.inputs.append(self.values[image.id])

    def new(self, old: Value, region: Region) -> Value:
        """A value for a region of a recorded one."""
        self._ids += 1
        value = Value(self._ids, (self.units, old.shape[1], *region.size), old.dtype, old.device, tracked=old.tracked)
        self.origins[value.id] = (old, region)
        return value

    def constant(self, numbers: Tensor) -> Value:
        """A value for numbers that do not depend on the image."""
        self._ids += 1
        value = Value(self._ids, tuple(numbers.shape), numbers.dtype, numbers.device, tracked=False)
        self.tape.data[value.id] = numbers
        return value

    def operation(self, recorded: Operation, func: Any, args: Any, kwargs: Any, *outputs: Value | None) -> Value:
        """Append an operation, in the place of a recorded one; its first output."""
        inputs: list[Value] = []
        mapped((args, kwargs), lambda value: inputs.append(value) if value.tracked else None, Value)
        self.tape.operations.append(Operation(func, tuple(args), kwargs, tuple(inputs), outputs, where=recorded.where))
        assert outputs[0] is not None
        return outputs[0]

    def needed(self, operation: Operation, old: Value) -> Region:
        """The region of an input that the operation needs for the region of its output that units see."""
        return self.seen.needed[operation, old.id]

    def piece(self, operation: Operation, old: Value, needed: Region, fill: float | None = None) -> Value:
        """The part `needed` of a value's window, with `fill` for what lies outside the map."""
        value, region = self.values[old.id], self.seen[old.id]
        ahead = needed.start[0] - region.start[0]
        behind = np.array(region.size) - ahead - needed.size
        if ahead.any() or behind.any():
            value = self._shortened(operation, value, ahead, behind, self.new(old, needed), fill=fill or 0)
        crossing = region.crossing(old.shape) & needed.crossing(old.shape)
        if fill is None or not crossing.any():
            return value
        first = Region(needed.start[: 1 + int(crossing.nonzero()[0][-1])], needed.size)
        outside = self.constant(torch.from_numpy(first.outside(old.shape)).to(old.device))
        return self.operation(operation, filled_outside, (value, outside, fill), {}, self.new(old, needed))

    def narrowed(self, operation: Operation, value: Value, whole: Region, region: Region) -> Value:
        """A region of what an operation made larger, as `whole`."""
        ahead = region.start[0] - whole.start[0]
        behind = np.array(whole.size) - ahead - region.size
        return self._shortened(operation, value, ahead, behind, self.new(operation.made, region))

    def divided(self, operation: Operation, value: Value, region: Region, divisors: Sequence[NDArray[Any]]) -> Value:
        """A value divided by the product of one divisor per axis, each (units, size)."""
        product = torch.ones(1, 1, *[1] * len(region.size), dtype=torch.float64)
        for axis, numbers in enumerate(divisors):
            view = [self.units, 1, *[1] * len(region.size)]
            view[2 + axis] = region.size[axis]
            product = product * torch.from_numpy(numbers).double().view(view)
        output = operation.made
        factor = self.constant((1 / product).to(output.dtype).to(output.device))
        return self.operation(operation, aten.mul.Tensor, (value, factor), {}, self.new(output, region))

    def take_own_channels(self, layer: Value, style: Style, channels: Tensor) -> None:
        """Make of a layer, whose units have one position each, their own channels (units,) alone, if that is less work.

        Its value is then (units, 1, ..., 1).
        """
        value, last = self.values[layer.id], self.tape.operations[-1]
        if last.made is not value or not has_own_channels(last, style):
            return
        self._ids += 1
        own = replace(value, id=self._ids, shape=(self.units, 1, *value.shape[2:]))
        self.values[layer.id], self.origins[own.id] = own, self.origins[value.id]
        del self.tape.operations[-1]
        args = (last["input"], last["weight"], last["bias"], self.constant(channels))
        self.operation(last, own_channels, args, {}, own)

    def _shortened(
        self, operation: Operation, value: Value, ahead: Starts, behind: Starts, output: Value, *, fill: float = 0
    ) -> Value:
        """Cut so many positions off a value, ahead and behind, per axis. Negative amounts pad with `fill`."""
        old, region = self.origins[output.id]
        more = np.maximum(-ahead, 0), np.maximum(-behind, 0)
        less = np.maximum(ahead, 0), np.maximum(behind, 0)
        shrinks = less[0].any() or less[1].any()
        if more[0].any() or more[1].any():  # pad first: a window that lies outside altogether has nothing to cut from
            size = (np.array(region.size) + less[0] + less[1]).tolist()
            grown = self.new(old, Region(region.start - less[0], tuple(size))) if shrinks else output
            value = self.operation(operation, aten.constant_pad_nd.default, (value, _pads(*more), fill), {}, grown)
        if not shrinks:
            return value
        return self.operation(operation, aten.constant_pad_nd.default, (value, _pads(-less[0], -less[1])), {}, output)

    def argument(self, operation: Operation, old: Value) -> Value:
        """An argument that does not depend on the image.

        Raises NotLocal if it differs from position to position or from sample to sample.
        """
        rank = len(self.tape.inputs[0].shape) - 2
        per_sample = len(old.shape) == rank + 2 and old.shape[0] > 1
        if not is_batch_norm(operation) and (per_sample or any(size > 1 for size in old.shape[-rank:])):
            raise NotLocal(str(operation))
        self.kept(old)
        return old

    def kept(self, old: Any) -> Any:
        """A parameter; filters are laid out channels last if crops are, so that all that follows is."""
        if isinstance(old, Value):
            if old.id not in self.filters:
                numbers = self.recorded.data[old.id]
                last = FORMATS_OF_RANK.get(numbers.ndim) if self.channels_last else None
                self.filters[old.id] = numbers.contiguous(memory_format=last) if last else numbers
            self.tape.data[old.id] = self.filters[old.id]
        return old


def _pads(ahead: Starts, behind: Starts) -> list[int]:
    """As `constant_pad_nd` takes them, the last axis first."""
    return [int(side) for pair in zip(ahead[::-1], behind[::-1], strict=True) for side in pair]


def write_crops(tape: Tape, seen: SeenRegions, filters: dict[int, Tensor], channels_last: bool) -> Crops:
    """The tape of crops for units that share their phases.

    filters: Parameters laid out for it, by the value's id; filled here, to be used again for other units.
    channels_last: Whether channels lie last in crops and filters.

    Raises NotLocal.
    """
    crops = Crops(tape, seen, filters, channels_last)
    for operation, output in seen_operations(tape, seen):
        if output.id not in crops.values:
            crops.values[output.id] = crop_for(operation).run(crops, operation, seen[output.id])
    return crops
