"""Half precision: the way back of a network in half precision runs in single precision.

A signal grows and shrinks by many orders of magnitude on its way, and half precision ends at 65504. So the tape of a
network in half precision, 8-bit floats or complex halves is read as a tape of float32: its values, the numbers that
were kept, and the types that operations were given.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from deconvviz.operations.registry import rule_for
from deconvviz.operations.styles import Style
from deconvviz.recording.tape import Operation, Tape, Value, mapped

_SOFTMAXES = ("aten._softmax", "aten._log_softmax")


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type of signals at values of this type."""
    if dtype.is_floating_point and dtype.itemsize < 4:
        return torch.float32
    return torch.complex64 if dtype == torch.complex32 else dtype


class Widened(dict[int, Tensor]):
    """Recorded numbers, converted to their wide type when read."""

    def __init__(self, recorded: dict[int, Tensor]) -> None:
        super().__init__(recorded.items())
        self._recorded = recorded

    def __getitem__(self, key: int) -> Tensor:
        numbers = super().__getitem__(key)
        return numbers.to(wide(numbers.dtype))

    def __missing__(self, key: int) -> Tensor:
        return self._recorded[key]  # which may be cut only now

    def copy(self) -> Widened:
        return Widened(self)


@dataclass(eq=False, kw_only=True)
class WideTape(Tape):
    """A tape whose signals have a wider type than what was recorded.

    Attributes:
        recorded: The tape as it was recorded.
        before: Operations as they were recorded, for rules that do not come with the library.
    """

    recorded: Tape = field(default_factory=Tape)
    before: dict[Operation, Operation] = field(default_factory=dict)


def widened(tape: Tape, style: Style, layer: Value) -> tuple[Tape, Value]:
    """The tape and its layer for the way back in single precision; unchanged if nothing is narrower."""
    every = {value for operation in tape.operations for value in (*operation.inputs, *operation.outputs) if value}
    if all(value.dtype == wide(value.dtype) for value in (*every, *tape.inputs, layer)):
        return tape, layer
    known: dict[Value, Value] = {}

    def changed(item: Any) -> Any:
        if isinstance(item, torch.dtype):
            return wide(item)
        if item not in known:
            known[item] = item if item.dtype == wide(item.dtype) else replace(item, dtype=wide(item.dtype))
        return known[item]

    wider = WideTape(
        inputs=[changed(value) for value in tape.inputs],
        data=Widened(tape.data),
        constants=dict(tape.constants),
        samples=tape.samples,
        complete=tape.complete,
        recorded=tape,
    )
    for operation in tape.operations:
        args, kwargs = (mapped(part, changed, (Value, torch.dtype)) for part in (operation.args, operation.kwargs))
        if operation.label in _SOFTMAXES:  # they convert halves to float32, and no other type
            args = (*args[:2], False)
        inputs = tuple(changed(value) for value in operation.inputs)
        outputs = tuple(None if value is None else changed(value) for value in operation.outputs)
        new = replace(operation, args=args, kwargs=kwargs, inputs=inputs, outputs=outputs)
        if not rule_for(operation, style).is_ours:
            wider.before[new] = operation
        wider.operations.append(new)
    return wider, changed(layer)
