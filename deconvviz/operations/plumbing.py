"""The mirrors of what carries signals about: sums, products with constants, shapes and places.

All of these are linear, so their mirror is the exact adjoint. Those that every network is full of are written
out; the others leave it to `adjoint`, and only say when samples stay apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from deconvviz.operations.mirrors import conjugated, has_batch, one_factor, only, samples_in, values_in
from deconvviz.operations.registry import Signals, Step, adjoint, masks_and_indices, mirror
from deconvviz.recording.aliasing import Place, common, overwritten, place_in, reread, shown, stored, whole_place
from deconvviz.recording.tape import Operation, Value

aten: Any = torch.ops.aten

# Sums and products with constants


@mirror(aten.add)
def distribute(op: Step, signal: Tensor) -> Signals:
    alpha = op["alpha"].conjugate()
    return [op.fitted(op["self"], signal), op.fitted(op["other"], signal if alpha == 1 else signal * alpha)]


@mirror(aten.sub)
def distribute_difference(op: Step, signal: Tensor) -> Signals:
    return [op.fitted(op["self"], signal), op.fitted(op["other"], -op["alpha"].conjugate() * signal)]


@mirror(aten.neg)
def negate(op: Step, signal: Tensor) -> Signals:
    return -signal


@mirror(aten.mul, applies=one_factor, keeps=masks_and_indices)
def times(op: Step, signal: Tensor) -> Signals:
    factor, other = ("self", "other") if op["self"].carries_signal else ("other", "self")
    number = op.operand(other, op.made)
    return [op.fitted(op[factor], signal * conjugated(number))]


@mirror(
    aten.div,
    applies=lambda operation: operation["rounding_mode"] is None and only("self")(operation),
    keeps=masks_and_indices,
)
def divide(op: Step, signal: Tensor) -> Signals:
    number = op.operand("other", op.made)
    return [op.fitted(op["self"], signal / conjugated(number))]


# Shapes and places


RESHAPES = (aten.view.default, aten._unsafe_view, aten._reshape_alias, aten.squeeze, aten.unsqueeze)


def _whole_samples(operation: Operation, samples: int) -> bool:
    """Both shapes have whole samples along axis 0, which a reshape leaves in order."""
    return all(value.shape and value.shape[0] % samples == 0 for value in (operation["self"], operation.made))


@mirror(*RESHAPES, batchwise=_whole_samples)
def reshape(op: Step, signal: Tensor) -> Signals:
    return signal.reshape(op.shape(op["self"]))


@mirror(aten.clone, aten.detach, aten.alias, aten.lift_fresh, batchwise=True)
def same(op: Step, signal: Tensor) -> Signals:
    return signal


@mirror(aten._to_copy, applies=lambda operation: not operation["self"].dtype.is_complex, batchwise=True)
def same_in_its_type(op: Step, signal: Tensor) -> Signals:
    return op.typed(signal, op["self"]).to(op["self"].device)


@mirror(aten.copy, keeps=masks_and_indices, batchwise=lambda operation, samples: _one_rank(operation))
def copied(op: Step, signal: Tensor) -> Signals:
    """What was written over gets nothing."""
    return [op.fitted(op["src"], signal)]


def _one_rank(operation: Operation) -> bool:
    values = [*operation.inputs, *(value for value in operation.outputs if value)]
    return len({(len(value.shape), value.shape[:1]) for value in values}) == 1


@mirror(aten.fill, aten.zero, batchwise=samples_in("self"))
def erased(op: Step, signal: Tensor) -> Signals:
    """What was written over gets nothing, and a value that was written everywhere gets the sum."""
    return [op.fitted(op["value"], signal)]


@mirror(aten.masked_fill, applies=only("self"), keeps=masks_and_indices, own=True)
def leave_out(op: Step, signal: Tensor) -> Signals:
    """What was filled gets nothing."""
    mask = op.operand("mask", op.made)
    return [op.fitted(op["self"], signal.masked_fill_(mask, 0) if op.writable else signal.masked_fill(mask, 0))]


@mirror(aten.cat)
def take_apart(op: Step, signal: Tensor) -> Signals:
    parts = op["tensors"]
    return list(zip(parts, signal.split([part.shape[op["dim"]] for part in parts], op["dim"]), strict=True))


@mirror(aten.stack, batchwise=lambda operation, samples: operation["dim"] % len(operation.made.shape) != 0)
def take_slices(op: Step, signal: Tensor) -> Signals:
    return list(zip(op["tensors"], signal.unbind(op["dim"]), strict=True))


@mirror(aten.expand, batchwise=lambda operation, samples: _one_rank(operation))
def contract(op: Step, signal: Tensor) -> Signals:
    return [op.fitted(op["self"], signal)]


def _along_others(operation: Operation, samples: int) -> bool:
    """A slice leaves axis 0 alone, or takes it whole without naming its length."""
    if operation["dim"] % len(operation["self"].shape):
        return True
    return operation["start"] in (None, 0) and (operation["end"] or 1 << 62) > 1 << 60 and operation["step"] == 1


def _put_into(op: Step, signal: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
    """The signal in its part of what has arrived at the input so far, or of zeros."""
    whole = op.taken(op["self"])
    if whole is None:
        whole = signal.new_zeros(op.shape(op["self"]))
    place = part(whole)
    place += signal
    return whole


@mirror(aten.slice, batchwise=_along_others, own=True)
def put_slice_back(op: Step, signal: Tensor) -> Signals:
    return _put_into(op, signal, lambda whole: aten.slice(whole, op["dim"], op["start"], op["end"], op["step"]))


@mirror(aten.select, own=True)
def put_one_back(op: Step, signal: Tensor) -> Signals:
    return _put_into(op, signal, lambda whole: whole.select(op["dim"], op["index"]))


mirror(aten.permute, batchwise=lambda operation, samples: operation["dims"][0] % len(operation["dims"]) == 0)(adjoint)
mirror(
    *(aten.split, aten.unsafe_split, aten.split_with_sizes, aten.unbind, aten.transpose, aten.t),
    *(aten.flip, aten.roll, aten.unfold, aten.diagonal, aten.index_select, aten.gather, aten.cumsum),
    *(aten.slice_scatter, aten.select_scatter, aten.scatter, aten.scatter_add, aten.index_add, aten.index_copy),
    *(aten.sum, aten.mean, aten.where, aten.rsub),
    keeps=masks_and_indices,
)(adjoint)
mirror(aten.tril, aten.triu, batchwise=lambda operation, samples: len(operation["self"].shape) > 2)(adjoint)
mirror(*(aten.repeat, aten.masked_scatter, aten.index_put, aten.take), keeps=masks_and_indices, batchwise=False)(
    adjoint
)
mirror(aten.dot, aten.mv, applies=one_factor, batchwise=False)(adjoint)


# Complex numbers


mirror(aten._conj, aten._conj_physical, aten._neg_view, batchwise=True)(adjoint)
mirror(aten.resolve_conj, aten.resolve_neg, aten.real, aten.imag, batchwise=True)(adjoint)


@mirror(aten.view_as_real, batchwise=lambda operation, samples: len(operation["self"].shape) > 0)
def parts_joined(op: Step, signal: Tensor) -> Signals:
    return torch.view_as_complex(signal.contiguous())


@mirror(aten.view_as_complex, batchwise=lambda operation, samples: len(operation["self"].shape) > 1)
def in_parts(op: Step, signal: Tensor) -> Signals:
    return torch.view_as_real(signal.resolve_conj())


# Storage that was written in place: see deconvviz.recording.aliasing


def _samples_alike(operation: Operation, samples: int) -> bool:
    return place_in(*common(operation["root_geometry"], operation["geometry"]), samples) is not None


def _placed(op: Step) -> tuple[int, Place]:
    """How many samples the signal holds, and where each has the elements that were read or written."""
    root, asked = common(op["root_geometry"], op["geometry"])
    if op.samples is None:
        return 1, whole_place(root, asked)
    place = place_in(root, asked, op.tape.samples)
    assert place is not None
    return len(op.samples), place


@mirror(reread, batchwise=_samples_alike, own=True)
def put_back(op: Step, signal: Tensor) -> Signals:
    """Each element to where it was read; what was read outside of the root is constant."""
    samples, place = _placed(op)
    root, asked = op["root_geometry"], op["geometry"]
    numbers = stored(signal, asked, root)
    arrived = op.taken(op["root"])
    if arrived is None:
        flat = numbers.new_zeros((samples, math.prod(place.rows)))
    else:
        flat = place.laid_out(stored(arrived, root, asked), samples)
    place.add(flat, numbers)
    return shown(place.as_root(flat, _shape(op, op["root"], common(root, asked)[0].size)), root, asked)


def _shape(op: Step, value: Value, size: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of signals at `value`, with the parts of complex numbers last where `size` has them."""
    return (*op.shape(value), *size[len(value.shape) :])


