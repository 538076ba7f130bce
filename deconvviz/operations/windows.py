"""How the window that a unit sees passes backwards through each operation.

A *window* is the stretch of positions, first to last, along each axis of a value. Through a convolution or
pooling it grows as

    first' = first * stride - padding,    last' = last * stride - padding + dilation * (kernel - 1),

through a pointwise operation it stays, and where branches meet it is the hull. Windows are floating-point
numbers, so that "everything" is -inf to inf and "nothing" is inf to -inf; many units (rows) travel together. An
operation that is not known to be local sees everything.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from deconvviz.operations.mirrors import BATCH_NORMS, POOLS, RECTIFIERS
from deconvviz.operations.plumbing import RESHAPES
from deconvviz.recording.tape import Operation, Tape, Value

aten: Any = torch.ops.aten
Windows = NDArray[np.float64]  # (rows, axes, 2)
WindowRule = Callable[[Operation, Value, Value, Windows], Windows]
_RULES: dict[Any, WindowRule] = {}


def windows_at_inputs(tape: Tape, starts: dict[int, Windows]) -> dict[int, Windows]:
    """Carry windows from values (by id, all with the same number of rows) to the tape's inputs."""
    count = len(next(iter(starts.values()))) if starts else 0
    windows = dict(starts)
    for operation in reversed(tape.operations):
        for made in operation.outputs:
            if made is None or made.id not in windows:
                continue
            rows = windows.pop(made.id)
            empty = (rows[..., 0] > rows[..., 1]).any(axis=1)
            for value in dict.fromkeys(operation.inputs):
                inside = rule_for(operation, value)(operation, value, made, rows)
                inside[empty | (inside[..., 0] > inside[..., 1]).any(axis=1)] = (math.inf, -math.inf)
                known = windows.get(value.id)
                windows[value.id] = inside if known is None else _hull(known, inside)
    return {v.id: windows.get(v.id, nothing_seen(count, len(v.shape))) for v in tape.inputs}


def _hull(one: Windows, other: Windows) -> Windows:
    return np.stack([np.minimum(one[..., 0], other[..., 0]), np.maximum(one[..., 1], other[..., 1])], axis=-1)


def everything_seen(rows: int, axes: int) -> Windows:
    return np.tile(np.array([-math.inf, math.inf]), (rows, axes, 1))


def nothing_seen(rows: int, axes: int) -> Windows:
    return np.tile(np.array([math.inf, -math.inf]), (rows, axes, 1))


def _is_weight(operation: Operation, value: Value) -> bool:
    """Whether it serves, perhaps beside something else, as a weight that all positions share."""
    if torch.Tag.pointwise in getattr(operation.func, "tags", ()):
        return False
    return any(operation[name] is value for name in ("weight", "bias", "running_mean", "running_var"))


# How windows pass through operations: (operation, input, output, windows at the output) -> windows at the input


def rule_for(operation: Operation, value: Value) -> WindowRule:
    if _is_weight(operation, value):
        return everything
    """How windows pass through an operation."""
    func = operation.func
    for key in (func, getattr(func, "overloadpacket", None)):
        if key in _RULES:
            return _RULES[key]
    return same if torch.Tag.pointwise in getattr(func, "tags", ()) else everything


def passes(*operations: Any) -> Callable[[WindowRule], WindowRule]:
    """Register the decorated function for `operations`."""

    def register(rule: WindowRule) -> WindowRule:
        _RULES.update(dict.fromkeys(operations, rule))
        return rule

    return register


