"""Images that are recorded together: as many as memory allows, where no sample depends on another."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deconvviz.operations.registry import opaque
from deconvviz.operations.styles import Style
from deconvviz.projection.backward import keep_for, samples_apart
from deconvviz.projection.device_costs import recorded_bytes
from deconvviz.projection.model_call import Call
from deconvviz.projection.receptive_field import channel_axis
from deconvviz.recording.layer_names import check_layers
from deconvviz.recording.tape import Tape, Value
from deconvviz.recording.templates import template

LARGEST_GROWTH = 128  # what a run keeps is rarely more than this many times the size of the image
LIVE_MAPS = 4  # maps of the largest size that are in memory at once while the model runs


def tape_of_one(model: nn.Module, style: Style, call: Call, layer: str) -> Tape | None:
    """The operations that run on one image, without numbers.

    Returns:
        The tape, or None if the model takes more than a batch of images, if it does not say beforehand what runs, or if
        the layer does not keep samples apart.
    """
    x = call.args[0] if len(call.args) == 1 and not call.kwargs else None
    if not isinstance(x, Tensor) or x.ndim < 3 or x.is_meta:
        return None
    tape = template(model, x[:1], layer, opaque())
    if tape is None or not tape.layers[layer].value.carries_signal:
        return None
    check_layers([layer], tape.layers, model)
    value = tape.layers[layer].value
    local = value.id in samples_apart(tape, style) and len(value.shape) == x.ndim
    return tape if local and value.shape[0] == 1 and channel_axis(tape, value) == 1 else None


def may_exceed(call: Call) -> bool:
    """Whether a run on all images at once might take more memory than it should."""
    return len(call.first) > 1 and call.first.nbytes * LARGEST_GROWTH > recorded_bytes(call.first.device)


def images_at_once(tape: Tape, style: Style) -> int:
    """How many images to record together, from the tape of one; at least one."""
    keep, kept = keep_for(style), dict[int, Value]()
    made = [value for operation in tape.operations for value in operation.outputs if value is not None]
    for operation in tape.operations:
        wanted = keep(operation)
        values = (*wanted.inputs, *(operation.outputs[place] for place in wanted.outputs))
        kept.update({value.id: value for value in values if value is not None and value.tracked})
    largest = max(map(_bytes, made), default=0)
    each = sum(map(_bytes, kept.values())) + LIVE_MAPS * largest
    return max(1, recorded_bytes(tape.inputs[0].device) // max(1, each))


def _bytes(value: Value) -> int:
    return torch.Size(value.shape).numel() * value.dtype.itemsize
