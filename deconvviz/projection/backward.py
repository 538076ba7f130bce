"""The mirrored stack: units in, pixels out.

`project` puts a seed at each unit and walks the tape backwards through the rules; `reconstruct` sends back all
activations of a layer at once. The signal of a value with several consumers is the sum over its consumers.

The units of all samples travel as one batch where every operation on the way leaves the samples apart
(`samples_apart`). Elsewhere, as where a network swaps its batch axis for time, each unit travels alone through
the whole recorded batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from deconvviz.errors import InputError, UnsupportedOperation
from deconvviz.operations.registry import Mirror, rule_for
from deconvviz.operations.step import Signals, Step
from deconvviz.operations.styles import Style
from deconvviz.operations.vector_jacobian import adjoint, linearised
from deconvviz.projection.batchnorm_folding import folded
from deconvviz.projection.half_precision import WideTape, widened
from deconvviz.projection.model_call import is_finite
from deconvviz.recording.detached import detaches, stopping
from deconvviz.recording.isolation import check_threads
from deconvviz.recording.restoring import Restored
from deconvviz.recording.tape import Kept, Operation, Tape, Value

BUDGET = 128 * 2**20  # bytes of signals that travel at once; more is slower, since it leaves the caches
WORTH_FOLDING = 4  # units that travel at once


@dataclass
class Met:
    """What walks met: operations they linearised, those where a part of a signal ended, and detaches they passed."""

    linearised: dict[str, None] = field(default_factory=dict)
    stopped: dict[str, None] = field(default_factory=dict)
    detached: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True)
class Seeds:
    """Units of one layer: per unit its sample, its index in that sample's flattened map, and its seed value."""

    samples: Tensor  # (units,) long
    indices: Tensor  # (units,) long
    values: Tensor  # (units,)

    def __getitem__(self, chosen: slice) -> Seeds:
        return Seeds(self.samples[chosen], self.indices[chosen], self.values[chosen])

    def __len__(self) -> int:
        return len(self.samples)


def keep_for(style: Style) -> Callable[[Operation], Kept]:
    """For `record`: the numbers that the style's rules will read on the way back."""

    def keep(operation: Operation) -> Kept:
        if operation.outputs and not any(value.carries_signal for value in operation.outputs if value):
            return Kept()
        return rule_for(operation, style).keeps(operation)

    return keep


def samples_apart(tape: Tape, style: Style) -> frozenset[int]:
    """The ids of the values that hold the recorded samples along axis 0, each computed from that sample alone.

    A value may hold several rows per sample (frames of a video, windows of an image), one sample after another.
    """
    apart = {value.id for value in tape.inputs if value.shape[:1] == (tape.samples,)}
    for operation in tape.operations:
        rule = rule_for(operation, style)
        if operation.drawn is not None and rule.function is linearised:
            continue  # it runs again, and draws for the recorded batch
        if all(value.id in apart for value in operation.inputs) and rule.batchwise(operation, tape.samples):
            apart.update(value.id for value in operation.outputs if value is not None)
    return frozenset(apart)


