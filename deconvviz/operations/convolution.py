"""Convolution, plain and transposed, in one to three dimensions.

Operation: `aten.convolution`, into which torch turns every `nn.ConvNd` and `nn.ConvTransposeNd`.

Mirror, in every style: convolution with the transposed weights and without bias, to the exact size of the input,

    s_in = W^T s_out,

which is the adjoint of the convolution (Zeiler and Fergus 2014, section 2.1: "filtering with transposed weights"). It
reads the weights and no recorded numbers. If the weights depend on the input, the operation is linearised.

Windows: see `WindowGeometry`. On crops it runs without padding: positions outside the map are set to zero first.
Samples stay apart; channels are mixed, and lie along axis 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deconvviz.operations.conditions import only
from deconvviz.operations.regions import NotLocal, Region, Starts
from deconvviz.operations.registry import channels, crop, mirror, window
from deconvviz.operations.step import Signals, Step
from deconvviz.operations.windows import WHOLE_AXIS, WindowGeometry, Windows
from deconvviz.recording.tape import Operation, Value

if TYPE_CHECKING:
    from deconvviz.projection.crops import Crops

aten: Any = torch.ops.aten

FORMATS_OF_RANK = {4: torch.channels_last, 5: torch.channels_last_3d}  # by the number of axes
SMALL_SIGNAL = 25  # positions up to which a matrix product is faster than the transposed convolution to few channels

channels(aten.convolution, axis=1)


@mirror(aten.convolution, applies=only("input"), batchwise=True, own=True, local=True)
def filter_transposed(op: Step, signal: Tensor) -> Signals:
    """Transposed convolution with the same weights, without bias, to the exact input size."""
    weight = op.data(op["weight"])
    shape = op.shape(op["input"])
    geometry = [op[n] for n in ("stride", "padding", "dilation", "transposed", "output_padding", "groups")]
    if signal.shape[2:].numel() == 1 and is_product(shape, weight.shape, geometry):
        op.dense.add(op["input"].id)
        if signal.is_cpu or lies_channels_last(weight):
            return shaped(signal.flatten(1) @ as_rows(weight), shape)
        return (signal.flatten(1) @ weight.flatten(1)).view(shape)
    if _is_small_stem(op, signal, weight):
        return _by_columns(op, signal, weight, shape)
    if _is_strided_stem(op, weight):
        return _by_phases(op, signal, weight, shape)
    if (bounds := _signal_bounds(op, signal, weight)) is not None:
        return _from_windows(op, signal, weight, shape, bounds)
    last = FORMATS_OF_RANK.get(weight.ndim, torch.contiguous_format)
    layout = last if weight.is_contiguous(memory_format=last) else torch.contiguous_format
    shape_only = _shape_only(shape, signal, layout)
    back: Tensor = aten.convolution_backward(signal, shape_only, weight, None, *geometry, [True, False, False])[0]
    return back


def is_product(shape: Sequence[int], filters: Sequence[int], geometry: Sequence[Any]) -> bool:
    """Whether the kernel covers an input of this shape, so that the convolution is a product with one matrix.

    The last convolution before a unit is one on every crop. Its product takes a third of the time.

    filters: The shape of the weights.
    geometry: The arguments of `aten.convolution` from stride to groups.
    """
    _, padding, _, transposed, _, groups = geometry
    return tuple(shape[2:]) == tuple(filters[2:]) and not any(padding) and not transposed and groups == 1


def lies_channels_last(filters: Tensor) -> bool:
    """Whether filters in two or three dimensions lie in memory as signals do whose channels lie last."""
    last = FORMATS_OF_RANK.get(filters.ndim)
    return last is not None and not filters.is_contiguous() and filters.is_contiguous(memory_format=last)


def as_rows(crops: Tensor) -> Tensor:
    """Filters or crops (n, C, *kernel) as rows (n, kernel * C), in which channels vary fastest."""
    return crops.movedim(1, -1).flatten(1)


def shaped(rows: Tensor, shape: Sequence[int]) -> Tensor:
    """Such rows as maps of a shape (samples, C, *positions), channels last."""
    return rows.view(shape[0], *shape[2:], shape[1]).movedim(-1, 1)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, *geometry: Any) -> Tensor:
    """`aten.convolution`, as a product where the kernel covers the input."""
    if not is_product(x.shape, weight.shape, geometry):
        made: Tensor = aten.convolution(x, weight, bias, *geometry)
        return made
    last = x.is_cpu or lies_channels_last(weight)
    rows, matrix = (as_rows(part) if last else part.flatten(1) for part in (x, weight))
    matrix = matrix.T
    product = rows @ matrix if bias is None else torch.addmm(bias, rows, matrix)
    return product.view(*product.shape, *[1] * (x.ndim - 2))


def _shape_only(shape: Sequence[int], signal: Tensor, layout: torch.memory_format) -> Tensor:
    """A tensor whose numbers nobody reads: in the memory of the signal if that is large enough.

    A map of its own would take memory on an accelerator. In another layout than that of the filters it would be copied
    on a CPU; elsewhere the filters decide, and one number can stand for all.
    """
    if signal.untyped_storage().nbytes() < torch.Size(shape).numel() * signal.itemsize:
        if not signal.is_cpu:
            return signal.as_strided(shape, [0] * len(shape), 0)
        return torch.empty(shape, dtype=signal.dtype, device=signal.device, memory_format=layout)
    strides = torch.empty(shape, device="meta", memory_format=layout).stride()
    return signal.as_strided(shape, strides, 0)


def _signal_bounds(op: Step, signal: Tensor, weight: Tensor) -> tuple[Tensor, list[int]] | None:
    """The bounding box of each unit's nonzero signal: its start (units, 2), and one size for all.

    Near its unit a signal is zero almost everywhere. None if the boxes fill most of a map; from then on no box is
    looked for.
    """
    dense = op.made.id in op.dense or op["transposed"] or op["groups"] > 1
    fast = signal.device.type == "cpu" and signal.ndim == 4 and signal.is_contiguous(memory_format=torch.channels_last)
    if dense or not fast:  # on other devices, to ask for sizes would wait for the device
        return None
    if signal.shape[2:].numel() == 1:
        op.dense.add(op["input"].id)
        return None
    filled = signal.permute(0, 2, 3, 1).any(3)
    starts, sizes = [], []
    for axis, extent in ((2, signal.shape[2]), (1, signal.shape[3])):
        along = filled.any(axis)
        first, last = along.int().argmax(1), extent - 1 - along.flip(1).int().argmax(1)
        size = int((last - first).where(along.any(1), 0).max()) + 1
        starts.append(first.clamp(max=extent - size))
        sizes.append(size)
    places, taps = sizes[0] * sizes[1], weight.shape[2] * weight.shape[3]
    if 3 * places > 2 * filled[0].numel() or places * taps > 2 * torch.Size(op["input"].shape[2:]).numel():
        op.dense.add(op["input"].id)  # a product for all taps at once would take more memory than whole maps
        return None
    return torch.stack(starts, 1), sizes


def _from_windows(
    op: Step, signal: Tensor, weight: Tensor, shape: Sequence[int], bounds: tuple[Tensor, list[int]]
) -> Tensor:
    """The transposed convolution of the boxes alone: one matrix product for all taps; each tap's part is then added."""
    (starts, sizes), stride, padding, dilation = bounds, op["stride"], op["padding"], op["dilation"]
    units = torch.arange(len(signal))[:, None, None]
    rows, columns = (starts[:, axis, None] + torch.arange(sizes[axis]) for axis in (0, 1))
    windows = signal.permute(0, 2, 3, 1)[units, rows[:, :, None], columns[:, None, :]]
    matrix = weight.permute(0, 2, 3, 1).flatten(1)
    taps = (windows.flatten(0, 2) @ matrix).view(*windows.shape[:3], *weight.shape[2:], shape[1])
    extent = [n + 2 * p for n, p in zip(shape[2:], padding, strict=True)]
    back = taps.new_zeros((shape[0], *extent, shape[1]))
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            down, across = rows * stride[0] + i * dilation[0], columns * stride[1] + j * dilation[1]
            back[units, down[:, :, None], across[:, None, :]] += taps[:, :, :, i, j]
    inside = back[:, padding[0] : padding[0] + shape[2], padding[1] : padding[1] + shape[3]]
    return inside.contiguous().permute(0, 3, 1, 2)


