"""The part of a run between certain values and a layer, which can run again with other numbers there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

from torch import Tensor

from deconvviz.io.restoring import Restored
from deconvviz.operations.normalisation import is_batch_norm
from deconvviz.operations.vector_jacobian import run_again
from deconvviz.projection.backward import undisturbed
from deconvviz.recording.tape import Operation, Tape, Value, mapped


@dataclass(frozen=True)
class PartialTape:
    """What runs between certain values and a layer.

    Attributes:
        tape: The run, with these operations alone.
        layer: The value that the layer made.
        sources: The values at which it starts, by their names: layers, and inputs of the model.
    """

    tape: Tape
    layer: Value
    sources: dict[str, Value]

    @classmethod
    def of(cls, tape: Tape, layer: Value, names: Collection[str], inputs: Sequence[Tensor]) -> PartialTape:
        """The part of a run that starts at the nearest layers of some names, and at the inputs of the model.

        Args:
            tape: The run, with the numbers of the layers.
            layer: The value that the layer made, which is no source itself.
            names: The layers.
            inputs: The model's inputs.
        """
        stops = {tape.layers[name].value.id: name for name in names if tape.layers[name].value is not layer}
        needed, operations = {layer.id}, list[Operation]()
        for operation in reversed(tape.operations):
            wanted = [value.id for value in operation.outputs if value is not None and value.id in needed]
            if wanted and not all(made in stops for made in wanted):
                operations.append(operation)
                needed.update(value.id for value in operation.inputs)
        made = {value.id for operation in operations for value in operation.outputs if value is not None}
        begins = {input_name(place, len(tape.inputs)): value for place, value in enumerate(tape.inputs)}
        begins.update({name: tape.layers[name].value for name in stops.values()})
        sources = {name: value for name, value in begins.items() if value.id in needed - made and value.carries_signal}
        given = {value.id: numbers for value, numbers in zip(tape.inputs, inputs, strict=True)}
        return cls(replace(tape, operations=operations[::-1], data={**given, **tape.data}), layer, sources)

    def run(self, numbers: Mapping[str, Tensor]) -> Tensor:
        """What the layer returns for other numbers of the sources, by name; the others stay as recorded."""
        data, live = self.tape.data, {}
        for name, value in self.sources.items():
            live[value.id] = numbers.get(name, data[value.id])
        for value in self.tape.inputs:  # those from which only whole numbers or booleans are read
            live.setdefault(value.id, data[value.id])
        last = {value.id: place for place, op in enumerate(self.tape.operations) for value in op.inputs}

        def number(value: Value) -> Tensor:
            return live[value.id] if value.tracked else data[value.id]

        with undisturbed(self.layer.device):
            for place, operation in enumerate(self.tape.operations):
                drawn = operation.drawn
                args, kwargs = mapped(operation.args, number, Value), mapped(operation.kwargs, number, Value)
                with Restored(drawn.again() if drawn else nullcontext()):
                    result = run_again(operation.func, args, kwargs)
                results = result if isinstance(result, (tuple, list)) else [result]
                for output, made in zip(operation.outputs, results, strict=True):
                    if output is not None:
                        live[output.id] = made
                for value in operation.inputs:
                    if last[value.id] == place and value.id != self.layer.id:
                        live.pop(value.id, None)
        return live[self.layer.id]


def input_name(place: int, count: int) -> str:
    """What the input at a place is called among `count` inputs of a model."""
    return "input" if count == 1 else f"input {place}"


def behind_norms(tape: Tape, names: Collection[str]) -> list[str]:
    """For each layer the batch norm that alone reads it, or the layer: where a channel that is zero is silent."""
    readers: dict[int, list[Operation]] = {}
    for operation in tape.operations:
        for value in operation.inputs:
            readers.setdefault(value.id, []).append(operation)
    named = {layer.value.id: name for name, layer in reversed(tape.layers.items())}
    found = []
    for name in names:
        reading = readers.get(tape.layers[name].value.id, [])
        normed = named.get(reading[0].made.id) if len(reading) == 1 and is_batch_norm(reading[0]) else None
        found.append(normed or name)
    return list(dict.fromkeys(found))
