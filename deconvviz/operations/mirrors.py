"""The rules that come with the library, one per operation of convolutional networks.

Everything a user's own rules could do, and in the same way: see `deconvviz.rules` for what a rule is. Most
linear operations need no formula of their own; `adjoint` derives it. The ones written out are those on which
a deconvnet is built (convolution, unpooling, rectification), and the plain ones that every network is full of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deconvviz.operations.registry import Signals, Step, adjoint, all_inputs, linearised, mirror, outputs
from deconvviz.recording.tape import Operation, Value

aten: Any = torch.ops.aten

# Conditions on operations, as they were recorded


def only(*names: str) -> Callable[[Operation], bool]:
    """Nothing but these arguments carries a signal, so that the operation is linear in what does."""

    def holds(operation: Operation) -> bool:  # counted, since one value may stand in several places
        return _count(operation.inputs) == _count(value for name in names for value in values_in(operation[name]))

    def _count(values: Iterable[Value]) -> int:
        return sum(value.carries_signal for value in values)

    return holds


def samples_in(*names: str) -> Callable[[Operation, int], bool]:
    """For `batchwise`: each sample is treated alone where nothing else than these arguments depends on the input."""

    def holds(operation: Operation, samples: int) -> bool:
        given = [value for name in names for value in values_in(operation[name]) if value.tracked]
        return len(operation.inputs) == len(given)

    return holds


def one_factor(operation: Operation) -> bool:
    """Of all operands just one carries a signal: a product is then linear."""
    return sum(value.carries_signal for value in operation.inputs) == 1


def has_batch(operation: Operation, samples: int) -> bool:
    """The input of a spatial operation, such as `avg_pool3d`, has a batch axis before channels and positions."""
    named = re.search(r"(\d)_?d", operation.label)
    return len(operation.inputs[0].shape) == 2 + (int(named[1]) if named else 2)


def values_in(item: Any) -> list[Value]:
    items = item if isinstance(item, (list, tuple)) else [item]
    return [value for value in items if isinstance(value, Value)]


def conjugated(number: Any) -> Any:
    """A factor, a tensor or a number of Python, as it stands on the way back."""
    return number.conj() if isinstance(number, Tensor) else number.conjugate()


# Filtering


@mirror(aten.convolution, applies=only("input"), batchwise=True, own=True)
def filter_transposed(op: Step, signal: Tensor) -> Signals:
    """Transposed convolution with the same weights, without bias, to the exact input size."""
    weight = op.data(op["weight"])
    shape = op.shape(op["input"])
    if _is_strided_stem(op, weight):
        return _by_phases(op, signal, weight, shape)
    if (found := _filled(op, signal, weight)) is not None:
        return _from_windows(op, signal, weight, shape, *found)
    geometry = [op[n] for n in ("stride", "padding", "dilation", "transposed", "output_padding", "groups")]
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(weight.ndim, torch.contiguous_format)
    layout = last if weight.is_contiguous(memory_format=last) else torch.contiguous_format
    # Of the input only the shape is read; in another layout than the filters' it would be copied.
    shape_only = torch.empty(shape, dtype=signal.dtype, device=signal.device, memory_format=layout)
    back: Tensor = aten.convolution_backward(signal, shape_only, weight, None, *geometry, [True, False, False])[0]
    return back


def _filled(op: Step, signal: Tensor, weight: Tensor) -> tuple[Tensor, list[int]] | None:
    """Where the window begins that holds all of each unit's signal, (units, 2), and its size; None for most of a map.

    Near its unit a signal is zero almost everywhere. Once one has been found to fill its map, no more is looked for.
    """
    dense = op.made.id in op.spread or op["transposed"] or op["groups"] > 1
    here = signal.device.type == "cpu" and signal.ndim == 4 and signal.is_contiguous(memory_format=torch.channels_last)
    if dense or not here:  # elsewhere to ask for sizes would wait for the device
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
        op.spread.add(op["input"].id)  # a product for all taps at once would take more memory than maps do
        return None
    return torch.stack(starts, 1), sizes


def _from_windows(
    op: Step, signal: Tensor, weight: Tensor, shape: Sequence[int], starts: Tensor, sizes: list[int]
) -> Tensor:
    """The same on the windows alone: one matrix product for all taps, and each tap's part added to its place."""
    stride, padding, dilation = op["stride"], op["padding"], op["dilation"]
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