def _is_small_stem(op: Step, signal: Tensor, weight: Tensor) -> bool:
    """A 2-D convolution of few channels to a few positions, as the first one on small crops, on the CPU."""
    few = weight.ndim == 4 and weight.shape[1] <= 4 and signal.shape[2:].numel() <= SMALL_SIGNAL
    return few and op["groups"] == 1 and not op["transposed"] and signal.is_cpu and not signal.is_complex()


def _by_columns(op: Step, signal: Tensor, weight: Tensor, shape: Sequence[int]) -> Tensor:
    """The transposed convolution as one matrix product, whose columns are then added where their taps lie."""
    rows = signal.permute(0, 2, 3, 1).flatten(1, 2) @ weight.flatten(1)
    where = (op[name] for name in ("dilation", "padding", "stride"))
    back: Tensor = aten.col2im(rows.mT, shape[2:], weight.shape[2:], *where)
    return back


def _is_strided_stem(op: Step, weight: Tensor) -> bool:
    """A strided 2-D convolution of few channels. Its transposed convolution is slow: too few channels to vectorise."""
    strided = weight.ndim == 4 and len(set(op["stride"])) == 1 and op["stride"][0] > 1 and set(op["dilation"]) == {1}
    return strided and weight.shape[1] <= 4 and op["groups"] == 1 and not op["transposed"]