@mirror(overwritten, batchwise=_samples_alike, own=True)
def split_off(op: Step, signal: Tensor) -> Signals:
    """The part that was written, and the rest, which is zero there."""
    samples, place = _placed(op)
    root, asked = op["root_geometry"], op["geometry"]
    whole, written = (geometry.size for geometry in common(root, asked))
    flat = place.laid_out(stored(signal, root, asked), samples)
    part = shown(place.read(flat).view(_shape(op, op["part"], written)), asked, root)
    if op["root"] is None:
        return [(op["part"], part)]
    if flat.data_ptr() == signal.data_ptr() and not op.writable:
        flat = flat.clone()
    place.write(flat, 0)
    return [(op["part"], part), (op["root"], shown(place.as_root(flat, _shape(op, op["root"], whole)), root, asked))]


def _index_behind_batch(operation: Operation, samples: int) -> bool:
    """Constant indices side by side, none of them for axis 0."""
    given = [position for position, index in enumerate(operation["indices"]) if index is not None]
    constant = not any(value.tracked for value in values_in(operation["indices"]))
    return constant and given[0] > 0 and given == list(range(given[0], given[-1] + 1))


mirror(aten.index, keeps=masks_and_indices, batchwise=_index_behind_batch)(adjoint)
mirror(
    aten.constant_pad_nd, batchwise=lambda operation, samples: len(operation["pad"]) < 2 * len(operation["self"].shape)
)(adjoint)

