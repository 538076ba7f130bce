"""The operations that are local: how each runs on windows of a map.

See `deconvviz.projection.crops` for what a window is. Everything else is done on whole maps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from deconvviz.operations.mirrors import BATCH_NORMS, RECTIFIERS, uses_batch_statistics
from deconvviz.operations.regions import NotLocal, Region, Starts, local
from deconvviz.operations.windows import nearest_sources, per_axis, scale_factors
from deconvviz.recording.tape import Operation, Value, mapped

if TYPE_CHECKING:
    from deconvviz.projection.crops import Crops

aten: Any = torch.ops.aten


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


def _geometry(operation: Operation) -> tuple[NDArray[np.int64], ...]:
    """Kernel, stride, padding and dilation of a convolution or pooling, per spatial axis."""
    rank = len(operation.made.shape) - 2
    convolution = operation.label == "aten.convolution"
    kernel = list(operation["weight"].shape[2:]) if convolution else per_axis(operation["kernel_size"], rank)
    stride = per_axis(operation["stride"], rank, kernel)
    given = (kernel, stride, per_axis(operation["padding"], rank), per_axis(operation["dilation"], rank))
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


def _behind(operation: Operation, region: Region, needed: Region) -> Starts:
    """Where a region starts in what a transposed convolution makes of the region it needs."""
    if not operation["transposed"]:
        return np.zeros_like(region.start)
    _, stride, padding, _ = _geometry(operation)
    before: Starts = region.start - (needed.start * stride - padding)
    return before


@local(aten.convolution, needs=_in_front, phase=_behind)
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
    ahead = _behind(operation, region, needed)
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
    counts = []
    for axis, size in enumerate(region.size):
        extent = operation["self"].shape[2 + axis]
        first = (region.start[:, axis, None] + np.arange(size)) * stride[axis] - padding[axis]
        last = np.minimum(first + kernel[axis], extent + padding[axis])
        if not operation["count_include_pad"]:
            first, last = np.maximum(first, 0), np.minimum(last, extent)
        counts.append(np.maximum(last - first, 1))
    if operation["divisor_override"]:
        counts = [np.full_like(counts[0], operation["divisor_override"]), *map(np.ones_like, counts[1:])]
    return _divided(crops, operation, summed, region, counts)


_NEAREST = (aten.upsample_nearest1d, aten.upsample_nearest2d, aten.upsample_nearest3d)
_LINEAR = (aten.upsample_linear1d, aten.upsample_bilinear2d, aten.upsample_trilinear3d)


def _factors(operation: Operation) -> list[int]:
    """By how much an interpolation enlarges, per axis. Raises NotLocal where that is no whole number."""
    before, after = operation.inputs[0].shape[2:], operation.made.shape[2:]
    factors = [new // old for old, new in zip(before, after, strict=True)]
    # A factor of 2.2 makes 4 positions of 2, but takes them from other places than a factor of 2.
    asked = [given or factor for given, factor in zip(scale_factors(operation), factors, strict=True)]
    if asked != factors or any(new % old for old, new in zip(before, after, strict=True)) or operation["align_corners"]:
        raise NotLocal(str(operation))
    if not _is_linear(operation):
        sources = nearest_sources(False, before, after, tuple(scale_factors(operation)))
        for old, factor, found in zip(before, factors, sources, strict=True):
            if (found != np.repeat(np.arange(old), factor)[:, None]).any():  # rounded, as for some large factors
                raise NotLocal(str(operation))
    return factors


def _is_linear(operation: Operation) -> bool:
    return operation.func.overloadpacket in _LINEAR


def _fewer(operation: Operation, value: Value, region: Region) -> Region:
    """Nearest: the positions that a region repeats; linear: those that its places lie between."""
    factors = np.array(_factors(operation))
    last = region.start + np.array(region.size) - 1
    if _is_linear(operation):  # the middle of a position lies at (position + 1/2) / factor - 1/2
        first, last = ((2 * place + 1 - factors) // (2 * factors) for place in (region.start, last))
        last = last + 1
    else:
        first, last = region.start // factors, last // factors
    return Region(first, tuple((last - first + 1).max(0).tolist()))


def _enlarged(operation: Operation, region: Region, needed: Region) -> Starts:
    ahead: Starts = region.start - needed.start * np.array(_factors(operation))
    return ahead


@local(*_NEAREST, *_LINEAR, needs=_fewer, phase=_enlarged)
def interpolated(crops: Crops, operation: Operation, region: Region) -> Value:
    """By whole factors. At the border a linear one is divided by the part of its weights that lies in the map.

    There torch takes the position at the border for the one that would lie outside, so that it gets both weights.
    With zero outside it gets its own alone, and divided by it the same is left.
    """
    value, factors = operation.inputs[0], _factors(operation)
    needed, linear = _fewer(operation, value, region), _is_linear(operation)
    piece = crops.piece(operation, value, needed, fill=0.0 if linear else None)
    size = [factor * side for factor, side in zip(factors, needed.size, strict=True)]
    args = (piece, size, False) if linear else (piece, size)
    whole = Region(needed.start * np.array(factors), tuple(size))
    larger = crops.operation(
        operation, operation.func.overloadpacket.default, args, {}, crops.new(operation.made, whole)
    )
    made = _cut(crops, operation, larger, whole, region)
    if not linear or not needed.crossing(value.shape).any():
        return made
    weights = [_weights_inside(region, axis, factor, value.shape[2 + axis]) for axis, factor in enumerate(factors)]
    return _divided(crops, operation, made, region, weights)


def _weights_inside(region: Region, axis: int, factor: int, extent: int) -> NDArray[np.float64]:
    """(units, size): how much of a linear interpolation's two weights lies in a map of so many positions."""
    place = (region.start[:, axis, None] + np.arange(region.size[axis]) + 0.5) / factor - 0.5
    first = np.floor(place)
    second = place - first
    inside = (1 - second) * ((first >= 0) & (first < extent)) + second * ((first >= -1) & (first < extent - 1))
    return np.where(inside > 0, inside, 1.0)  # places outside of the map, whose numbers nobody reads


def _divided(
    crops: Crops, operation: Operation, value: Value, region: Region, divisors: Sequence[NDArray[Any]]
) -> Value:
    """A value divided by the product of one divisor per axis, each (units, size)."""
    product = torch.ones(1, 1, *[1] * len(region.size), dtype=torch.float64)
    for axis, numbers in enumerate(divisors):
        view = [crops.units, 1, *[1] * len(region.size)]
        view[2 + axis] = region.size[axis]
        product = product * torch.from_numpy(numbers).double().view(view)
    factor = crops.constant((1 / product).to(operation.made.dtype).to(operation.made.device))
    return crops.operation(operation, aten.mul.Tensor, (value, factor), {}, crops.new(operation.made, region))


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
