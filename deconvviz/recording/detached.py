"""Which detaches a signal passes through, and which stop it.

Autograd stops at each detach. The features of a frozen network are often detached, and its units should still have
pictures. So the rule is:

    A signal passes through a detach unless another path leads from the detached value, or from a value it was computed
    from, to the layer. In that case the detach stops the signal.

So a picture is autograd's wherever autograd has one, and a detach is passed only where autograd has none. The same rule
holds again inside of what was reached through a detach, such as a straight-through estimator in a frozen network.
"""

from __future__ import annotations

from typing import Any

import torch

from deconvviz.recording.tape import Operation, Tape, Value

aten: Any = torch.ops.aten


def detaches(operation: Operation) -> bool:
    """Whether an operation is a `detach`, or marks where a value leaves a `no_grad` block."""
    return operation.func is aten.detach.default


def stopping(tape: Tape, layer: Value) -> frozenset[Operation]:
    """The detaches of a tape at which a signal from `layer` stops."""
    return _decided(tape, layer)[0]


def passed(tape: Tape, layer: Value) -> tuple[str, ...]:
    """The detaches that a signal from `layer` may be passed through, named as in `Provenance.detached`."""
    return tuple(dict.fromkeys(map(str, reversed(_decided(tape, layer)[1]))))


def _decided(tape: Tape, layer: Value) -> tuple[frozenset[Operation], list[Operation]]:
    """The detaches at which a signal from `layer` stops, and those that it is passed through, as they ran."""
    undecided = {operation for operation in tape.operations if detaches(operation)}
    stops: set[Operation] = set()
    reached = {layer.id}
    while undecided:
        _reach(tape, reached)
        met = [operation for operation in undecided if operation.made.id in reached]
        if not met:
            break
        connected = _computed_from(tape, reached)
        stops.update(operation for operation in met if operation.inputs[0].id in connected)
        undecided.difference_update(met)
        reached.update(operation.inputs[0].id for operation in met if operation not in stops)
    detaching = [operation for operation in tape.operations if detaches(operation)]
    through = [operation for operation in detaching if operation not in undecided and operation not in stops]
    return frozenset(stops), through


def _reach(tape: Tape, reached: set[int]) -> None:
    """Add the values from which a path without a detach leads to one of those reached."""
    for operation in reversed(tape.operations):
        if not detaches(operation) and any(value is not None and value.id in reached for value in operation.outputs):
            reached.update(value.id for value in operation.inputs if value.carries_signal)


def _computed_from(tape: Tape, reached: set[int]) -> set[int]:
    """The values reached, and all values that were computed from them."""
    computed = set(reached)
    for operation in tape.operations:
        if any(value.id in computed for value in operation.inputs):
            computed.update(value.id for value in operation.outputs if value is not None)
    return computed
