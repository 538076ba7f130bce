"""Normalisation: batch, group, instance, layer and local response normalisation, and softmax.

**Batch normalisation by running statistics** is a scale and a shift per channel. Mirror, in every style: times
gamma / sqrt(running_var + eps). It reads parameters and no recorded numbers. Windows do not change; it runs on crops.
If it uses the batch's own statistics, it is linearised, and samples do not stay apart.

**Local response normalisation** (`F.local_response_norm`, recorded as one operation). The family `lrn` chooses:
`identity` passes the signal unchanged, since Zeiler and Fergus leave contrast normalisation out of the way back;
`gradient` linearises.

**Group, instance and layer normalisation, softmax** depend on the statistics of their input: linearised. Group and
instance norms see the whole map; layer norm and softmax see everything along their axes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deconvviz.operations.conditions import never, only, samples_in
from deconvviz.operations.elementwise import run_at_each_position, same_shape_on_crops
from deconvviz.operations.registry import all_inputs, channels, crop, mirror, window
from deconvviz.operations.step import Signals, Step
from deconvviz.operations.vector_jacobian import linearised
from deconvviz.operations.windows import along_an_axis, along_the_last, same
from deconvviz.recording.tape import Operation, Value

aten: Any = torch.ops.aten

BATCH_NORMS = (
    *(aten.native_batch_norm, aten._native_batch_norm_legit, aten._native_batch_norm_legit_no_training),
    *(aten.cudnn_batch_norm, aten.miopen_batch_norm, aten._batch_norm_no_update),
)

channels(aten.native_batch_norm, aten.cudnn_batch_norm, axis=1)
channels(aten.native_layer_norm, axis=-1)


def is_batch_norm(operation: Operation) -> bool:
    return getattr(operation.func, "overloadpacket", None) in BATCH_NORMS


def uses_batch_statistics(operation: Operation) -> bool:
    """Whether it is a batch normalisation that does not use running statistics."""
    return is_batch_norm(operation) and (bool(operation["training"]) or not isinstance(operation["running_var"], Value))


def _uses_running_statistics(operation: Operation, samples: int = 1) -> bool:
    return not uses_batch_statistics(operation) and only("input")(operation)


@mirror(*BATCH_NORMS, applies=_uses_running_statistics, batchwise=_uses_running_statistics, local=True)
def scale(op: Step, signal: Tensor, *_: Tensor | None) -> Signals:
    """Times gamma / sqrt(running_var + eps), per channel."""
    return signal * channel_factors(op).to(signal.dtype).view(-1, *[1] * (signal.ndim - 2))


def channel_factors(op: Step) -> Tensor:
    """What a batch normalisation by running statistics multiplies each channel by."""
    variance = op.data(op["running_var"])
    factors: Tensor = (variance + (op["epsilon"] if op["eps"] is None else op["eps"])).rsqrt()
    return factors if op["weight"] is None else factors * op.data(op["weight"])


def _runs_on_crops(operation: Operation) -> bool:
    return not uses_batch_statistics(operation) and same_shape_on_crops(operation)


window(*BATCH_NORMS)(same)
crop(*BATCH_NORMS, applies=_runs_on_crops)(run_at_each_position)


# Local response normalisation


def _has_batch(operation: Operation, samples: int) -> bool:
    return len(operation["input"].shape) >= 3 and samples_in("input")(operation, samples)


@mirror(F.local_response_norm, when=("lrn", "identity"), batchwise=_has_batch, local=True)
def passed_through(op: Step, signal: Tensor) -> Signals:
    """Unchanged."""
    return signal


mirror(F.local_response_norm, when=("lrn", "gradient"), keeps=all_inputs, batchwise=_has_batch, local=True)(linearised)
window(F.local_response_norm)(same)
crop(F.local_response_norm, applies=same_shape_on_crops)(run_at_each_position)


# Norms by the statistics of their input, and softmax


def _normalises_within_samples(operation: Operation, samples: int) -> bool:
    inner = len(operation["normalized_shape"]) < len(operation["input"].shape)
    return inner and samples_in("input")(operation, samples)


mirror(F.group_norm, F.instance_norm, applies=never, batchwise=_has_batch)(linearised)
mirror(aten.native_layer_norm, applies=never, batchwise=_normalises_within_samples)(linearised)
window(aten.native_layer_norm)(along_the_last)
window(aten._softmax, aten._log_softmax)(along_an_axis)
