"""The mirrors of what carries signals about: sums, products with constants, shapes and places.

All of these are linear, so their mirror is the exact adjoint. Those that every network is full of are written
out; the others leave it to `adjoint`, and only say when samples stay apart.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deconvviz.mirrors import conjugated, has_batch, one_factor, only, values_in
from deconvviz.registry import Signals, Step, adjoint, masks_and_indices, mirror
from deconvviz.storage import common, overwritten, reread, shown, stored
from deconvviz.tape import Operation, Value

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


@mirror(aten.fill, aten.zero, batchwise=True)
def erased(op: Step, signal: Tensor) -> Signals:
    return []


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


mirror(aten.slice, batchwise=_along_others)(adjoint)
mirror(aten.permute, batchwise=lambda operation, samples: operation["dims"][0] % len(operation["dims"]) == 0)(adjoint)
mirror(
    *(aten.select, aten.split, aten.unsafe_split, aten.split_with_sizes, aten.unbind, aten.transpose, aten.t),
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


# Storage that was written in place: see deconvviz.storage


def _per_sample(operation: Operation, samples: int) -> Tensor | None:
    """Where a sample's elements lie in that sample's part of the root, (elements,); None where samples mix."""
    root, asked = common(operation["root_geometry"], operation["geometry"])
    index = asked.within(root)
    length = torch.Size(root.size).numel()
    if not asked.size or asked.size[0] % samples or not root.size or root.size[0] % samples:
        return None
    rows = index.reshape(samples, -1) - torch.arange(samples)[:, None] * (length // samples)
    alike = (index >= 0).all() and (rows == rows[0]).all() and (rows[0] < length // samples).all()
    return rows[0] if alike else None


def _samples_alike(operation: Operation, samples: int) -> bool:
    return _per_sample(operation, samples) is not None


def _lengths(op: Step) -> tuple[int, Tensor]:
    """How many samples the signal holds, and where each has the elements that were read or written."""
    if op.samples is None:
        root, asked = common(op["root_geometry"], op["geometry"])
        return 1, asked.within(root).flatten()
    index = _per_sample(op.operation, op.tape.samples)
    assert index is not None
    return len(op.samples), index


@mirror(reread, batchwise=_samples_alike)
def put_back(op: Step, signal: Tensor) -> Signals:
    """Each element to where it was read; what was read outside of the root is constant."""
    samples, index = _lengths(op)
    index = index.to(signal.device)
    root, asked = op["root_geometry"], op["geometry"]
    numbers = stored(signal, asked, root).reshape(samples, -1)
    whole = common(root, asked)[0].size
    content = numbers.new_zeros(
        (samples, torch.Size(whole).numel() // (op.tape.samples if op.samples is not None else 1))
    )
    content.index_add_(1, index.clamp(min=0), numbers * (index >= 0))
    return shown(_laid_out(op, content, op["root"], whole), root, asked)


def _laid_out(op: Step, numbers: Tensor, value: Value, size: tuple[int, ...]) -> Tensor:
    """Flat numbers in the shape of signals at `value`, with the parts of complex ones last where `size` has them."""
    return numbers.view((*op.shape(value), *size[len(value.shape) :]))


@mirror(overwritten, batchwise=_samples_alike)
def split_off(op: Step, signal: Tensor) -> Signals:
    """The part that was written, and the rest, which is zero there."""
    samples, index = _lengths(op)
    index = index.to(signal.device)
    root, asked = op["root_geometry"], op["geometry"]
    whole, written = (geometry.size for geometry in common(root, asked))
    flat = stored(signal, root, asked).reshape(samples, -1)
    part = shown(_laid_out(op, flat.index_select(1, index), op["part"], written), asked, root)
    if op["root"] is None:
        return [(op["part"], part)]
    rest = shown(_laid_out(op, flat.index_fill(1, index, 0), op["root"], whole), root, asked)
    return [(op["part"], part), (op["root"], rest)]


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
