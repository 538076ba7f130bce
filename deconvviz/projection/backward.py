"""The way back on whole maps: units in, pixels out.

`project` puts a seed at each unit and walks the tape backwards through the rules; `reconstruct` sends back all
activations of a layer at once. The signal of a value with several consumers is the sum over its consumers.

The units of all samples travel as one batch if every operation on the way keeps the samples apart (`samples_apart`).
Otherwise, for example if a network swaps its batch axis for time, each unit travels alone through the whole recorded
batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from deconvviz.errors import InputError, UnsupportedOperation
from deconvviz.io.restoring import Restored
from deconvviz.operations.registry import Mirror, rule_for, rules_under
from deconvviz.operations.step import Signals, Step
from deconvviz.operations.styles import Style
from deconvviz.operations.vector_jacobian import adjoint, linearised
from deconvviz.projection.batchnorm_folding import folded, signal_layout
from deconvviz.projection.device_costs import signal_bytes
from deconvviz.projection.finite_checks import FiniteChecks
from deconvviz.projection.half_precision import WideTape, widened
from deconvviz.recording.detached import detaches, stopping
from deconvviz.recording.isolation import check_threads
from deconvviz.recording.tape import NOTHING_KEPT, Kept, Operation, Tape, Value
from deconvviz.results.words import agreeing

WORTH_FOLDING = 4  # from so many units in a batch, folding batch norms into filters saves time


@dataclass
class Met:
    """What a walk met.

    Attributes:
        linearised: Operations it linearised.
        stopped: Operations at which part of the signal ended.
        detached: Detaches it passed.
        finite: Checks of what arrived, which wait to be settled.
    """

    linearised: dict[str, None] = field(default_factory=dict)
    stopped: dict[str, None] = field(default_factory=dict)
    detached: dict[str, None] = field(default_factory=dict)
    finite: FiniteChecks = field(default_factory=FiniteChecks)

    def check(self, strict: bool) -> None:
        """Raise the error of a check that failed or, if `strict`, of an operation that was linearised."""
        self.finite.settle()
        if strict and self.linearised:
            raise UnsupportedOperation(
                f"under strict=True no operation is linearised, but {' and '.join(self.linearised)} has no mirror"
            )


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
    """For `record`: which numbers the style's rules will read on the way back."""

    rule = rules_under(style)

    def keep(operation: Operation) -> Kept:
        for value in operation.outputs:
            if value is not None and value.carries_signal:
                break
        else:
            if operation.outputs:
                return NOTHING_KEPT
        return rule(operation).keeps(operation)

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
    tape: Tape, style: Style, layer: Value, seeds: Seeds, apart: bool, *, met: Met, budget: int | None = None
) -> list[Tensor]:
    """Project units of one layer.

    Args:
        tape: Recorded with ``keep=keep_for(style)``.
        style: Chooses among the rules.
        layer: The value whose units are projected.
        seeds: The units.
        apart: Whether `layer` is among `samples_apart`. If not, there must be one sample.
        met: Receives what is met on the way.
        budget: Bytes of signals that may travel at once; None for what suits the device. Running out of memory halves
            the batch of units.

    Returns:
        For each input of the model that carries a signal, the pixels (units, *input shape without batch).

    Raises:
        UnsupportedOperation: No part of the signal reaches the input.
        InputError: The model's parameters have changed since the run was recorded.
    """
    check_constants(tape)
    tape, layer = widened(tape, style, layer)
    inputs = [value for value in tape.inputs if value.carries_signal]
    shapes = [v.shape[1:] if v.shape[:1] == (tape.samples,) else v.shape for v in inputs]
    pixels = [
        torch.zeros((len(seeds), *shape), dtype=v.dtype, device=v.device)
        for v, shape in zip(inputs, shapes, strict=True)
    ]

    def arrive(batch: slice, arrived: dict[int, Tensor]) -> None:
        for image, value in zip(pixels, inputs, strict=True):
            if value.id in arrived:
                image[batch] = arrived[value.id].reshape(batch.stop - batch.start, *image.shape[1:])
                met.finite.watch(arrived[value.id], refuse_arrived, kept=image[batch])

    send_back(tape, style, layer, seeds, apart=apart, arrive=arrive, met=met, budget=budget)
    return pixels


