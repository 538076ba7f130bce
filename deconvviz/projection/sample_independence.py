"""Whether a sample of a batch has the same activations as it has alone.

Networks may move the batch axis, as for an LSTM, or fold frames into it; then the tape does not say which part of a
value belongs to which sample. So each sample is run alone, and its activations are looked for in those of the batch. If
they are not there, the samples are mixed, as by ``h - h.mean(0)``, or random numbers were drawn for the whole batch,
and no sample has an activation of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from deconvviz.errors import InputError
from deconvviz.operations.normalisation import uses_batch_statistics
from deconvviz.recording.tape import Tape

_TOLERANCE = {torch.float64: 1e-8, torch.complex128: 1e-8, torch.float32: 1e-3, torch.complex64: 1e-3}


def check_statistics(tape: Tape) -> None:
    """Raise InputError if a batch of several samples is normalised by its own statistics."""
    if coupling := next((op for op in tape.operations if uses_batch_statistics(op)), None):
        raise InputError(
            f"{coupling} normalises with the statistics of the batch, so no sample of this batch of "
            f"{tape.samples} has an activation of its own; give one sample at a time"
        )


def check_alone(tape: Tape, layer: str, batch: Tensor, alone: Tensor, number: int) -> None:
    """Raise InputError if the activations of a sample alone are not part of those of the batch.

    Rounding is that of the narrowest type that the model calculated in, which `tape` shows.
    """
    dtypes = {value.dtype for operation in tape.operations for value in operation.outputs if value is not None}
    tolerance = max(
        _tolerance(dtype) for dtype in {*dtypes, alone.dtype} if dtype.is_floating_point or dtype.is_complex
    )
    parts = _sample_parts(batch, alone, number, tape.samples)
    if not any(_close(part, alone, tolerance) for part in parts):
        raise InputError(
            f"layer {layer!r} gives other activations for sample {number} alone than in this batch of {tape.samples}, "
            f"whose samples are mixed or share random numbers; give one sample at a time"
        )


def _sample_parts(batch: Tensor, alone: Tensor, number: int, samples: int) -> Iterator[Tensor]:
    """What may be the sample's part of the batch's value, along the axis that is `samples` times as long."""
    longer = [axis for axis in range(min(batch.ndim, alone.ndim)) if batch.shape[axis] != alone.shape[axis]]
    if batch.ndim != alone.ndim or len(longer) != 1:
        return
    axis = longer[0]
    length = alone.shape[axis]
    if not length or batch.shape[axis] != samples * length:
        return
    for outer in range(1, length + 1):  # the samples may lie between other axes that were folded with them
        if length % outer == 0:
            split = batch.unflatten(axis, (outer, samples, length // outer))
            yield split.select(axis + 1, number).flatten(axis, axis + 1)


def _tolerance(dtype: torch.dtype) -> float:
    return _TOLERANCE.get(dtype, 5e-2)


def _close(part: Tensor, alone: Tensor, tolerance: float) -> bool:
    """Equal within rounding, which depends on the batch size, on an accelerator more than on the CPU."""
    tolerance *= 1 if alone.device.type == "cpu" else 10
    wide = torch.promote_types(alone.dtype, torch.float32)
    difference = (part.to(wide) - alone.to(wide)).abs().max() if alone.numel() else torch.zeros(())
    return bool(difference <= tolerance * alone.to(wide).abs().max()) if alone.numel() else True
