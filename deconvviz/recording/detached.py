"""Where a signal is passed through a `detach`, and where it stops.

autograd stops at each. A frozen network whose features are detached still wants its picture, so the rule is:

    A detach is passed where no other way leads from what it detaches, or from what that was computed from, to the
    layer. Where one does, it stops the signal.

So wherever autograd has a picture it is that picture, and where autograd has none a detach is passed. Inside of what
was reached through one, as in a straight-through estimator within a frozen network, the same is asked again.
"""

from __future__ import annotations

from typing import Any

import torch

from deconvviz.recording.tape import Operation, Tape, Value

aten: Any = torch.ops.aten


def detaches(operation: Operation) -> bool:
    """Whether it is a `detach`, or stands where a value leaves a `no_grad` block."""
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
    through = [one for one in tape.operations if detaches(one) and one not in undecided and one not in stops]
    return frozenset(stops), through


def _reach(tape: Tape, reached: set[int]) -> None:
    """Add the values from which a way without a detach leads to one of those reached."""
    for operation in reversed(tape.operations):
        if not detaches(operation) and any(value is not None and value.id in reached for value in operation.outputs):
            reached.update(value.id for value in operation.inputs if value.carries_signal)


def _computed_from(tape: Tape, reached: set[int]) -> set[int]:
    """The values reached, and all that were computed from them."""
    found = set(reached)
    for operation in tape.operations:
        if any(value.id in found for value in operation.inputs):
            found.update(value.id for value in operation.outputs if value is not None)
    return found