def send_back(
    tape: Tape,
    style: Style,
    layer: Value,
    seeds: Seeds,
    *,
    apart: bool,
    arrive: Callable[[slice, dict[int, Tensor]], None],
    met: Met,
    budget: int | None = None,
) -> None:
    """Send units back in batches, as many together as `project` does; see there for the other arguments.

    arrive: Called with each batch of units and the signals where the tape begins, by the value's id.
    """
    budget = signal_bytes(layer.device) if budget is None else budget
    chunk = max(1, budget // _bytes_per_unit(tape, layer)) if apart else 1
    layout = torch.contiguous_format
    if min(chunk, len(seeds)) >= WORTH_FOLDING and len(layer.shape) == 4:
        layout = signal_layout(tape, layer)
        tape = folded(tape, style, layer, layout)

    def run(batch: slice) -> None:
        part = seeds[batch]
        samples = part.samples if apart else None
        arrive(batch, walk(tape, style, layer, _planted(layer, tape.samples, part, layout), samples, met=met))

    in_batches(len(seeds), chunk, run)


def in_batches(count: int, size: int, run: Callable[[slice], None]) -> int:
    """Run `run` on batches of `count` items, one after the other; running out of memory halves the size of a batch.

    Returns the size at which it ended.
    """
    start = 0
    while start < count:
        batch = slice(start, min(start + size, count))
        try:
            run(batch)
        except RuntimeError as error:
            length = batch.stop - batch.start
            if not out_of_memory(error) or length == 1:
                raise
            size = length // 2
            continue
        start = batch.stop
    return size


def reconstruct(tape: Tape, style: Style, layer: Value, signal: Tensor, *, met: Met) -> list[Tensor]:
    """Send back a signal at all units of a layer at once. Returns the same as `project`."""
    check_constants(tape)
    tape, layer = widened(tape, style, layer)
    arrived = walk(tape, style, layer, signal.to(layer.dtype), None, met=met)
    for part in arrived.values():
        met.finite.watch(part, refuse_arrived)
    inputs = [value for value in tape.inputs if value.carries_signal]
    return [arrived.get(v.id, torch.zeros(v.shape, dtype=v.dtype, device=v.device)).clone() for v in inputs]


def undisturbed(device: torch.device) -> Restored:
    """A block without gradients, inference tensors and autocast, so that types are those of the tape."""
    check_threads()
    cast = torch.autocast(device.type, enabled=False) if torch.amp.is_autocast_available(device.type) else nullcontext()
    return Restored(torch.inference_mode(False), torch.no_grad(), cast)


def walk(
    tape: Tape, style: Style, layer: Value, signal: Tensor, samples: Tensor | None, *, met: Met
) -> dict[int, Tensor]:
    """Walk the tape backwards from `layer`. Returns the signals that arrive at the inputs, by the input's id.

    Args:
        tape: The recorded run.
        style: Chooses among the rules.
        layer: The value at which the signal starts.
        signal: The signal.
        samples: On the host, for each unit the index of its sample; None if the signal has the recorded shape.
        met: Receives what is met on the way.

    Raises:
        UnsupportedOperation: No part of the signal reaches the input.
    """
    with undisturbed(layer.device):
        signals = {layer.id: signal}
        del signal  # it would be kept in memory while others travel
        if samples is not None:  # sent once, and not at all where each sample has its one unit
            in_order = torch.equal(samples, torch.arange(tape.samples, device=samples.device))
            samples = None if in_order else samples.to(layer.device)
        writable: set[int] = set()  # values whose signal nothing else reads
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
            for value, part in _mirrored(
                rule, _step(operation, tape, samples, writable=free, dense=dense, taken=taken), arriving, met
            ):
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
    return signals


def _step(operation: Operation, tape: Tape, samples: Tensor | None, **options: Any) -> Step:
    """An operation as its rule sees it. A user's rule sees half precision as it was recorded."""
    if isinstance(tape, WideTape) and operation in tape.before:
        return Step(tape.before[operation], tape.recorded, samples)
    return Step(operation, tape, samples, **options)


def refuse_arrived(signal: Tensor) -> None:
    """Raise InputError for a signal that is not finite where it arrives."""
    bad = int((~torch.isfinite(signal)).sum())
    raise InputError(
        f"the projection at the input holds {bad} {agreeing(bad, 'value that is', 'values that are')} NaN or infinite: "
        f"a derivative on the way is not finite, or a number too large for {signal.dtype}; look at a layer nearer "
        f"to the input, or give model and input in a wider type, such as model.double() makes"
    )


def _mirrored(rule: Mirror, op: Step, arriving: list[Tensor | None], met: Met) -> list[tuple[Value, Tensor]]:
    """The signals at an operation's inputs, each in the type of its input."""
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
    typed = [(value, op.typed(part, value)) for value, part in pairs]
    if rule.listed:
        (met.linearised if typed else met.stopped)[str(operation)] = None
    return typed


def _only(carriers: list[Value], operation: Operation) -> Value:
    if len(carriers) != 1:
        raise UnsupportedOperation(
            f"the rule for {operation.label} returned one signal for {len(carriers)} inputs; "
            f"it must return pairs of (value, signal)"
        )
    return carriers[0]


def _planted(layer: Value, samples: int, seeds: Seeds, layout: torch.memory_format) -> Tensor:
    """One map per unit, zero but for the seed at the unit."""
    rows = layer.shape[0] // samples if layer.shape else 1
    per_sample = (rows, *layer.shape[1:])
    signal = torch.zeros((len(seeds), torch.Size(per_sample).numel()), dtype=layer.dtype, device=layer.device)
    signal.scatter_(1, seeds.indices.to(layer.device)[:, None], seeds.values.to(signal)[:, None])
    return signal.view((len(seeds) * rows, *layer.shape[1:]) if layer.shape else ()).contiguous(memory_format=layout)


def _bytes_per_unit(tape: Tape, layer: Value) -> int:
    """An upper bound for the signals of one unit: four maps of the size of the largest."""
    largest = max(
        torch.Size(value.shape).numel() * value.dtype.itemsize
        for value in (layer, *(value for operation in tape.operations for value in operation.inputs))
        if value.id <= layer.id
    )
    return max(1, 4 * largest // tape.samples)


def check_constants(tape: Tape) -> None:
    """Raise InputError if a parameter has been written since the tape was recorded."""
    if where := changed_since(tape):
        raise InputError(
            f"a parameter or buffer used in {where!r} was changed since this trace was recorded; trace again"
        )


def changed_since(tape: Tape) -> str:
    """The module that uses a parameter or buffer which has been written since; '' if there is none."""
    written = (
        where
        for tensor, version, where in tape.constants.values()
        if not tensor.is_inference() and tensor._version != version
    )
    return next(written, "")


def out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