def everything(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    return everything_seen(len(rows), len(value.shape))


_COPIES = (aten.clone, aten.detach, aten.alias, aten.lift_fresh, aten._to_copy, aten.copy, aten.expand)
_CONJUGATES = (aten._conj, aten._conj_physical, aten._neg_view, aten.resolve_conj, aten.resolve_neg)


@passes(*BATCH_NORMS, *RECTIFIERS, *_COPIES, *_CONJUGATES, F.local_response_norm)
def same(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    """Pointwise, with the axes aligned at the end as in broadcasting."""
    inside = everything_seen(len(rows), len(value.shape))
    for axis in range(-min(len(value.shape), len(made.shape)), 0):
        if value.shape[axis] == made.shape[axis]:
            inside[:, axis] = rows[:, axis]
    return inside


def per_axis(given: Any, rank: int, default: Any = 1) -> list[int]:
    """An argument of a convolution or pooling, one number per spatial axis."""
    numbers = list(given) if isinstance(given, (list, tuple)) else [given]
    if not numbers or numbers == [None]:
        return per_axis(default, rank)
    return numbers * rank if len(numbers) == 1 else numbers


@passes(aten.convolution)
def filtered(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    rank = len(value.shape) - 2
    kernel = operation["weight"].shape[2:]
    stride, padding, dilation = (per_axis(operation[n], rank) for n in ("stride", "padding", "dilation"))
    inside = everything_seen(len(rows), len(value.shape))
    for axis in range(rank):
        reach = dilation[axis] * (kernel[axis] - 1)
        first, last = rows[:, axis + 2, 0], rows[:, axis + 2, 1]
        if operation["transposed"]:
            inside[:, axis + 2, 0] = np.ceil((first + padding[axis] - reach) / stride[axis])
            inside[:, axis + 2, 1] = np.floor((last + padding[axis]) / stride[axis])
        else:
            inside[:, axis + 2, 0] = first * stride[axis] - padding[axis]
            inside[:, axis + 2, 1] = last * stride[axis] - padding[axis] + reach
    return inside


@passes(*(p for p in POOLS if "kernel_size" in str(p.default._schema) and "fractional" not in str(p)))
@passes(aten.avg_pool1d, aten.avg_pool2d, aten.avg_pool3d)
def pooled(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    rank = int(operation.label.split("pool")[1][0])
    kernel = per_axis(operation["kernel_size"], rank)
    stride = per_axis(operation["stride"], rank, kernel)
    padding, dilation = per_axis(operation["padding"], rank), per_axis(operation["dilation"], rank)
    inside = rows.copy()
    for axis in range(rank):
        first, last = rows[:, axis - rank, 0], rows[:, axis - rank, 1]
        inside[:, axis - rank, 0] = first * stride[axis] - padding[axis]
        inside[:, axis - rank, 1] = last * stride[axis] - padding[axis] + dilation[axis] * (kernel[axis] - 1)
    return inside


@passes(aten.adaptive_max_pool2d, aten.adaptive_max_pool3d)
@passes(aten.adaptive_avg_pool1d, aten._adaptive_avg_pool2d, aten._adaptive_avg_pool3d)
def adaptively_pooled(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    inside = rows.copy()
    for axis in range(-len(operation["output_size"]), 0):
        ratio = value.shape[axis] / made.shape[axis]
        inside[:, axis, 0] = np.floor(rows[:, axis, 0] * ratio)
        inside[:, axis, 1] = np.ceil((rows[:, axis, 1] + 1) * ratio) - 1
    return _whole_where_single(inside, made)


def _whole_where_single(inside: Windows, made: Value) -> Windows:
    """Global pooling sees everything, not just the size that this input happens to have."""
    for axis, size in enumerate(made.shape):
        if axis >= 2 and size == 1:
            inside[:, axis] = (-math.inf, math.inf)
    return inside


_SCALES = {1: ("scales",), 2: ("scales_h", "scales_w"), 3: ("scales_d", "scales_h", "scales_w")}


def scale_factors(operation: Operation) -> list[float | None]:
    """By how much an interpolation was asked to enlarge, per spatial axis; None where it was asked for a size."""
    names = _SCALES[len(operation.made.shape) - 2]
    return list(operation["scale_factors"] or [operation[name] for name in names])


@passes(aten.upsample_nearest1d, aten.upsample_nearest2d, aten.upsample_nearest3d)
@passes(aten._upsample_nearest_exact1d, aten._upsample_nearest_exact2d, aten._upsample_nearest_exact3d)
@passes(aten.upsample_linear1d, aten.upsample_bilinear2d, aten.upsample_trilinear3d, aten.upsample_bicubic2d)
def interpolated(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    """Nearest: the source position; linear: its two neighbours; cubic: four of them."""
    rank = len(value.shape) - 2
    exact, cubic = "exact" in operation.label, "cubic" in operation.label
    nearest = "nearest" in operation.label
    factors = scale_factors(operation)
    inside = rows.copy()
    for axis in range(2, rank + 2):
        size, target, factor = value.shape[axis], made.shape[axis], factors[axis - 2]
        if nearest:
            sources = nearest_sources(exact, value.shape[2:], made.shape[2:], tuple(factors))
            inside[:, axis] = _nearest(rows[:, axis], sources[axis - 2], size)
            continue
        ratio = 1 / factor if factor else size / target
        shift = 0.5 * ratio - 0.5
        if operation["align_corners"]:
            ratio, shift = (size - 1) / max(1, target - 1), 0.0
        first, last = np.floor(rows[:, axis] * max(ratio, 1e-9) + shift).T
        inside[:, axis, 0] = first - (1 if cubic else 0)
        inside[:, axis, 1] = last + (2 if cubic else 1)
    return inside


Factors = tuple[float | None, ...]


@functools.lru_cache(64)
def nearest_sources(
    exact: bool, sizes: tuple[int, ...], targets: tuple[int, ...], factors: Factors
) -> list[NDArray[np.float64]]:
    """Per axis (target, 2): the first and the last position that nearest interpolation may take each position from.

    torch is asked, since it multiplies by a ratio that is rounded, in single or double precision as the layout may be,
    and not at all where no size changes.
    """
    rank = len(sizes)
    function = getattr(aten, f"{'_upsample_nearest_exact' if exact else 'upsample_nearest'}{rank}d").default
    last = {2: torch.channels_last, 3: torch.channels_last_3d}.get(rank, torch.contiguous_format)
    found = []
    for axis, size in enumerate(sizes):
        places = torch.arange(size, device="cpu").view(-1, *[1] * (rank - 1 - axis)).expand(1, 2, *sizes)
        kinds = (
            (torch.float32, torch.contiguous_format),
            (torch.float64, torch.contiguous_format),
            (torch.float32, last),
        )
        taken = torch.stack(
            [function(places.to(t).contiguous(memory_format=m), targets, *factors).double() for t, m in kinds]
        )
        along = taken[:, 0, 0].movedim(axis + 1, 1).reshape(len(kinds), targets[axis], -1)[:, :, 0]
        found.append(np.stack([along.amin(0).numpy(), along.amax(0).numpy()], 1))
    return found


def _nearest(rows: NDArray[np.float64], sources: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Windows (rows, 2) as windows of the sources; outside of the map they go on as inside."""
    target = len(sources)
    finite = np.where(np.isfinite(rows), rows, 0).astype(np.int64)
    inside = np.clip(finite, 0, target - 1)
    found = np.stack([sources[inside[:, 0], 0], sources[inside[:, 1], 1]], 1)
    return np.where(np.isfinite(rows), found + np.floor((finite - inside) * size / target), rows)


# Places


@passes(*RESHAPES)
def reshaped(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    """An axis that stays an axis keeps its window; axes that are merged or split see everything."""
    inside = everything_seen(len(rows), len(value.shape))
    for old, new in axis_groups(value.shape, made.shape):
        wide_old = [axis for axis in old if value.shape[axis] > 1]
        wide_new = [axis for axis in new if made.shape[axis] > 1]
        if len(wide_old) == len(wide_new) == 1:
            inside[:, wide_old[0]] = rows[:, wide_new[0]]
    return inside


def axis_groups(old: tuple[int, ...], new: tuple[int, ...]) -> Iterable[tuple[list[int], list[int]]]:
    """The smallest runs of axes of two shapes that hold the same number of elements."""
    i = j = 0
    while i < len(old) or j < len(new):
        left, right = [i] if i < len(old) else [], [j] if j < len(new) else []
        i, j = i + len(left), j + len(right)
        while (a := math.prod(old[k] for k in left)) != (b := math.prod(new[k] for k in right)):
            if a < b:
                left.append(i)
                i += 1
            else:
                right.append(j)
                j += 1
        yield left, right


def permutation(operation: Operation) -> list[int]:
    """Which axis of the input each axis of the output is."""
    axes = list(range(len(operation.inputs[0].shape)))
    if operation.label == "aten.permute":
        return [dim % len(axes) for dim in operation["dims"]]
    one, other = operation["dim0"] or 0, operation["dim1"] if operation["dim1"] is not None else 1
    axes[one], axes[other] = axes[other], axes[one]
    return axes


@passes(aten.permute, aten.transpose, aten.t)
def permuted(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    inside = np.empty_like(rows)
    inside[:, permutation(operation)] = rows
    return inside


@passes(aten.slice)
def sliced(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    axis = operation["dim"] % len(value.shape)
    size, start, step = value.shape[axis], operation["start"] or 0, operation["step"]
    inside = rows.copy()
    inside[:, axis] = rows[:, axis] * step + (max(0, start + size) if start < 0 else min(start, size))
    return inside


@passes(aten.select, aten.unbind)
def selected(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    axis = operation["dim"] % len(value.shape)
    index = operation["index"] if operation.label == "aten.select" else operation.outputs.index(made)
    return np.insert(rows, axis, (index % value.shape[axis]), axis=1)


@passes(aten.split, aten.unsafe_split, aten.split_with_sizes)
def split(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    axis = operation["dim"] % len(value.shape)
    before = operation.outputs[: operation.outputs.index(made)]
    inside = rows.copy()
    inside[:, axis] += sum(part.shape[axis] for part in before if part is not None)
    return inside


@passes(aten.cat)
def joined(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    """The part of the window that lies in this input, or nothing; a value joined twice gets the hull."""
    axis = operation["dim"] % len(made.shape)
    inside, start = nothing_seen(len(rows), len(value.shape)), 0
    for part in operation["tensors"]:
        if part is value:
            here = rows.copy()
            here[:, axis, 0] = np.maximum(rows[:, axis, 0] - start, 0)
            here[:, axis, 1] = np.minimum(rows[:, axis, 1] - start, part.shape[axis] - 1)
            here[here[:, axis, 0] > here[:, axis, 1]] = (math.inf, -math.inf)
            inside = _hull(inside, here)
        start += part.shape[axis]
    return inside


@passes(aten.constant_pad_nd)
def padded(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    inside = rows.copy()
    for position, before in enumerate(operation["pad"][::2]):
        inside[:, -1 - position] -= before
    return inside


@passes(aten.mean, aten.sum, aten.amax, aten.amin)
def reduced(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    """The reduced axes see everything, the others stay."""
    rank = len(value.shape)
    dims = operation["dim"] if operation["dim"] not in (None, []) else range(rank)
    gone = {dim % rank for dim in ([dims] if isinstance(dims, int) else dims)}
    inside = everything_seen(len(rows), rank)
    stays = [axis for axis in range(rank) if axis not in gone]
    kept = stays if len(made.shape) == rank else range(len(stays))
    for axis, source in zip(stays, kept, strict=True):
        inside[:, axis] = rows[:, source]
    return inside


@passes(aten._softmax, aten._log_softmax, aten.cumsum, aten.index_select, aten.roll, aten.flip, aten.gather)
def along_an_axis(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    """Everything along the axes the operation works on."""
    dims = operation["dim"] if operation["dim"] is not None else operation["dims"]
    inside = rows.copy()
    for dim in [dims] if isinstance(dims, int) else dims:
        inside[:, dim] = (-math.inf, math.inf)
    return inside if dims != [] else everything_seen(len(rows), len(value.shape))


@passes(F.linear, aten.native_layer_norm)
def along_the_last(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    inside = rows.copy()
    inside[:, -len(operation["normalized_shape"] or [1]) :] = (-math.inf, math.inf)
    return inside


@passes(aten.pixel_shuffle)
def pixels_spread(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    inside = rows.copy()
    inside[:, -3] = (-math.inf, math.inf)
    inside[:, -2:] = np.floor(rows[:, -2:] / operation["upscale_factor"])
    return inside


@passes(aten.pixel_unshuffle)
def pixels_gathered(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    """One channel reads one place of each square; several read the square."""
    factor = operation["downscale_factor"]
    inside: Windows = rows * factor
    inside[:, -3] = (-math.inf, math.inf)
    one = rows[:, -3, 0] == rows[:, -3, 1]
    place = np.where(one, rows[:, -3, 0], 0) % factor**2
    for axis, within in ((-2, place // factor), (-1, place % factor)):
        inside[:, axis, 0] += np.where(one, within, 0)
        inside[:, axis, 1] += np.where(one, within, factor - 1)
    return inside


@passes(aten.channel_shuffle, aten.native_channel_shuffle)
def channels_mixed(operation: Operation, value: Value, made: Value, rows: Windows) -> Windows:
    inside = rows.copy()
    inside[:, 1] = (-math.inf, math.inf)
    return inside


# Where the ends of a window move in equal steps


_STRAIGHT = {everything, same, pooled, reshaped, permuted, sliced, selected, split, padded, reduced}
_STRAIGHT |= {along_an_axis, along_the_last, channels_mixed}


def straight(operation: Operation, value: Value, made: Value, moving: Sequence[int]) -> bool:
    """Whether windows that move along these axes of the output move along with it in the input, by equal steps.

    False where positions are rounded, or windows cut at the ends of a map.
    """
    rule = rule_for(operation, value)
    if rule is filtered:
        return not operation["transposed"] or set(operation["stride"]) == {1}
    if rule is joined:
        return operation["dim"] % len(made.shape) not in moving
    if rule is adaptively_pooled:
        sizes = zip(value.shape, made.shape, strict=True)
        return all(before % after == 0 for before, after in sizes)
    return rule in _STRAIGHT
