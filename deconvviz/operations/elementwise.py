"""Elementwise operations: sums, products with constants, copies, masks and dropout.

All are linear in what carries a signal, or else linearised; the mirror is the exact adjoint. If a factor was broadcast,
the signal is summed to its shape. Windows do not change, and crops run the same operation on the window. What is said
here of *all* pointwise operators of torch (`POINTWISE`) holds for those without a mirror, too: a sigmoid is linearised,
sees the same positions, and runs on crops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deconvviz.operations.conditions import one_factor, one_rank, only, samples_in
from deconvviz.operations.regions import Region
from deconvviz.operations.registry import POINTWISE, crop, masks_and_indices, mirror, outputs, window
from deconvviz.operations.step import Signals, Step
from deconvviz.operations.vector_jacobian import adjoint
from deconvviz.operations.windows import same
from deconvviz.recording.tape import Operation, Value, mapped

if TYPE_CHECKING:
    from deconvviz.projection.crops import Crops

aten: Any = torch.ops.aten


def conjugated(number: Any) -> Any:
    """The factor, a tensor or a number of Python, that stands in the adjoint."""
    return number.conj() if isinstance(number, Tensor) else number.conjugate()


# Sums and products with constants


@mirror(aten.add, local=True)
def distribute(op: Step, signal: Tensor) -> Signals:
    """To both summands, times their factors."""
    alpha = op["alpha"].conjugate()
    return [op.fitted(op["self"], signal), op.fitted(op["other"], signal if alpha == 1 else signal * alpha)]


@mirror(aten.sub, local=True)
def distribute_difference(op: Step, signal: Tensor) -> Signals:
    """To both, the second negated."""
    return [op.fitted(op["self"], signal), op.fitted(op["other"], -op["alpha"].conjugate() * signal)]


mirror(aten.rsub, keeps=masks_and_indices, local=True)(adjoint)


@mirror(aten.neg, local=True)
def negate(op: Step, signal: Tensor) -> Signals:
    return -signal


@mirror(aten.mul, applies=one_factor, keeps=masks_and_indices, local=True)
def times(op: Step, signal: Tensor) -> Signals:
    """Times the other factor, if that carries no signal."""
    factor, other = ("self", "other") if op["self"].carries_signal else ("other", "self")
    number = op.operand(other, op.made)
    return [op.fitted(op[factor], signal * conjugated(number))]


def _is_true_division(operation: Operation) -> bool:
    return operation["rounding_mode"] is None and only("self")(operation)


@mirror(aten.div, applies=_is_true_division, keeps=masks_and_indices, local=True)
def divide(op: Step, signal: Tensor) -> Signals:
    """Divided by the divisor, if that carries no signal."""
    number = op.operand("other", op.made)
    return [op.fitted(op["self"], signal / conjugated(number))]


# Copies, and what is written over


@mirror(aten.clone, aten.detach, aten.alias, aten.lift_fresh, batchwise=True, local=True)
def same_signal(op: Step, signal: Tensor) -> Signals:
    return signal


@mirror(aten._to_copy, applies=lambda operation: not operation["self"].dtype.is_complex, batchwise=True, local=True)
def same_in_its_type(op: Step, signal: Tensor) -> Signals:
    """In the type and on the device of the input."""
    return op.typed(signal, op["self"]).to(op["self"].device)


@mirror(aten.copy, keeps=masks_and_indices, batchwise=one_rank, local=True)
def copied(op: Step, signal: Tensor) -> Signals:
    """To the source; what was written over gets nothing."""
    return [op.fitted(op["src"], signal)]


@mirror(aten.fill, aten.zero, batchwise=samples_in("self"), local=True)
def erased(op: Step, signal: Tensor) -> Signals:
    """The sum to the value that was written everywhere; what was written over gets nothing."""
    return [op.fitted(op["value"], signal)]


@mirror(aten.masked_fill, applies=only("self"), keeps=masks_and_indices, own=True, local=True)
def leave_out(op: Step, signal: Tensor) -> Signals:
    """Zero where the mask filled."""
    mask = op.operand("mask", op.made)
    return [op.fitted(op["self"], signal.masked_fill_(mask, 0) if op.writable else signal.masked_fill(mask, 0))]


mirror(aten.where, keeps=masks_and_indices, local=True)(adjoint)


@mirror(aten.native_dropout, keeps=outputs(1), batchwise=True)
def as_it_was_dropped(op: Step, signal: Tensor, _: Tensor | None) -> Signals:
    """Times the mask that was drawn, and the factor that makes up for it."""
    kept = 1 - op["p"] if op["train"] is not False else 1.0
    return signal * op.data(op.output(1)) / kept if kept else torch.zeros_like(signal)


# Windows and crops

_COPIES = (aten.clone, aten.detach, aten.alias, aten._to_copy)

window(POINTWISE, *_COPIES, aten.lift_fresh, aten.copy)(same)


def same_shape_on_crops(operation: Operation) -> bool:
    """Whether inputs and output have the same positions, and an axis that is named is that of the channels."""
    output, dim = operation.made, operation["dim"]
    if isinstance(dim, int) and dim % len(output.shape) != 1:
        return False
    return all(value.shape[2:] == output.shape[2:] for value in operation.inputs)


@crop(POINTWISE, *_COPIES, applies=same_shape_on_crops)
def run_at_each_position(crops: Crops, operation: Operation, region: Region) -> Value:
    """The same operation on the windows."""
    output = operation.made

    def placed(value: Value) -> Value:
        return crops.piece(operation, value, region) if value.tracked else crops.argument(operation, value)

    args, kwargs = mapped(operation.args, placed, Value), mapped(operation.kwargs, placed, Value)
    new = [
        crops.new(value, region) if value is not None and len(value.shape) == len(output.shape) else None
        for value in operation.outputs
    ]
    for value, piece in zip(operation.outputs, new, strict=True):
        if value is not None and piece is not None:
            crops.values[value.id] = piece
    return crops.operation(operation, operation.func, args, dict(kwargs), *new)
