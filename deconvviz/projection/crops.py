"""A tape of crops: the same operations, on the windows that certain units see.

A unit's projection is zero outside its receptive field, so only that window need be computed, on the way there and
back. `regions` carries the windows of many units back over a recorded tape; `cropped` writes a tape on which each unit
is a sample of its own, and each value the unit's window of the recorded value. Convolutions and poolings run without
padding there: where a window reaches over the border of a map, what lies outside is made zero (minus infinity before
max pooling), as if it were the padding. The rules that mirror a tape mirror this one, too.

How each operation does that is written in `operations.local`. Not every one is local: `NotLocal` says which is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from deconvviz.operations.mirrors import BATCH_NORMS, POOLS
from deconvviz.operations.regions import NotLocal, Region, Starts, local_for
from deconvviz.operations.registry import Style, rule_for
from deconvviz.recording.tape import Operation, Tape, Value, mapped

aten: Any = torch.ops.aten

# Which windows


def regions(tape: Tape, style: Style, layer: Value, positions: Starts) -> dict[int, Region]:
    """The windows that units of a layer see, at every value on the way, by the value's id.

    positions: (units, spatial axes). Raises NotLocal, also for rules that are not the library's own, and where windows
    of a pooling that share a switch are not summed: what they do may depend on the whole map.
    """
    if style.choices.get("overlap", "sum") != "sum":
        raise NotLocal("the choice of overlap")
    if any(not any(operation.outputs) for operation in tape.operations):
        raise NotLocal("a decision that depends on the image")
    rank = positions.shape[1]
    found = {layer.id: Region(positions, (1,) * rank)}
    for operation in reversed(tape.operations):
        known = [found[value.id] for value in operation.outputs if value is not None and value.id in found]
        if not known:
            continue
        switches = operation.outputs[1] if getattr(operation.func, "overloadpacket", None) in POOLS else None
        if switches is not None and switches.id in found:
            raise NotLocal(f"the places in the whole map that {operation} returns")
        region = known[0]
        for other in known[1:]:
            region = region.hull(other)
        region = region.clipped(operation.made.shape)
        found.update({value.id: region for value in operation.outputs if value is not None})
        how = local_for(operation)
        if operation.drawn is not None:
            raise NotLocal(f"the random numbers of {operation}")
        if not rule_for(operation, style).function.__module__.startswith("deconvviz."):
            raise NotLocal(str(operation))
        for value in dict.fromkeys(operation.inputs):
            if len(value.shape) != rank + 2 or value.shape[0] != tape.samples:
                raise NotLocal(str(operation))
            needed = how.needs(operation, value, region)
            found[value.id] = found[value.id].hull(needed) if value.id in found else needed
    image = tape.inputs[0]
    if len(tape.inputs) != 1 or image.id not in found:
        raise NotLocal("a model with several inputs")
    found[image.id] = found[image.id].clipped(image.shape)
    return found


def phases(tape: Tape, found: dict[int, Region]) -> Starts:
    """(units, n): where in its input's window lies what an operation needs. Units share a tape where these agree."""
    columns = []
    for operation in tape.operations:
        made = next((value for value in operation.outputs if value is not None and value.id in found), None)
        if made is not None:
            how = local_for(operation)
            for value in dict.fromkeys(operation.inputs):
                needed = how.needs(operation, value, found[made.id])
                columns += [needed.start - found[value.id].start, how.phase(operation, found[made.id], needed)]
    varying = [column for column in columns if (column != column[:1]).any()]
    count = len(next(iter(found.values())).start)
    return np.concatenate(varying, 1) if varying else np.zeros((count, 0), np.int64)


# Writing the tape


