"""Pooling: maximum and average, with windows of a fixed size or adaptive.

**Max pooling** (`aten.max_pool2d_with_indices` and its kin, which return the switches beside the maxima). Mirror:
unpooling. Each value of the signal goes to the switch of its window, the position where the maximum was; everything
else is zero (Zeiler and Fergus 2014, section 2.1). Where windows overlap, several may share a switch; the family
`overlap` of a style chooses what arrives there: the `sum` of their values, which is the adjoint and what autograd does;
the value of the last window in scan order (`overwrite`); or their `mean`. It reads the switches, the second output.

**Max unpooling** (`nn.MaxUnpool2d`, as in SegNet). Mirror: the adjoint, each value of the map read at its switch. It
reads the switches. They may point anywhere, so it sees everything.

**Average pooling.** Mirror: the adjoint, each value spread evenly over its window.

Windows: see `WindowGeometry`; adaptive windows have sizes that differ by one. On crops pooling runs without padding:
positions outside the map are set to minus infinity before a maximum, to zero before an average. Only the summed overlap
is local. Samples and channels stay apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from deconvviz.operations.conditions import has_batch
from deconvviz.operations.regions import Region
from deconvviz.operations.registry import crop, masks_and_indices, mirror, outputs, window
from deconvviz.operations.step import Signals, Step
from deconvviz.operations.vector_jacobian import adjoint
from deconvviz.operations.windows import WindowGeometry, Windows, per_axis
from deconvviz.recording.tape import Operation, Value

if TYPE_CHECKING:
    from deconvviz.projection.crops import Crops

aten: Any = torch.ops.aten

MAX_POOLS = (
    *(aten.max_pool2d_with_indices, aten.adaptive_max_pool2d, aten.fractional_max_pool2d),
    *(aten.max_pool3d_with_indices, aten.adaptive_max_pool3d, aten.fractional_max_pool3d),
)
_AVERAGE_POOLS = (aten.avg_pool1d, aten.avg_pool2d, aten.avg_pool3d)
_ADAPTIVE_AVERAGE_POOLS = (aten.adaptive_avg_pool1d, aten._adaptive_avg_pool2d, aten._adaptive_avg_pool3d)


def has_switches(operation: Operation) -> bool:
    """Whether an operation is a max pooling, whose second output holds the switches."""
    return getattr(operation.func, "overloadpacket", None) in MAX_POOLS


# Max pooling


def _unpooling(place: Callable[[Tensor, Tensor, int], Tensor]) -> Callable[..., Signals]:
    """Unpooling, where `place` decides what happens if windows share a switch."""

    def unpool(op: Step, signal: Tensor, _: Tensor | None) -> Signals:
        rank = 3 if "3d" in op.operation.label else 2
        shape = op.shape(op["self"])
        switches = op.data(op.output(1)).flatten(-rank)
        return place(signal.flatten(-rank), switches, torch.Size(shape[-rank:]).numel()).view(shape)

    return unpool


def _window_sum(values: Tensor, switches: Tensor, plane: int) -> Tensor:
    if values.stride(-1) > 1:  # channels last: keep the layout instead of copying there and back
        unpooled = values.new_zeros((*values.shape[:-2], plane, values.shape[-2]))
        return unpooled.scatter_add_(-2, switches.mT, values.mT).mT
    return values.new_zeros((*values.shape[:-1], plane)).scatter_add_(-1, switches, values)


def _last(values: Tensor, switches: Tensor, plane: int) -> Tensor:
    """The value of the last window in scan order. `scatter_` does not say which one wins, so it is looked up first."""
    windows = torch.arange(switches.shape[-1], device=switches.device).expand_as(switches)
    winner = torch.full((*values.shape[:-1], plane), -1, device=switches.device)
    winner.scatter_reduce_(-1, switches, windows, "amax")
    return values.gather(-1, winner.clamp(min=0)) * (winner >= 0)


def _window_mean(values: Tensor, switches: Tensor, plane: int) -> Tensor:
    sharing = _window_sum(torch.ones_like(values), switches, plane)
    return _window_sum(values, switches, plane) / sharing.clamp(min=1)


for _choice, _place in (("sum", _window_sum), ("overwrite", _last), ("mean", _window_mean)):
    mirror(
        *MAX_POOLS,
        when=("overlap", _choice),
        keeps=outputs(1),
        batchwise=has_batch,
        own=True,
        local=_choice == "sum",  # for the others, a window outside the crop may matter
    )(_unpooling(_place))


@crop(aten.max_pool2d_with_indices, aten.max_pool3d_with_indices)
def pool_crop(crops: Crops, operation: Operation, region: Region) -> Value:
    """Without padding: what lies outside the map is below everything."""
    geometry = _geometry(operation)
    needed = crops.needed(operation, operation["self"])
    piece = crops.piece(operation, operation["self"], needed, fill=-math.inf)
    switches = operation.outputs[1]
    assert switches is not None
    local_switches = crops.new(switches, region)
    crops.planes[local_switches.id] = (needed, operation["self"].shape[2:])
    lists = (geometry.kernel.tolist(), geometry.stride.tolist(), [0] * len(region.size), geometry.dilation.tolist())
    args = (piece, *lists, False)
    return crops.operation(operation, operation.func, args, {}, crops.new(operation.made, region), local_switches)


# Max unpooling

mirror(aten.max_unpool2d, aten.max_unpool3d, keeps=masks_and_indices, batchwise=has_batch)(adjoint)

# Average pooling

mirror(*_AVERAGE_POOLS, batchwise=has_batch, local=True)(adjoint)
mirror(*_ADAPTIVE_AVERAGE_POOLS, batchwise=has_batch)(adjoint)


@crop(aten.avg_pool2d, aten.avg_pool3d)
def average_crop(crops: Crops, operation: Operation, region: Region) -> Value:
    """The sum over each window, then divided by its size, which is smaller at the border."""
    geometry = _geometry(operation)
    needed = crops.needed(operation, operation["self"])
    piece = crops.piece(operation, operation["self"], needed, fill=0.0)
    lists = (geometry.kernel.tolist(), geometry.stride.tolist(), [0] * len(region.size))
    summed = crops.operation(
        operation, operation.func, (piece, *lists, False, True, 1), {}, crops.new(operation.made, region)
    )
    sizes = []
    for axis, size in enumerate(region.size):
        extent = operation["self"].shape[2 + axis]
        first = (region.start[:, axis, None] + np.arange(size)) * geometry.stride[axis] - geometry.padding[axis]
        last = np.minimum(first + geometry.kernel[axis], extent + geometry.padding[axis])
        if not operation["count_include_pad"]:
            first, last = np.maximum(first, 0), np.minimum(last, extent)
        sizes.append(np.maximum(last - first, 1))
    if operation["divisor_override"]:
        sizes = [np.full_like(sizes[0], operation["divisor_override"]), *map(np.ones_like, sizes[1:])]
    return crops.divided(operation, summed, region, sizes)


# Windows


def _geometry(operation: Operation) -> WindowGeometry:
    rank = int(operation.label.split("pool")[1][0])
    return WindowGeometry.of(operation, per_axis(operation["kernel_size"], rank), rank)


@window(aten.max_pool2d_with_indices, aten.max_pool3d_with_indices, *_AVERAGE_POOLS)
def pooled(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    return _geometry(operation).backward(rows)


def _divides_evenly(operation: Operation, value: Value, output: Value, moving: Sequence[int]) -> bool:
    return all(before % after == 0 for before, after in zip(value.shape, output.shape, strict=True))


@window(aten.adaptive_max_pool2d, aten.adaptive_max_pool3d, *_ADAPTIVE_AVERAGE_POOLS, even=_divides_evenly)
def adaptively_pooled(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    inside = rows.copy()
    for axis in range(-len(operation["output_size"]), 0):
        ratio = value.shape[axis] / output.shape[axis]
        inside[:, axis, 0] = np.floor(rows[:, axis, 0] * ratio)
        inside[:, axis, 1] = np.ceil((rows[:, axis, 1] + 1) * ratio) - 1
    for axis, size in enumerate(output.shape):
        if axis >= 2 and size == 1:  # global pooling sees everything, and not just the size of this input
            inside[:, axis] = (-math.inf, math.inf)
    return inside
