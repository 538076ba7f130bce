"""A recorded operation as its rule sees it on the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from deconvviz.recording.tape import Operation, Tape, Value

Signals = Tensor | Iterable[tuple[Any, Tensor]]


class Step:
    """A recorded operation, laid out for the units that travel through it.

    Attributes:
        samples: For each unit the index of its sample, where the recorded numbers lie; the signal then has the units'
            samples along axis 0. None: the signal has the recorded shape.
        writable: Whether the rule may overwrite the arriving signals, because nothing else reads them.
        dense: Ids of values whose signals are known to fill most of the map. A rule may add those it meets.
        taken: For an input, takes over the signal that has arrived there so far, for a rule that adds to it and
            returns the sum. None if nothing has arrived, or if something else reads it. Only for rules that are `own`.
    """

    def __init__(
        self,
        operation: Operation,
        tape: Tape,
        samples: Tensor | None,
        *,
        writable: bool = False,
        dense: set[int] | None = None,
        taken: Callable[[Value], Tensor | None] = lambda value: None,
    ) -> None:
        self.operation, self.tape, self.samples, self.writable = operation, tape, samples, writable
        self.dense = set() if dense is None else dense
        self.taken = taken

    def __getitem__(self, name: str) -> Any:
        return self.operation[name]

    @property
    def inputs(self) -> tuple[Value, ...]:
        return self.operation.inputs

    @property
    def made(self) -> Value:
        return self.operation.made

    def output(self, position: int) -> Value:
        value = self.operation.outputs[position]
        assert value is not None
        return value

    @property
    def outputs(self) -> tuple[Value | None, ...]:
        return self.operation.outputs

    def shape(self, value: Value) -> tuple[int, ...]:
        """The shape of a signal at `value`."""
        if self.samples is None:
            return value.shape
        return (value.shape[0] // self.tape.samples * len(self.samples), *value.shape[1:])

    def data(self, value: Value) -> Tensor:
        """The recorded numbers of `value`, laid out like the signal if they depend on the input."""
        numbers = self.tape.data[value.id]
        return self.rows(numbers) if value.tracked else numbers

    def rows(self, numbers: Tensor) -> Tensor:
        """Recorded samples along axis 0, repeated so that there is one entry per unit."""
        if self.samples is None:
            return numbers
        by_sample: Tensor = numbers.unflatten(0, (self.tape.samples, -1))
        return by_sample.index_select(0, self.samples).flatten(0, 1)

    def operand(self, name: str, like: Value) -> Any:
        """An argument as a number, or as a tensor that broadcasts against signals at `like`."""
        value = self[name]
        if not isinstance(value, Value):
            return value
        numbers = self.tape.data[value.id]
        along_batch = len(value.shape) == len(like.shape) and value.shape[0] == like.shape[0]
        return self.rows(numbers) if value.tracked or along_batch else numbers

    def fitted(self, value: Any, signal: Tensor) -> tuple[Any, Tensor]:
        """The pair for an argument that was broadcast to the output: the signal, summed to the argument's shape."""
        if isinstance(value, Value) and value.carries_signal:
            signal = signal.sum_to_size(self.shape(value))
        return value, signal

    def typed(self, signal: Tensor, value: Value) -> Tensor:
        """A signal in the type of `value`: the real part if a real number was made complex."""
        if signal.dtype == value.dtype:
            return signal
        return (signal.real if signal.is_complex() and not value.dtype.is_complex else signal).to(value.dtype)