def project(
    tape: Tape, style: Style, layer: Value, seeds: Seeds, apart: bool, budget: int = BUDGET
) -> tuple[list[Tensor], Met]:
    """Project units of one layer.

    tape: recorded with ``keep=keep_for(style)``.
    layer: the value whose units are projected.
    apart: whether `layer` is among `samples_apart`; if not, there must be one sample.
    budget: bytes of signals that may travel at once; running out of memory halves the batch of units.

    Returns, per input of the model that carries a signal, the pixels (units, *input shape without batch), and what
    was met on the way. Raises UnsupportedOperation where no part of the signal reaches the input, InputError
    where the model's parameters were changed since the run was recorded.
    """
    check_constants(tape)
    tape, layer = widened(tape, style, layer)
    met = Met()
    inputs = [value for value in tape.inputs if value.carries_signal]
    shapes = [v.shape[1:] if v.shape[:1] == (tape.samples,) else v.shape for v in inputs]
    pixels = [
        torch.zeros((len(seeds), *shape), dtype=v.dtype, device=v.device)
        for v, shape in zip(inputs, shapes, strict=True)
    ]
    chunk = max(1, budget // _bytes_per_unit(tape, layer)) if apart else 1
    layout = torch.contiguous_format
    if min(chunk, len(seeds)) >= WORTH_FOLDING and len(layer.shape) == 4:
        tape, layout = folded(tape, style, layer), torch.channels_last
    start = 0
    while start < len(seeds):
        part = seeds[start : start + chunk]
        try:
            arrived = walk(
                tape,
                style,
                layer,
                _planted(layer, tape.samples, part).contiguous(memory_format=layout),
                part.samples if apart else None,
                met,
            )
        except RuntimeError as error:
            if not out_of_memory(error) or len(part) == 1:
                raise
            chunk = len(part) // 2
            continue
        for made, value in zip(pixels, inputs, strict=True):
            if value.id in arrived:
                made[start : start + len(part)] = arrived[value.id].reshape(len(part), *made.shape[1:])
        start += len(part)
    return pixels, met


def reconstruct(tape: Tape, style: Style, layer: Value, signal: Tensor) -> tuple[list[Tensor], Met]:
    """Send back a signal at all units of a layer at once, per input as `project`."""
    check_constants(tape)
    tape, layer = widened(tape, style, layer)
    met = Met()
    arrived = walk(tape, style, layer, signal.to(layer.dtype), None, met)
    inputs = [value for value in tape.inputs if value.carries_signal]
    return [arrived.get(v.id, torch.zeros(v.shape, dtype=v.dtype, device=v.device)).clone() for v in inputs], met


def undisturbed(device: torch.device) -> Restored:
    """Without gradients, inference tensors and autocast: types are those of the tape."""
    check_threads()
    cast = torch.autocast(device.type, enabled=False) if torch.amp.is_autocast_available(device.type) else nullcontext()
    return Restored(torch.inference_mode(False), torch.no_grad(), cast)


def walk(tape: Tape, style: Style, layer: Value, signal: Tensor, samples: Tensor | None, met: Met) -> dict[int, Tensor]:
    """Walk the tape backwards from `layer`; the signals that arrive at the inputs, by the input's id.

    Raises InputError where they are not finite.
    """
    with undisturbed(layer.device):
        signals = {layer.id: signal}
        writable: set[int] = set()  # values whose signal is read nowhere else
        dense: set[int] = set()  # values whose signal fills most of the map, and those before them
        stops = stopping(tape, layer)

        def taken(value: Value) -> Tensor | None:
            return signals.pop(value.id, None) if value.id in writable else None

        for operation in reversed(tape.operations):
            arriving = [signals.pop(value.id, None) if value else None for value in operation.outputs]
            if all(part is None for part in arriving):
                continue
            if detaches(operation):
                if operation in stops:
                    continue
                met.detached[str(operation)] = None
            rule = rule_for(operation, style)
            free = all(value is None or value.id in writable for value in operation.outputs)
            if not dense.isdisjoint(value.id for value in operation.outputs if value):
                dense.update(value.id for value in operation.inputs)
            for value, part in _mirrored(rule, _step(operation, tape, samples, free, dense, taken), arriving, met):
                known = signals.get(value.id)
                if known is None:
                    signals[value.id] = part
                else:
                    signals[value.id] = part.add_(known) if rule.own else known + part
                if rule.own or known is not None:
                    writable.add(value.id)
    if not signals and met.stopped:
        raise UnsupportedOperation(
            f"no part of the signal reaches the input: it ends at {' and at '.join(met.stopped)}, which has "
            f"neither a mirror nor a derivative; choose a layer before it, or register a rule (deconvviz.rules.mirror)"
        )
    _check_arrived(signals.values())
    return signals


def _step(operation: Operation, tape: Tape, samples: Tensor | None, *ways: Any) -> Step:
    """An operation for its rule; a user's own sees what was recorded, where signals are wider than that."""
    if isinstance(tape, WideTape) and operation in tape.before:
        return Step(tape.before[operation], tape.recorded, samples)
    return Step(operation, tape, samples, *ways)


def _check_arrived(signals: Iterable[Tensor]) -> None:
    if (signal := next((one for one in signals if not is_finite(one)), None)) is not None:
        raise InputError(
            f"what arrives at the input holds {int((~torch.isfinite(signal)).sum())} values that are NaN or infinite: "
            f"a derivative on the way is not finite, or a number too large for {signal.dtype}; look at a layer nearer "
            f"to the input, or give model and input in a wider type, such as model.double() makes"
        )


def _mirrored(rule: Mirror, op: Step, arriving: list[Tensor | None], met: Met) -> list[tuple[Value, Tensor]]:
    """The signals at an operation's inputs, in the type of each input."""
    operation = op.operation
    carriers = [value for value in operation.inputs if value.carries_signal]
    if not carriers:
        met.stopped[str(operation)] = None
        return []
    if len(arriving) > 1:
        arriving = [
            torch.zeros(op.shape(value), dtype=value.dtype, device=value.device)
            if part is None and value is not None and value.carries_signal
            else part
            for part, value in zip(arriving, operation.outputs, strict=True)
        ]
    arriving = [
        part.to(value.dtype) if part is not None and value is not None and part.dtype != value.dtype else part
        for part, value in zip(arriving, operation.outputs, strict=True)
    ]
    try:
        result: Signals = rule.function(op, *arriving)
    except (RuntimeError, NotImplementedError) as error:
        if rule.function not in (linearised, adjoint) or out_of_memory(error):
            raise
        raise UnsupportedOperation(f"{operation} has neither a mirror nor a derivative: {error}") from error
    if isinstance(result, Tensor):
        pairs: Iterable[tuple[Value, Tensor]] = [(_only(carriers, operation), result)]
    else:
        pairs = [(value, part) for value, part in result if isinstance(value, Value) and value.carries_signal]
    found = [(value, op.typed(part, value)) for value, part in pairs]
    if rule.listed:
        (met.linearised if found else met.stopped)[str(operation)] = None
    return found


def _only(carriers: list[Value], operation: Operation) -> Value:
    if len(carriers) != 1:
        raise UnsupportedOperation(
            f"the rule for {operation.label} returned one signal for {len(carriers)} inputs; "
            f"it must return pairs of (value, signal)"
        )
    return carriers[0]


def _planted(layer: Value, samples: int, seeds: Seeds) -> Tensor:
    """The seeds, each in an otherwise empty map of its unit's sample."""
    rows = layer.shape[0] // samples if layer.shape else 1
    per_sample = (rows, *layer.shape[1:])
    signal = torch.zeros((len(seeds), torch.Size(per_sample).numel()), dtype=layer.dtype, device=layer.device)
    signal.scatter_(1, seeds.indices.to(layer.device)[:, None], seeds.values.to(signal)[:, None])
    return signal.view((len(seeds) * rows, *layer.shape[1:]) if layer.shape else ())


def _bytes_per_unit(tape: Tape, layer: Value) -> int:
    """A bound on what one unit's signals take: four maps of the size of the largest."""
    largest = max(
        torch.Size(value.shape).numel() * value.dtype.itemsize
        for value in (layer, *(value for operation in tape.operations for value in operation.inputs))
        if value.id <= layer.id
    )
    return max(1, 4 * largest // tape.samples)


def check_constants(tape: Tape) -> None:
    """Raise InputError where a parameter was written since the tape was recorded."""
    if where := changed_since(tape):
        raise InputError(
            f"a parameter or buffer used in {where!r} was changed since this trace was recorded; trace again"
        )


def changed_since(tape: Tape) -> str:
    """Where a parameter or buffer was used that has been written since; '' for none."""
    written = (
        where
        for tensor, version, where in tape.constants.values()
        if not tensor.is_inference() and tensor._version != version
    )
    return next(written, "")


def out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