mirror(
    *(aten.reflection_pad1d, aten.reflection_pad2d, aten.reflection_pad3d),
    *(aten.replication_pad1d, aten.replication_pad2d, aten.replication_pad3d),
    *(aten.upsample_nearest1d, aten.upsample_nearest2d, aten.upsample_nearest3d),
    *(aten._upsample_nearest_exact1d, aten._upsample_nearest_exact2d, aten._upsample_nearest_exact3d),
    *(aten.upsample_linear1d, aten.upsample_bilinear2d, aten.upsample_trilinear3d, aten.upsample_bicubic2d),
    *(aten._upsample_bilinear2d_aa, aten._upsample_bicubic2d_aa),
    *(aten.avg_pool1d, aten.avg_pool2d, aten.avg_pool3d),
    *(aten.adaptive_avg_pool1d, aten._adaptive_avg_pool2d, aten._adaptive_avg_pool3d),
    *(aten.pixel_shuffle, aten.pixel_unshuffle, aten.channel_shuffle, aten.im2col),
    batchwise=has_batch,
)(adjoint)


@mirror(aten.native_channel_shuffle, batchwise=has_batch)
def shuffled_back(op: Step, signal: Tensor) -> Signals:
    """Channels to where they came from; torch has no derivative for this form."""
    unshuffled: Tensor = signal.unflatten(1, (-1, op["groups"])).transpose(1, 2).flatten(1, 2)
    return unshuffled


mirror(aten.col2im, batchwise=lambda operation, samples: len(operation["self"].shape) == 3)(adjoint)
mirror(aten.grid_sampler_2d, aten.grid_sampler_3d, applies=only("input"), batchwise=False)(adjoint)