def _by_phases(op: Step, signal: Tensor, weight: Tensor, shape: Sequence[int]) -> Tensor:
    """The transposed convolution as a convolution of stride 1, whose channels are then put in place as pixels.

    A pixel sees the taps that lie a multiple of the stride apart. So each of the stride * stride phases of a pixel is
    an ordinary convolution with taps of its own.
    """
    stride, padding = op["stride"][0], op["padding"]
    features, channels = weight.shape[:2]
    taps = [-(-size // stride) for size in weight.shape[2:]]
    rows, columns = (stride * count - size for count, size in zip(taps, weight.shape[2:], strict=True))
    phased = F.pad(weight, (0, columns, 0, rows)).view(features, channels, taps[0], stride, taps[1], stride).flip(2, 4)
    phased = phased.permute(1, 3, 5, 0, 2, 4).reshape(-1, features, *taps).contiguous(memory_format=torch.channels_last)
    larger = F.pixel_shuffle(F.conv2d(signal, phased, padding=[count - 1 for count in taps]), stride)
    ends = [begin + extent - size for begin, extent, size in zip(padding, shape[2:], larger.shape[2:], strict=True)]
    return F.pad(larger, (-padding[1], ends[1], -padding[0], ends[0]))


# Windows and crops


def _geometry(operation: Operation) -> WindowGeometry:
    kernel = operation["weight"].shape[2:]
    return WindowGeometry.of(operation, list(kernel), len(kernel))


def _has_even_windows(operation: Operation, value: Value, output: Value, moving: Sequence[int]) -> bool:
    return not operation["transposed"] or set(operation["stride"]) == {1}


@window(aten.convolution, even=_has_even_windows)
def filtered(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    """The taps of the kernel; all channels."""
    inside = _geometry(operation).backward(rows)
    inside[:, :2] = WHOLE_AXIS
    return inside


def _has_fixed_weights(operation: Operation) -> bool:
    bias = operation["bias"]
    return not operation["weight"].tracked and not (isinstance(bias, Value) and bias.tracked)


def _phase(operation: Operation, region: Region, needed: Region) -> Starts:
    """Where a region starts in what a transposed convolution makes of the region it needs."""
    geometry = _geometry(operation)
    if not geometry.transposed:
        return np.zeros_like(region.start)
    phase: Starts = region.start - (needed.start * geometry.stride - geometry.padding)
    return phase


@crop(aten.convolution, applies=_has_fixed_weights, phase=_phase)
def filter_crop(crops: Crops, operation: Operation, region: Region) -> Value:
    """Without padding. A transposed one makes more than the region, which is then cut out."""
    geometry = _geometry(operation)
    rank, output = len(region.size), operation.made
    needed = crops.needed(operation, operation["input"])
    piece = crops.piece(operation, operation["input"], needed, fill=0.0)
    weights = [crops.kept(operation[name]) for name in ("weight", "bias")]
    shared = (geometry.stride.tolist(), [0] * rank, geometry.dilation.tolist(), geometry.transposed, [0] * rank)
    args = (piece, *weights, *shared, operation["groups"])
    if not geometry.transposed:
        return crops.operation(operation, operation.func, args, {}, crops.new(output, region))
    if (geometry.reach < geometry.stride - 1).any():
        raise NotLocal(str(operation))
    size = (np.array(needed.size) - 1) * geometry.stride + geometry.reach + 1
    whole = Region(region.start - _phase(operation, region, needed), tuple(size.tolist()))
    larger = crops.operation(operation, operation.func, args, {}, crops.new(output, whole))
    return crops.narrowed(operation, larger, whole, region)