class Crops:
    """The tape of crops as it is written. `values`: the new value for a recorded one's id."""

    def __init__(self, tape: Tape, found: dict[int, Region], filters: dict[int, Tensor]) -> None:
        self.old, self.found, self.filters = tape, found, filters
        self.units = len(next(iter(found.values())).start)
        self.tape = Tape(samples=self.units, constants=tape.constants)
        self.values: dict[int, Value] = {}
        self.origins: dict[int, tuple[Value, Region]] = {}  # by a new value's id: what it is a window of
        self.planes: dict[int, tuple[Region, tuple[int, ...]]] = {}  # by switches' id: window and map they point into
        self._ids = max([0, *tape.data, *(v.id for op in tape.operations for v in (*op.inputs, *op.outputs) if v)])
        start = tape.inputs[0]
        self.values[start.id] = self.new(start, found[start.id])
        self.tape.inputs.append(self.values[start.id])

    def new(self, old: Value, region: Region) -> Value:
        """A value for a region of a recorded one."""
        self._ids += 1
        value = Value(self._ids, (self.units, old.shape[1], *region.size), old.dtype, old.device, tracked=old.tracked)
        self.origins[value.id] = (old, region)
        return value

    def constant(self, numbers: Tensor) -> Value:
        self._ids += 1
        value = Value(self._ids, tuple(numbers.shape), numbers.dtype, numbers.device, tracked=False)
        self.tape.data[value.id] = numbers
        return value

    def operation(self, where: Operation, func: Any, args: Any, kwargs: Any, *outputs: Value | None) -> Value:
        """Append an operation; its first output."""
        inputs: list[Value] = []
        mapped((args, kwargs), lambda value: inputs.append(value) if value.tracked else None, Value)
        self.tape.operations.append(Operation(func, tuple(args), kwargs, tuple(inputs), outputs, where.where))
        assert outputs[0] is not None
        return outputs[0]

    def piece(self, where: Operation, old: Value, needed: Region, fill: float | None = None) -> Value:
        """The part `needed` of a value's window; with `fill` in the place of what lies outside of the map."""
        value, region = self.values[old.id], self.found[old.id]
        ahead = needed.start[0] - region.start[0]
        behind = np.array(region.size) - ahead - needed.size
        if ahead.any() or behind.any():
            value = self.cut(where, value, ahead, behind, self.new(old, needed), fill or 0)
        if fill is None or not region.crossing(old.shape).any() or not needed.crossing(old.shape).any():
            return value
        outside = self.constant(~needed.inside(old.shape, old.device))
        return self.operation(where, aten.masked_fill.Scalar, (value, outside, fill), {}, self.new(old, needed))

    def cut(self, where: Operation, value: Value, ahead: Starts, behind: Starts, made: Value, fill: float = 0) -> Value:
        """A value without so many positions ahead and behind, per axis; with more of them where that is negative."""
        old, region = self.origins[made.id]
        more = np.maximum(-ahead, 0), np.maximum(-behind, 0)
        less = np.maximum(ahead, 0), np.maximum(behind, 0)
        shrinks = less[0].any() or less[1].any()
        if more[0].any() or more[1].any():  # first, so that what lies outside altogether has something to be cut from
            size = (np.array(region.size) + less[0] + less[1]).tolist()
            grown = self.new(old, Region(region.start - less[0], tuple(size))) if shrinks else made
            value = self.operation(where, aten.constant_pad_nd.default, (value, _pads(*more), fill), {}, grown)
        if not shrinks:
            return value
        return self.operation(where, aten.constant_pad_nd.default, (value, _pads(-less[0], -less[1])), {}, made)

    def argument(self, operation: Operation, old: Value) -> Value:
        """An argument that does not depend on the input.

        Raises NotLocal where it differs from place to place or from sample to sample.
        """
        rank = len(self.tape.inputs[0].shape) - 2
        by_channel = getattr(operation.func, "overloadpacket", None) in BATCH_NORMS
        of_samples = len(old.shape) == rank + 2 and old.shape[0] > 1
        if not by_channel and (of_samples or any(size > 1 for size in old.shape[-rank:])):
            raise NotLocal(str(operation))
        self.kept(old)
        return old

    def kept(self, old: Any) -> Any:
        """A parameter, with channels last where it is a filter, so that all that follows is."""
        if isinstance(old, Value):
            if old.id not in self.filters:
                numbers = self.old.data[old.id]
                last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(numbers.ndim)
                self.filters[old.id] = numbers.contiguous(memory_format=last) if last else numbers
            self.tape.data[old.id] = self.filters[old.id]
        return old


def _pads(ahead: Starts, behind: Starts) -> list[int]:
    """As `constant_pad_nd` takes them, the last axis first."""
    return [int(side) for pair in zip(ahead[::-1], behind[::-1], strict=True) for side in pair]


def cropped(tape: Tape, found: dict[int, Region], filters: dict[int, Tensor]) -> Crops:
    """The tape of crops for units that share their phases. Raises NotLocal.

    filters: parameters laid out for it, by the value's id, to be filled and used again.
    """
    crops = Crops(tape, found, filters)
    for operation in tape.operations:
        made = next((value for value in operation.outputs if value is not None and value.id in found), None)
        if made is not None and made.id not in crops.values:
            crops.values[made.id] = local_for(operation).runs(crops, operation, found[made.id])
    return crops
