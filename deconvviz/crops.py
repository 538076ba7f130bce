"""A tape of crops: the same operations, on the windows that certain units see.

A unit's projection is zero outside its receptive field, so only that window need be computed, on the way there and
back. `Windows` carries the windows of many units back over a recorded tape; `cropped` writes a tape on which each unit
is a sample of its own, and each value the unit's window of the recorded value. Convolutions and poolings run without
padding there: where a window reaches over the border of a map, what lies outside is made zero (minus infinity before
max pooling), as if it were the padding. The rules that mirror a tape mirror this one, too.

Not every operation is local. `NotLocal` says which one is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from deconvviz.mirrors import BATCH_NORMS, RECTIFIERS, uses_batch_statistics
from deconvviz.registry import Style, rule_for
from deconvviz.tape import Operation, Tape, Value, mapped

aten: Any = torch.ops.aten
Starts = NDArray[np.int64]  # (units, spatial axes)


class NotLocal(Exception):
    """An operation whose output at a position needs more than a window of its input, or one that is not known."""


class Region(NamedTuple):
    """A window for each unit: where it starts along each spatial axis, and one size for all."""

    start: Starts
    size: tuple[int, ...]

    def hull(self, other: Region) -> Region:
        start = np.minimum(self.start, other.start)
        end = np.maximum(self.start + self.size, other.start + other.size)
        return Region(start, tuple((end - start).max(0).tolist()))

    def crossing(self, shape: Sequence[int]) -> NDArray[np.bool_]:
        """(units,): which windows reach over the border of a map (samples, channels, *positions)."""
        over = (self.start < 0) | (self.start + self.size > np.array(shape[2:]))
        return np.asarray(over.any(axis=1))

    @property
    def shared(self) -> bool:
        """Whether all units see the same window, which then ends at the border of the map."""
        return bool((self.start == self.start[:1]).all())

    def clipped(self, shape: Sequence[int]) -> Region:
        """What of a shared window lies in the map, at least one position."""
        if not self.shared:
            return self
        extent = np.array(shape[2:])
        start = np.clip(self.start, 0, extent - 1)
        end = np.maximum(np.minimum(self.start + self.size, extent), start + 1)
        return Region(start, tuple((end - start)[0].tolist()))

    def places(self, axis: int, device: torch.device) -> Tensor:
        """The positions in the map along an axis, (units, 1, ..., size, ..., 1)."""
        places = torch.from_numpy(self.start[:, axis, None] + np.arange(self.size[axis])).to(device)
        return places.view(-1, *[size if axis == other else 1 for other, size in enumerate(self.size)])

    def inside(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """(units, 1, *size): which positions lie in the map."""
        whole = torch.ones(1, 1, *[1] * len(self.size), dtype=torch.bool, device=device)
        for axis in range(len(self.size)):
            places = self.places(axis, device)[:, None]
            whole = whole & (places >= 0) & (places < shape[2 + axis])
        return whole

    def taken(self, numbers: Tensor, samples: Tensor) -> Tensor:
        """The windows of recorded numbers (samples, channels, *positions), (units, channels, *size), channels last.

        Outside of the map stands what is nearest in it.
        """
        index: list[Any] = [samples.view(-1, *[1] * len(self.size)), slice(None)]
        for axis in range(len(self.size)):
            index.append(self.places(axis, numbers.device).clamp(0, numbers.shape[2 + axis] - 1))
        found: Tensor = numbers[tuple(index)]  # (units, *size, channels)
        return found.movedim(-1, 1)


# Which windows


class Local(NamedTuple):
    """How an operation works on windows: which region of an input it needs, and how it runs on that region."""

    needs: Callable[[Operation, Value, Region], Region]
    runs: Callable[[Crops, Operation, Region], Value]


_LOCAL: dict[Any, Local] = {}


def local(*operations: Any, needs: Callable[[Operation, Value, Region], Region]) -> Callable[[Any], Any]:
    """Register the decorated function as the way `operations` run on windows."""

    def register(runs: Any) -> Any:
        _LOCAL.update(dict.fromkeys(operations, Local(needs, runs)))
        return runs

    return register


def local_for(operation: Operation) -> Local:
    for key in (operation.func, getattr(operation.func, "overloadpacket", None)):
        if key in _LOCAL:
            return _LOCAL[key]
    if torch.Tag.pointwise in getattr(operation.func, "tags", ()):
        return _LOCAL["pointwise"]
    raise NotLocal(str(operation))


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
        region = known[0]
        for other in known[1:]:
            region = region.hull(other)
        region = region.clipped(operation.made.shape)
        found.update({value.id: region for value in operation.outputs if value is not None})
        how = local_for(operation)
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
            for value in dict.fromkeys(operation.inputs):
                needed = local_for(operation).needs(operation, value, found[made.id])
                columns.append(needed.start - found[value.id].start)
                if operation.label in ("aten.convolution",) or "upsample" in operation.label:
                    columns.append(_phase(operation, found[made.id], needed))
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
        self.planes: dict[
            int, tuple[Region, tuple[int, ...]]
        ] = {}  # by switches' id: the window and map they point into
        self._ids = max((v.id for op in tape.operations for v in (*op.inputs, *op.outputs) if v), default=0)
        self._ids = max(self._ids, *tape.data, 0) if tape.data else self._ids
        start = tape.inputs[0]
        self.values[start.id] = self.new(start, found[start.id])
        self.tape.inputs.append(self.values[start.id])

    def new(self, old: Value, region: Region, channels: int | None = None) -> Value:
        """A value for a region of a recorded one."""
        self._ids += 1
        shape = (self.units, old.shape[1] if channels is None else channels, *region.size)
        value = Value(self._ids, shape, old.dtype, old.device, tracked=old.tracked)
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
        """An argument that does not depend on the input. Raises NotLocal where it differs from place to place."""
        rank = len(self.tape.inputs[0].shape) - 2
        by_channel = getattr(operation.func, "overloadpacket", None) in BATCH_NORMS
        if not by_channel and any(size > 1 for size in old.shape[-rank:]):
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


# The operations that are local


def _same(operation: Operation, value: Value, region: Region) -> Region:
    if value.shape[2:] != operation.made.shape[2:]:
        raise NotLocal(str(operation))
    return region


@local("pointwise", aten.clone, aten.detach, aten.alias, aten._to_copy, F.local_response_norm, needs=_same)
@local(*RECTIFIERS, *BATCH_NORMS, aten.cat, aten.native_channel_shuffle, needs=_same)
@local(aten.slice, aten.split, aten.unsafe_split, aten.split_with_sizes, needs=_same)
def at_each_position(crops: Crops, operation: Operation, region: Region) -> Value:
    """The same operation, on windows of one place. Along an axis it works on channels only."""
    made = operation.made
    dim = operation["dim"]
    across = dim is not None and isinstance(dim, int)
    if uses_batch_statistics(operation) or (across and dim % len(made.shape) != 1):
        raise NotLocal(str(operation))

    def placed(value: Value) -> Value:
        return crops.piece(operation, value, region) if value.tracked else crops.argument(operation, value)

    args, kwargs = mapped(operation.args, placed, Value), mapped(operation.kwargs, placed, Value)
    outputs = [
        crops.new(value, region) if value is not None and len(value.shape) == len(made.shape) else None
        for value in operation.outputs
    ]
    for value, new in zip(operation.outputs, outputs, strict=True):
        if value is not None and new is not None:
            crops.values[value.id] = new
    return crops.operation(operation, operation.func, args, dict(kwargs), *outputs)


def _numbers(given: Any, rank: int, default: Any = 1) -> list[int]:
    numbers = list(given) if isinstance(given, (list, tuple)) else [given]
    if not numbers or numbers == [None]:
        return _numbers(default, rank)
    return numbers * rank if len(numbers) == 1 else numbers


def _geometry(operation: Operation) -> tuple[NDArray[np.int64], ...]:
    """Kernel, stride, padding and dilation of a convolution or pooling, per spatial axis."""
    rank = len(operation.made.shape) - 2
    convolution = operation.label == "aten.convolution"
    kernel = list(operation["weight"].shape[2:]) if convolution else _numbers(operation["kernel_size"], rank)
    stride = _numbers(operation["stride"], rank, kernel)
    given = (kernel, stride, _numbers(operation["padding"], rank), _numbers(operation["dilation"], rank))
    return tuple(np.array(numbers, np.int64) for numbers in given)


def _in_front(operation: Operation, value: Value, region: Region) -> Region:
    """What a convolution or pooling needs to make a region."""
    kernel, stride, padding, dilation = _geometry(operation)
    reach = dilation * (kernel - 1)
    if operation["transposed"]:
        first = -(-(region.start + padding - reach) // stride)
        last = (region.start + np.array(region.size) - 1 + padding) // stride
        return Region(first, tuple(np.maximum((last - first + 1).max(0), 1).tolist()))
    size = (np.array(region.size) - 1) * stride + reach + 1
    return Region(region.start * stride - padding, tuple(size.tolist()))


def _phase(operation: Operation, region: Region, needed: Region) -> Starts:
    """Where a region starts in what an operation that enlarges makes of the region it needs."""
    if operation.label == "aten.convolution":
        if not operation["transposed"]:
            return np.zeros_like(region.start)
        _, stride, padding, _ = _geometry(operation)
        before: Starts = region.start - (needed.start * stride - padding)
        return before
    ahead: Starts = region.start - needed.start * np.array(_factors(operation))
    return ahead


@local(aten.convolution, needs=_in_front)
def filtered(crops: Crops, operation: Operation, region: Region) -> Value:
    """Without padding; a transposed one also without what lies before and behind the region."""
    if operation["weight"].tracked or (isinstance(operation["bias"], Value) and operation["bias"].tracked):
        raise NotLocal(str(operation))
    kernel, stride, _, dilation = _geometry(operation)
    rank, made = len(region.size), operation.made
    needed = _in_front(operation, operation["input"], region)
    piece = crops.piece(operation, operation["input"], needed, fill=0.0)
    weights = [crops.kept(operation[name]) for name in ("weight", "bias")]
    shared = (stride.tolist(), [0] * rank, dilation.tolist(), bool(operation["transposed"]), [0] * rank)
    args = (piece, *weights, *shared, operation["groups"])
    if not operation["transposed"]:
        return crops.operation(operation, operation.func, args, {}, crops.new(made, region))
    size = (np.array(needed.size) - 1) * stride + dilation * (kernel - 1) + 1
    ahead = _phase(operation, region, needed)
    whole = Region(region.start - ahead, tuple(size.tolist()))
    if (dilation * (kernel - 1) < stride - 1).any():
        raise NotLocal(str(operation))
    return _cut(
        crops, operation, crops.operation(operation, operation.func, args, {}, crops.new(made, whole)), whole, region
    )


def _cut(crops: Crops, operation: Operation, value: Value, whole: Region, region: Region) -> Value:
    """A region of a value that was made larger."""
    ahead = region.start[0] - whole.start[0]
    return crops.cut(
        operation, value, ahead, np.array(whole.size) - ahead - region.size, crops.new(operation.made, region)
    )


@local(aten.max_pool2d_with_indices, aten.max_pool3d_with_indices, needs=_in_front)
def pooled(crops: Crops, operation: Operation, region: Region) -> Value:
    """Without padding: what lies outside of the map is below everything."""
    kernel, stride, _, dilation = (numbers.tolist() for numbers in _geometry(operation))
    needed = _in_front(operation, operation["self"], region)
    piece = crops.piece(operation, operation["self"], needed, fill=-math.inf)
    switches = operation.outputs[1]
    assert switches is not None
    local_switches = crops.new(switches, region)
    crops.planes[local_switches.id] = (needed, operation["self"].shape[2:])
    args = (piece, kernel, stride, [0] * len(kernel), dilation, False)
    return crops.operation(operation, operation.func, args, {}, crops.new(operation.made, region), local_switches)


@local(aten.avg_pool2d, aten.avg_pool3d, needs=_in_front)
def averaged(crops: Crops, operation: Operation, region: Region) -> Value:
    """The sum over each window, and then its divisor, which is smaller at the border."""
    kernel, stride, padding, _ = _geometry(operation)
    needed = _in_front(operation, operation["self"], region)
    piece = crops.piece(operation, operation["self"], needed, fill=0.0)
    lists = (kernel.tolist(), stride.tolist(), [0] * len(kernel))
    summed = crops.operation(
        operation, operation.func, (piece, *lists, False, True, 1), {}, crops.new(operation.made, region)
    )
    counts = torch.ones(1, 1, *[1] * len(kernel), dtype=torch.float64)
    for axis, size in enumerate(region.size):
        extent = operation["self"].shape[2 + axis]
        first = (region.start[:, axis, None] + np.arange(size)) * stride[axis] - padding[axis]
        last = np.minimum(first + kernel[axis], extent + padding[axis])
        if not operation["count_include_pad"]:
            first, last = np.maximum(first, 0), np.minimum(last, extent)
        view = [crops.units, 1, *[1] * len(kernel)]
        view[2 + axis] = size
        counts = counts * torch.from_numpy(np.maximum(last - first, 1)).double().view(view)
    if operation["divisor_override"]:
        counts = torch.full_like(counts, float(operation["divisor_override"]))
    factor = crops.constant((1 / counts).to(operation.made.dtype).to(operation.made.device))
    return crops.operation(operation, aten.mul.Tensor, (summed, factor), {}, crops.new(operation.made, region))


def _factors(operation: Operation) -> list[int]:
    """By how much an interpolation enlarges, per axis. Raises NotLocal where that is no whole number."""
    before, after = operation.inputs[0].shape[2:], operation.made.shape[2:]
    if any(new % old for old, new in zip(before, after, strict=True)):
        raise NotLocal(str(operation))
    return [new // old for old, new in zip(before, after, strict=True)]


def _fewer(operation: Operation, value: Value, region: Region) -> Region:
    factors = np.array(_factors(operation))
    first, last = region.start // factors, (region.start + np.array(region.size) - 1) // factors
    return Region(first, tuple((last - first + 1).max(0).tolist()))


@local(aten.upsample_nearest1d, aten.upsample_nearest2d, aten.upsample_nearest3d, needs=_fewer)
def repeated(crops: Crops, operation: Operation, region: Region) -> Value:
    factors, needed = _factors(operation), _fewer(operation, operation.inputs[0], region)
    piece = crops.piece(operation, operation.inputs[0], needed)
    size = [factor * side for factor, side in zip(factors, needed.size, strict=True)]
    whole = Region(needed.start * np.array(factors), tuple(size))
    func = {1: aten.upsample_nearest1d, 2: aten.upsample_nearest2d, 3: aten.upsample_nearest3d}[len(factors)].default
    larger = crops.operation(operation, func, (piece, size), {}, crops.new(operation.made, whole))
    return _cut(crops, operation, larger, whole, region)


def _shifted(operation: Operation, value: Value, region: Region) -> Region:
    pads = operation["pad"]
    ahead = np.array([pads[2 * axis] if 2 * axis < len(pads) else 0 for axis in reversed(range(len(region.size)))])
    return Region(region.start - ahead, region.size)


@local(aten.constant_pad_nd, needs=_shifted)
def padded(crops: Crops, operation: Operation, region: Region) -> Value:
    """What lies outside of the map is zero; the window moves by what is put in front."""
    if operation["value"] or len(operation["pad"]) > 2 * len(region.size):
        raise NotLocal(str(operation))
    piece = crops.piece(operation, operation["self"], _shifted(operation, operation["self"], region), fill=0.0)
    return crops.operation(operation, aten.clone.default, (piece,), {}, crops.new(operation.made, region))
