"""Resampling: nearest, linear and cubic interpolation, pixel shuffle, channel shuffle, grid sampling.

Linear in the map, so the mirror is the adjoint in every style. Windows: nearest interpolation takes one source
position, linear two neighbours, cubic four. Nearest and linear interpolation by whole factors run on crops; everything
else uses whole maps. Samples and channels stay apart, but for shuffles, which move channels.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deconvviz.operations.conditions import has_batch, only
from deconvviz.operations.elementwise import run_at_each_position, same_shape_on_crops
from deconvviz.operations.regions import Region, Starts
from deconvviz.operations.registry import crop, mirror, window
from deconvviz.operations.step import Signals, Step
from deconvviz.operations.vector_jacobian import adjoint
from deconvviz.operations.windows import Windows, channels_mixed
from deconvviz.recording.tape import Operation, Value

if TYPE_CHECKING:
    from deconvviz.projection.crops import Crops

aten: Any = torch.ops.aten
Factors = tuple[float | None, ...]

_NEAREST = (aten.upsample_nearest1d, aten.upsample_nearest2d, aten.upsample_nearest3d)
_NEAREST_EXACT = (aten._upsample_nearest_exact1d, aten._upsample_nearest_exact2d, aten._upsample_nearest_exact3d)
_LINEAR = (aten.upsample_linear1d, aten.upsample_bilinear2d, aten.upsample_trilinear3d)
_CUBIC = (aten.upsample_bicubic2d,)
_SCALES = {1: ("scales",), 2: ("scales_h", "scales_w"), 3: ("scales_d", "scales_h", "scales_w")}

mirror(*_NEAREST, *_LINEAR, batchwise=has_batch, local=True)(adjoint)
mirror(
    *(*_NEAREST_EXACT, *_CUBIC), *(aten.pixel_shuffle, aten.pixel_unshuffle, aten.channel_shuffle), batchwise=has_batch
)(adjoint)
mirror(aten.grid_sampler_2d, aten.grid_sampler_3d, applies=only("input"), batchwise=False)(adjoint)


# Interpolation


def scale_factors(operation: Operation) -> list[float | None]:
    """The scale factors given to an interpolation, per spatial axis; None if it was given a size."""
    names = _SCALES[len(operation.made.shape) - 2]
    return list(operation["scale_factors"] or [operation[name] for name in names])


@mirror(aten._upsample_bilinear2d_aa, aten._upsample_bicubic2d_aa, batchwise=has_batch)
def antialiased_back(op: Step, signal: Tensor) -> Signals:
    """The adjoint of interpolation with antialiasing, by the matrices of its axes.

    torch's own derivative (as of 2.15, on a CPU) is wrong if an axis keeps its size although a factor is given, and if
    the output is one column wide.
    """
    operation, shape = op.operation, op.shape(op.inputs[0])
    sizes = (tuple(shape[2:]), tuple(operation.made.shape[2:]), tuple(scale_factors(operation)))
    down, across = (
        matrix.to(signal) for matrix in _axis_matrices(operation.func, *sizes, bool(operation["align_corners"]))
    )
    back: Tensor = down @ signal @ across.mT
    return back


@functools.lru_cache(64)
def _axis_matrices(
    func: Any, sizes: tuple[int, ...], targets: tuple[int, ...], factors: Factors, align_corners: bool
) -> list[Tensor]:
    """The matrices of a separable interpolation, per axis (size, target): the weight of each input position."""
    matrices = []
    for axis, size in enumerate(sizes):
        places = torch.eye(size, dtype=torch.float64, device="cpu")
        images = (places[:, None, :, None] if axis == 0 else places[:, None, None, :]).expand(-1, 1, *sizes)
        responses = func.overloadpacket.default(images.contiguous(), targets, align_corners, *factors)
        matrices.append(responses[:, 0, :, 0] if axis == 0 else responses[:, 0, 0, :])
    return matrices


@window(*_NEAREST, *_NEAREST_EXACT, *_LINEAR, *_CUBIC, even=False)
def interpolated(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    """Nearest: the source position; linear: its two neighbours; cubic: four of them."""
    factors = scale_factors(operation)
    inside = rows.copy()
    if "nearest" in operation.label:
        sources = nearest_sources("exact" in operation.label, value.shape[2:], output.shape[2:], tuple(factors))
        for axis in range(2, len(value.shape)):
            inside[:, axis] = _nearest(rows[:, axis], sources[axis - 2], value.shape[axis])
        return inside
    more = 1 if "cubic" in operation.label else 0  # further neighbours on each side
    for axis in range(2, len(value.shape)):
        first, last = _left_neighbours(
            rows[:, axis], value.shape[axis], output.shape[axis], factors[axis - 2], operation["align_corners"]
        ).T
        inside[:, axis, 0], inside[:, axis, 1] = first - more, last + 1 + more
    return inside


def _left_neighbours(
    positions: NDArray[np.float64], size: int, target: int, factor: float | None, align_corners: bool
) -> NDArray[np.float64]:
    """The source to the left of each position: floor((position + 1/2) * ratio - 1/2), exact for whole factors."""
    whole = target // size
    if not align_corners and target == whole * size and factor in (None, whole):
        left: NDArray[np.float64] = np.floor((2 * positions + 1 - whole) / (2 * whole))
        return left
    ratio = 1 / factor if factor else size / target
    shift = 0.5 * ratio - 0.5
    if align_corners:
        ratio, shift = (size - 1) / max(1, target - 1), 0.0
    moved: NDArray[np.float64] = positions * max(ratio, 1e-9) + shift
    return np.floor(moved)


@functools.lru_cache(64)
def nearest_sources(
    exact: bool, sizes: tuple[int, ...], targets: tuple[int, ...], factors: Factors
) -> list[NDArray[np.float64]]:
    """Per axis (target, 2): the first and the last position that nearest interpolation may take each position from.

    torch is asked, since it multiplies by a ratio that is rounded, in single or double precision depending on the
    layout, and not at all if no size changes.
    """
    rank = len(sizes)
    function = getattr(aten, f"{'_upsample_nearest_exact' if exact else 'upsample_nearest'}{rank}d").default
    last = {2: torch.channels_last, 3: torch.channels_last_3d}.get(rank, torch.contiguous_format)
    kinds = ((torch.float32, torch.contiguous_format), (torch.float64, torch.contiguous_format), (torch.float32, last))
    sources = []
    for axis, size in enumerate(sizes):
        places = torch.arange(size, device="cpu").view(-1, *[1] * (rank - 1 - axis)).expand(1, 2, *sizes)
        taken = torch.stack(
            [
                function(places.to(dtype).contiguous(memory_format=layout), targets, *factors).double()
                for dtype, layout in kinds
            ]
        )
        along = taken[:, 0, 0].movedim(axis + 1, 1).reshape(len(kinds), targets[axis], -1)[:, :, 0]
        sources.append(np.stack([along.amin(0).numpy(), along.amax(0).numpy()], 1))
    return sources


def _nearest(rows: NDArray[np.float64], sources: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Windows (rows, 2) as windows of the sources. Outside the map positions go on as inside."""
    target = len(sources)
    finite = np.where(np.isfinite(rows), rows, 0).astype(np.int64)
    inside = np.clip(finite, 0, target - 1)
    looked_up = np.stack([sources[inside[:, 0], 0], sources[inside[:, 1], 1]], 1)
    continued = np.where(finite == inside, looked_up, np.floor(finite * size / target))
    return np.where(np.isfinite(rows), continued, rows)