def _is_strided_stem(op: Step, weight: Tensor) -> bool:
    """A strided convolution of few channels, in two dimensions: its transpose leaves a processor's vectors empty."""
    strided = weight.ndim == 4 and len(set(op["stride"])) == 1 and op["stride"][0] > 1 and set(op["dilation"]) == {1}
    return strided and weight.shape[1] <= 4 and op["groups"] == 1 and not op["transposed"]


def _by_phases(op: Step, signal: Tensor, weight: Tensor, shape: Sequence[int]) -> Tensor:
    """The transposed convolution as one of stride 1 that makes all pixels of a stride, which are then put in place.

    A pixel sees the taps that lie a multiple of the stride apart, so that each of the stride * stride phases is an
    ordinary convolution with the taps of its own.
    """
    stride, padding = op["stride"][0], op["padding"]
    made, taken = weight.shape[:2]
    taps = [-(-size // stride) for size in weight.shape[2:]]
    rows, columns = (stride * count - size for count, size in zip(taps, weight.shape[2:], strict=True))
    phased = F.pad(weight, (0, columns, 0, rows)).view(made, taken, taps[0], stride, taps[1], stride).flip(2, 4)
    phased = phased.permute(1, 3, 5, 0, 2, 4).reshape(-1, made, *taps).contiguous(memory_format=torch.channels_last)
    larger = F.pixel_shuffle(F.conv2d(signal, phased, padding=[count - 1 for count in taps]), stride)
    ends = [begin + extent - size for begin, extent, size in zip(padding, shape[2:], larger.shape[2:], strict=True)]
    return F.pad(larger, (-padding[1], ends[1], -padding[0], ends[0]))


def _rows(operation: Operation, samples: int) -> bool:
    return len(operation["input"].shape) > 1 and samples_in("input")(operation, samples)


@mirror(F.linear, applies=only("input"), batchwise=_rows)
def features_transposed(op: Step, signal: Tensor) -> Signals:
    """Product with the transposed weights, without bias."""
    return signal @ op.data(op["weight"]).conj()


@mirror(aten.mm, applies=only("self"), batchwise=samples_in("self"))
def weights_transposed(op: Step, signal: Tensor) -> Signals:
    return signal @ op.data(op["mat2"]).mH


@mirror(aten.addmm, applies=only("mat1"), batchwise=samples_in("mat1"))
def weights_transposed_after_bias(op: Step, signal: Tensor) -> Signals:
    through: Tensor = (signal @ op.data(op["mat2"]).mH) * conjugated(op["alpha"])
    return through


def _batches(operation: Operation, samples: int) -> bool:
    return len({value.shape[0] for value in operation.inputs}) == 1


mirror(aten.bmm, applies=one_factor, batchwise=_batches)(adjoint)
mirror(aten.baddbmm, applies=one_factor, batchwise=_batches)(adjoint)

# Rectification

RECTIFIERS = (
    *(aten.relu, aten.hardtanh, aten.leaky_relu, aten._prelu_kernel, aten.rrelu_with_noise, aten.elu),
    *(aten.celu, aten.gelu, aten.silu, aten.mish, aten.hardswish, aten.softplus, aten.threshold),
)


@mirror(*RECTIFIERS, when=("rectifier", "deconvnet"), batchwise=True, own=True)
def rectify(op: Step, signal: Tensor) -> Signals:
    """relu(s), whatever the input was."""
    return signal.clamp_(min=0) if op.writable else signal.clamp(min=0)


@mirror(*RECTIFIERS, when=("rectifier", "guided"), keeps=outputs(0), batchwise=True)
def rectify_where_it_fired(op: Step, signal: Tensor) -> Signals:
    """relu(s) * [y > 0]."""
    return signal.clamp(min=0) * (op.data(op.made) > 0)


mirror(*RECTIFIERS, when=("rectifier", "gradient"), keeps=all_inputs, batchwise=True)(linearised)

# Unpooling

POOLS = (
    *(aten.max_pool2d_with_indices, aten.adaptive_max_pool2d, aten.fractional_max_pool2d),
    *(aten.max_pool3d_with_indices, aten.adaptive_max_pool3d, aten.fractional_max_pool3d),
)


def _unpooling(place: Callable[[Tensor, Tensor, int], Tensor]) -> Callable[..., Signals]:
    """Each value at the switch of its window; `place` says what happens where windows share one."""

    def unpool(op: Step, signal: Tensor, _: Tensor | None) -> Signals:
        rank = 3 if "3d" in op.operation.label else 2
        shape = op.shape(op["self"])
        switches = op.data(op.output(1)).flatten(-rank)
        return place(signal.flatten(-rank), switches, torch.Size(shape[-rank:]).numel()).view(shape)

    return unpool


def _summed(values: Tensor, switches: Tensor, plane: int) -> Tensor:
    if values.stride(-1) > 1:  # channels last, which would be copied there and back
        made = values.new_zeros((*values.shape[:-2], plane, values.shape[-2]))
        return made.scatter_add_(-2, switches.mT, values.mT).mT
    return values.new_zeros((*values.shape[:-1], plane)).scatter_add_(-1, switches, values)


def _last(values: Tensor, switches: Tensor, plane: int) -> Tensor:
    """The last window in scan order wins. `scatter_` leaves the winner open, so it is looked up first."""
    windows = torch.arange(switches.shape[-1], device=switches.device).expand_as(switches)
    winner = torch.full((*values.shape[:-1], plane), -1, device=switches.device)
    winner.scatter_reduce_(-1, switches, windows, "amax")
    return values.gather(-1, winner.clamp(min=0)) * (winner >= 0)


def _mean(values: Tensor, switches: Tensor, plane: int) -> Tensor:
    sharing = _summed(torch.ones_like(values), switches, plane)
    return _summed(values, switches, plane) / sharing.clamp(min=1)


for _choice, _place in (("sum", _summed), ("overwrite", _last), ("mean", _mean)):
    mirror(*POOLS, when=("overlap", _choice), keeps=outputs(1), batchwise=has_batch, own=True)(_unpooling(_place))

# Normalisation

BATCH_NORMS = (
    *(aten.native_batch_norm, aten._native_batch_norm_legit, aten._native_batch_norm_legit_no_training),
    *(aten.cudnn_batch_norm, aten.miopen_batch_norm, aten._batch_norm_no_update),
)


@mirror(aten.native_dropout, keeps=outputs(1), batchwise=True)
def as_it_was_dropped(op: Step, signal: Tensor, _: Tensor | None) -> Signals:
    """Times the mask that was drawn, and the factor that makes up for it."""
    kept = 1 - op["p"] if op["train"] is not False else 1.0
    return signal * op.data(op.output(1)) / kept if kept else torch.zeros_like(signal)


def uses_batch_statistics(operation: Operation) -> bool:
    """Whether it is a batch normalisation that does not use running statistics."""
    normalises = getattr(operation.func, "overloadpacket", None) in BATCH_NORMS
    return normalises and (bool(operation["training"]) or not isinstance(operation["running_var"], Value))


def _by_running_statistics(operation: Operation) -> bool:
    return not uses_batch_statistics(operation) and only("input")(operation)


@mirror(
    *BATCH_NORMS, applies=_by_running_statistics, batchwise=lambda operation, samples: _by_running_statistics(operation)
)
def scale(op: Step, signal: Tensor, *_: Tensor | None) -> Signals:
    """Times gamma / sqrt(running_var + eps), per channel."""
    return signal * factor(op).to(signal.dtype).view(-1, *[1] * (signal.ndim - 2))


def factor(op: Step) -> Tensor:
    """What a batch normalisation by running statistics multiplies each channel by."""
    variance = op.data(op["running_var"])
    found: Tensor = (variance + (op["epsilon"] if op["eps"] is None else op["eps"])).rsqrt()
    return found if op["weight"] is None else found * op.data(op["weight"])


def _has_batch(operation: Operation, samples: int) -> bool:
    return len(operation["input"].shape) >= 3 and samples_in("input")(operation, samples)


@mirror(F.local_response_norm, when=("lrn", "identity"), batchwise=_has_batch)
def left_out(op: Step, signal: Tensor) -> Signals:
    """Zeiler and Fergus leave contrast normalisation out of the way back."""
    return signal


mirror(F.local_response_norm, when=("lrn", "gradient"), keeps=all_inputs, batchwise=_has_batch)(linearised)


def never(operation: Operation) -> bool:
    """For operations that are always linearised, and registered to say how they treat the batch."""
    return False


mirror(F.group_norm, F.instance_norm, applies=never, batchwise=_has_batch)(linearised)
mirror(
    aten.native_layer_norm,
    applies=never,
    batchwise=lambda operation, samples: (
        len(operation["normalized_shape"]) < len(operation["input"].shape) and samples_in("input")(operation, samples)
    ),
)(linearised)
mirror(F.multi_head_attention_forward, applies=never, batchwise=False)(linearised)
mirror(
    F.scaled_dot_product_attention,
    applies=never,
    batchwise=lambda operation, samples: (
        len({value.shape[0] for value in operation.inputs}) == 1
        and all(len(value.shape) == 4 for value in operation.inputs)
    ),
)(linearised)
