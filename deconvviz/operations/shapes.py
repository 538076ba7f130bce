"""Shapes: reshapes, permutations, and taking apart or joining along an axis.

All are linear: the mirror puts each value of the signal back where it came from. Windows follow the axes: an axis that
stays an axis keeps its window, axes that are merged or split see everything. Only what works along the channels runs on
crops. Samples stay apart unless axis 0 is moved, cut or joined.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deconvviz.operations.conditions import one_rank
from deconvviz.operations.elementwise import run_at_each_position, same_shape_on_crops
from deconvviz.operations.registry import channels, crop, mirror, window
from deconvviz.operations.step import Signals, Step
from deconvviz.operations.vector_jacobian import adjoint
from deconvviz.operations.windows import Windows, along_an_axis, bounding, everything_seen, nothing_seen, same
from deconvviz.recording.tape import Operation, Value

aten: Any = torch.ops.aten

# Reshapes

RESHAPES = (aten.view.default, aten._unsafe_view, aten._reshape_alias, aten.squeeze, aten.unsqueeze)


def is_reshape(operation: Operation) -> bool:
    """Whether an operation only gives its input another shape, in the same order."""
    return operation.func in RESHAPES or getattr(operation.func, "overloadpacket", None) in RESHAPES


def _has_whole_samples(operation: Operation, samples: int) -> bool:
    """Both shapes have whole samples along axis 0, which a reshape leaves in order."""
    return all(value.shape and value.shape[0] % samples == 0 for value in (operation["self"], operation.made))


@mirror(*RESHAPES, batchwise=_has_whole_samples)
def reshape(op: Step, signal: Tensor) -> Signals:
    """To the shape of the input."""
    return signal.reshape(op.shape(op["self"]))


@window(*RESHAPES)
def reshaped(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    """An axis that stays an axis keeps its window; axes that are merged or split see everything."""
    inside = everything_seen(len(rows), len(value.shape))
    for old, new in axis_groups(value.shape, output.shape):
        wide_old = [axis for axis in old if value.shape[axis] > 1]
        wide_new = [axis for axis in new if output.shape[axis] > 1]
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


def _channels_reshaped(operation: Operation, output: Value, before: int) -> int:
    for old, new in axis_groups(operation.inputs[0].shape, output.shape):
        if before in old and new:
            return new[min(old.index(before), len(new) - 1)]
    return min(1, len(output.shape) - 1)


channels(*RESHAPES, axis=_channels_reshaped)

# Permutations


def permutation(operation: Operation) -> list[int]:
    """Which axis of the input each axis of the output is."""
    axes = list(range(len(operation.inputs[0].shape)))
    if operation.label == "aten.permute":
        return [dim % len(axes) for dim in operation["dims"]]
    first, second = operation["dim0"] or 0, operation["dim1"] if operation["dim1"] is not None else 1
    axes[first], axes[second] = axes[second], axes[first]
    return axes


def _leaves_samples(operation: Operation, samples: int) -> bool:
    return bool(operation["dims"][0] % len(operation["dims"]) == 0)


mirror(aten.permute, batchwise=_leaves_samples)(adjoint)
mirror(aten.transpose, aten.t)(adjoint)


@window(aten.permute, aten.transpose, aten.t)
def permuted(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    inside = np.empty_like(rows)
    inside[:, permutation(operation)] = rows
    return inside


channels(aten.permute, aten.transpose, axis=lambda operation, output, before: permutation(operation).index(before))

# Broadcasting and repeating


@mirror(aten.expand, batchwise=one_rank)
def contract(op: Step, signal: Tensor) -> Signals:
    """Summed over what was repeated."""
    return [op.fitted(op["self"], signal)]


window(aten.expand)(same)
mirror(aten.repeat, batchwise=False)(adjoint)
mirror(aten.flip, aten.roll, aten.unfold, aten.diagonal)(adjoint)
window(aten.flip, aten.roll)(along_an_axis)
mirror(aten.tril, aten.triu, batchwise=lambda operation, samples: len(operation["self"].shape) > 2)(adjoint)

# Joining


@mirror(aten.cat, local=True)
def take_apart(op: Step, signal: Tensor) -> Signals:
    """Each part to its input."""
    parts = op["tensors"]
    return list(zip(parts, signal.split([part.shape[op["dim"]] for part in parts], op["dim"]), strict=True))


@window(aten.cat, even=lambda operation, value, output, moving: operation["dim"] % len(output.shape) not in moving)
def joined(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    """The part of the window that lies in this input, or nothing. A value joined twice gets the bounding box."""
    axis = operation["dim"] % len(output.shape)
    inside, start = nothing_seen(len(rows), len(value.shape)), 0
    for part in operation["tensors"]:
        if part is value:
            part_rows = rows.copy()
            part_rows[:, axis, 0] = np.maximum(rows[:, axis, 0] - start, 0)
            part_rows[:, axis, 1] = np.minimum(rows[:, axis, 1] - start, part.shape[axis] - 1)
            part_rows[part_rows[:, axis, 0] > part_rows[:, axis, 1]] = (math.inf, -math.inf)
            inside = bounding(inside, part_rows)
        start += part.shape[axis]
    return inside


@mirror(aten.stack, batchwise=lambda operation, samples: operation["dim"] % len(operation.made.shape) != 0)
def take_slices(op: Step, signal: Tensor) -> Signals:
    """Each slice to its input."""
    return list(zip(op["tensors"], signal.unbind(op["dim"]), strict=True))


def _channels_stacked(operation: Operation, output: Value, before: int) -> int:
    return before + int(operation["dim"] % len(output.shape) <= before)


channels(aten.stack, axis=_channels_stacked)

# Taking a part


def _put_into(op: Step, signal: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
    """The signal added to its part of what has arrived at the input so far, or of zeros."""
    whole = op.taken(op["self"])
    if whole is None:
        whole = signal.new_zeros(op.shape(op["self"]))
    place = part(whole)
    place += signal
    return whole


def _along_others(operation: Operation, samples: int) -> bool:
    """A slice leaves axis 0 alone, or takes it whole without naming its length."""
    if operation["dim"] % len(operation["self"].shape):
        return True
    return operation["start"] in (None, 0) and (operation["end"] or 1 << 62) > 1 << 60 and operation["step"] == 1


@mirror(aten.slice, batchwise=_along_others, own=True, local=True)
def put_slice_back(op: Step, signal: Tensor) -> Signals:
    """Into its place, zero elsewhere."""
    return _put_into(op, signal, lambda whole: aten.slice(whole, op["dim"], op["start"], op["end"], op["step"]))


@window(aten.slice)
def sliced(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    axis = operation["dim"] % len(value.shape)
    size, start, step = value.shape[axis], operation["start"] or 0, operation["step"]
    inside = rows.copy()
    inside[:, axis] = rows[:, axis] * step + (max(0, start + size) if start < 0 else min(start, size))
    return inside


@mirror(aten.select, own=True)
def put_one_back(op: Step, signal: Tensor) -> Signals:
    """Into its place, zero elsewhere."""
    return _put_into(op, signal, lambda whole: whole.select(op["dim"], op["index"]))


@window(aten.select, aten.unbind)
def selected(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    axis = operation["dim"] % len(value.shape)
    index = operation["index"] if operation.label == "aten.select" else operation.outputs.index(output)
    return np.insert(rows, axis, (index % value.shape[axis]), axis=1)


_SPLITS = (aten.split, aten.unsafe_split, aten.split_with_sizes)

mirror(*_SPLITS, local=True)(adjoint)
mirror(aten.unbind)(adjoint)


@window(*_SPLITS)
def split(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    axis = operation["dim"] % len(value.shape)
    before = operation.outputs[: operation.outputs.index(output)]
    inside = rows.copy()
    inside[:, axis] += sum(part.shape[axis] for part in before if part is not None)
    return inside


crop(aten.cat, aten.slice, *_SPLITS, applies=same_shape_on_crops)(run_at_each_position)

# Patches


def _has_samples(operation: Operation, samples: int) -> bool:
    return len(operation["self"].shape) == 3


def _is_image_batch(operation: Operation, samples: int) -> bool:
    return len(operation["self"].shape) == 4


mirror(aten.im2col, batchwise=_is_image_batch)(adjoint)
mirror(aten.col2im, batchwise=_has_samples)(adjoint)
