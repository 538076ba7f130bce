"""Which channels of which layers feed a channel, and how strongly.

The input of a convolution or linear layer is followed back over the tape to layers of the atlas, through operations
that leave channels where they are: rectifiers, poolings, norms, dropout, sums, concatenations and flattening.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deconvviz.projection.receptive_field import channel_axis
from deconvviz.recording.restoring import Restored
from deconvviz.recording.tape import Operation, Tape, Value

STRONGEST = 8
_FLATTENED = ("aten.view", "aten._unsafe_view", "aten.reshape", "aten.flatten", "aten.squeeze", "aten.unsqueeze")

_MIXING = ("aten.convolution", "aten.mm", "aten.addmm", "aten.bmm", "aten.baddbmm", "torch.nn.functional.linear")


class Source(NamedTuple):
    """Channels `start` to `stop` of a value are those of a layer from `first` on, `each` values for one channel."""

    layer: str
    start: int
    stop: int
    first: int
    each: int


def inputs_of(
    model: nn.Module, tape: Tape, layer: str, layers: Collection[str]
) -> list[tuple[tuple[str, int, float], ...]]:
    """Per channel of a layer the strongest channels that feed it: (layer, channel, weight), strongest first.

    The weight is the norm of the kernel between the two channels, with the sign of the kernel's sum. Channels of layers
    that are no convolutions or linear modules, and what comes from the image itself, have none: an empty list.
    """
    module = dict(model.named_modules()).get(layer)
    maker = tape.makers().get(tape.layers[layer].value.id)
    if maker is None or not isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)) or not maker.inputs:
        return []
    with Restored(torch.no_grad()):
        weights = _strengths(module)  # (channels, input channels)
    sources = _sources(tape, tape.makers(), maker.inputs[0], {tape.layers[name].value.id: name for name in layers})
    columns = [
        (source.layer, source.first + at, weights[:, begin : begin + source.each])
        for source in sources
        for at, begin in enumerate(range(source.start, source.stop, source.each))
    ]
    if not columns:
        return []
    joined = torch.stack([_joined(part) for _, _, part in columns], 1)
    best = joined.abs().topk(min(STRONGEST, len(columns)), 1).indices
    return [
        tuple((columns[at][0], columns[at][1], float(joined[channel, at])) for at in row)
        for channel, row in enumerate(best.tolist())
    ]


def _strengths(module: Any) -> Tensor:
    """(channels, input channels): the norm of each kernel with the sign of its sum; zero between groups."""
    weight: Tensor = module.weight.detach().float().cpu()
    if isinstance(module, nn.Linear):
        return weight
    parts: Sequence[Tensor] = weight.chunk(module.groups)
    if module.transposed:  # (in, out / groups, ...)
        parts = [part.transpose(0, 1) for part in parts]
    blocks: Tensor = torch.block_diag(*(_joined(part.flatten(2)) for part in parts))
    return blocks


def _joined(kernels: Tensor) -> Tensor:
    """The norm over the last axis, with the sign of the sum."""
    norms: Tensor = torch.linalg.vector_norm(kernels, dim=-1)
    return norms.where(kernels.sum(-1) >= 0, -norms)


def _sources(tape: Tape, makers: dict[int, Operation], value: Value, known: dict[int, str]) -> tuple[Source, ...]:
    """The layers whose channels a value's channels are, each once."""
    axes: dict[int, int] = {}
    found: dict[int, tuple[Source, ...]] = {}
    waiting = [value]
    while waiting:
        here = waiting[-1]
        count = here.shape[channel_axis(tape, here, makers, axes)] if here.shape else 0
        parts = () if here.id in known else _parts(tape, makers, here, count, axes)
        missing = [part for part, _, _ in parts if part.id not in found]
        if missing:
            waiting.extend(missing)
            continue
        waiting.pop()
        through = (
            Source(one.layer, one.start * each + start, one.stop * each + start, one.first, one.each * each)
            for part, start, each in parts
            for one in found[part.id]
        )
        own = [Source(known[here.id], 0, count, 0, 1)] if here.id in known else []
        found[here.id] = tuple(dict.fromkeys([*own, *through]))
    return found[value.id]


def _parts(
    tape: Tape, makers: dict[int, Operation], value: Value, count: int, axes: dict[int, int]
) -> tuple[tuple[Value, int, int], ...]:
    """The values whose channels a value has among its `count`: each, where they start, how many it has for one."""
    operation = makers.get(value.id)
    if operation is None or operation.label in _MIXING:
        return ()
    parts = tuple(
        (part, part.shape[channel_axis(tape, part, makers, axes)] if part.shape else 0) for part in operation.inputs
    )
    if operation.label == "aten.cat" and operation["dim"] % len(value.shape) == channel_axis(tape, value, makers, axes):
        starts = itertools.accumulate((channels for _, channels in parts), initial=0)
        return tuple((part, start, 1) for (part, _), start in zip(parts, starts, strict=False))
    flattened = operation.label in _FLATTENED
    return tuple(
        (part, 0, count // channels)
        for part, channels in parts
        if channels and (channels == count or (flattened and count % channels == 0))
    )
