"""A tape made ready for walks of many units: the same signals, with fewer and faster operations.

Filters are laid out like the signals that pass them, on a CPU channels last. The factor of a normalisation that stands
behind a convolution goes into the filters, which is one pass over the filters instead of one over every unit's signal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from deconvviz.operations.convolution import filter_transposed, lies_channels_last
from deconvviz.operations.normalisation import channel_factors, scale
from deconvviz.operations.registry import rule_for
from deconvviz.operations.step import Step
from deconvviz.operations.styles import Style
from deconvviz.recording.tape import Operation, Tape, Value, mapped


def signal_layout(tape: Tape, layer: Value) -> torch.memory_format:
    """The layout of signals (units, C, H, W) of many units."""
    return torch.channels_last if has_channels_last(tape, layer) else torch.contiguous_format


def has_channels_last(tape: Tape, layer: Value) -> bool:
    """Whether channels lie last in the signals of many units: on a CPU, and elsewhere if they do so in the filters."""
    return layer.device.type == "cpu" or any(map(lies_channels_last, _filters(tape)))


def _filters(tape: Tape) -> Iterator[Tensor]:
    """The filters of convolutions, if they do not depend on the input."""
    weights = (operation["weight"].id for operation in tape.operations if operation.label == "aten.convolution")
    return (tape.data[weight] for weight in weights if weight in tape.data)


def folded(tape: Tape, style: Style, layer: Value, layout: torch.memory_format = torch.channels_last) -> Tape:
    """The tape, to be walked back from `layer` under `style`, with its filters in a layout."""
    data = tape.data.copy()
    readers = Counter(value.id for operation in tape.operations for value in operation.inputs)
    normalised: dict[int, Operation] = {}  # by the id of what is normalised, and nothing else is done with
    for operation in tape.operations:
        if rule_for(operation, style).function is scale and readers[operation["input"].id] == 1:
            normalised[operation["input"].id] = operation
    normalised.pop(layer.id, None)
    done, operations = set(), []
    for operation in tape.operations:
        if operation in done:
            continue
        weight = operation["weight"] if rule_for(operation, style).function is filter_transposed else None
        if weight is None or len(weight.shape) != 4:
            operations.append(operation)
            continue
        filters = tape.data[weight.id]
        norm = None if operation["transposed"] else normalised.get(operation.made.id)
        if norm is None:
            operations.append(operation)
        else:
            filters = filters * channel_factors(Step(norm, tape, None)).to(filters.dtype).view(-1, 1, 1, 1)
            done.add(norm)
            operations.append(_merged(operation, norm, weight))
        data[operations[-1]["weight"].id] = filters.contiguous(memory_format=layout)
    return replace(tape, data=data, operations=operations)


def _merged(filtering: Operation, norm: Operation, weight: Value) -> Operation:
    """A convolution that makes what the norm behind it made, with filters of its own: others may share the old ones."""
    own = replace(weight, id=-norm.made.id - 1)
    args, kwargs = (
        mapped(part, lambda value: own if value is weight else value, Value)
        for part in (filtering.args, filtering.kwargs)
    )
    return replace(filtering, args=args, kwargs=kwargs, outputs=(norm.made,))