def _is_linear(operation: Operation) -> bool:
    return operation.func.overloadpacket in _LINEAR


def _whole_factors(operation: Operation) -> list[int]:
    before, after = operation.inputs[0].shape[2:], operation.made.shape[2:]
    return [new // old for old, new in zip(before, after, strict=True)]


def _enlarges_by_whole_factors(operation: Operation) -> bool:
    """Whether an interpolation repeats or divides each position by a whole number."""
    before, after, factors = operation.inputs[0].shape[2:], operation.made.shape[2:], _whole_factors(operation)
    # A factor of 2.2 makes 4 positions of 2, as 2 does, but takes them from other places.
    asked = [scale or factor for scale, factor in zip(scale_factors(operation), factors, strict=True)]
    if asked != factors or any(new % old for old, new in zip(before, after, strict=True)) or operation["align_corners"]:
        return False
    if _is_linear(operation):
        return True
    sources = nearest_sources(False, before, after, tuple(scale_factors(operation)))
    return all(  # torch rounds some large factors
        (taken == np.repeat(np.arange(old), factor)[:, None]).all()
        for old, factor, taken in zip(before, factors, sources, strict=True)
    )


def _phase(operation: Operation, region: Region, needed: Region) -> Starts:
    phase: Starts = region.start - needed.start * np.array(_whole_factors(operation))
    return phase


@crop(*_NEAREST, *_LINEAR, applies=_enlarges_by_whole_factors, phase=_phase)
def interpolate_crop(crops: Crops, operation: Operation, region: Region) -> Value:
    """By whole factors. At the border a linear one is divided by the part of its weights that lies in the map.

    There torch uses the border position in place of the one outside, so that it gets both weights. With zero outside it
    gets its own weight alone; dividing by that weight gives the same.
    """
    value, factors = operation.inputs[0], _whole_factors(operation)
    needed, linear = crops.needed(operation, value), _is_linear(operation)
    piece = crops.piece(operation, value, needed, fill=0.0 if linear else None)
    size = [factor * side for factor, side in zip(factors, needed.size, strict=True)]
    args = (piece, size, False) if linear else (piece, size)
    whole = Region(needed.start * np.array(factors), tuple(size))
    func = operation.func.overloadpacket.default
    larger = crops.operation(operation, func, args, {}, crops.new(operation.made, whole))
    middle = crops.narrowed(operation, larger, whole, region)
    if not linear or not needed.crossing(value.shape).any():
        return middle
    weights = [_weights_inside(region, axis, factor, value.shape[2 + axis]) for axis, factor in enumerate(factors)]
    return crops.divided(operation, middle, region, weights)


def _weights_inside(region: Region, axis: int, factor: int, extent: int) -> NDArray[np.float64]:
    """(units, size): how much of a linear interpolation's two weights lies in a map of so many positions."""
    place = (region.start[:, axis, None] + np.arange(region.size[axis]) + 0.5) / factor - 0.5
    first = np.floor(place)
    second = place - first
    inside = (1 - second) * ((first >= 0) & (first < extent)) + second * ((first >= -1) & (first < extent - 1))
    return np.where(inside > 0, inside, 1.0)  # nobody reads positions outside the map


# Shuffles


@window(aten.pixel_shuffle, even=False)
def pixels_from_channels(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    inside = rows.copy()
    inside[:, -3] = (-math.inf, math.inf)
    inside[:, -2:] = np.floor(rows[:, -2:] / operation["upscale_factor"])
    return inside


@window(aten.pixel_unshuffle, even=False)
def channels_from_pixels(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    """One channel reads one pixel of each square; several read the square."""
    factor = operation["downscale_factor"]
    inside: Windows = rows * factor
    inside[:, -3] = (-math.inf, math.inf)
    single = rows[:, -3, 0] == rows[:, -3, 1]
    place = np.where(single, rows[:, -3, 0], 0) % factor**2
    for axis, within in ((-2, place // factor), (-1, place % factor)):
        inside[:, axis, 0] += np.where(single, within, 0)
        inside[:, axis, 1] += np.where(single, within, factor - 1)
    return inside


@mirror(aten.native_channel_shuffle, batchwise=has_batch, local=True)
def shuffled_back(op: Step, signal: Tensor) -> Signals:
    """Channels to where they came from; torch has no derivative for this form."""
    unshuffled: Tensor = signal.unflatten(1, (-1, op["groups"])).transpose(1, 2).flatten(1, 2)
    return unshuffled


window(aten.channel_shuffle, aten.native_channel_shuffle)(channels_mixed)
crop(aten.native_channel_shuffle, applies=same_shape_on_crops)(run_at_each_position)
