"""Which channels of which layers are a channel's inputs, and with what weights.

The input of a convolution or linear layer is followed back over the tape to layers of the atlas, through operations
that keep channels apart: rectifiers, poolings, norms, dropout, sums, concatenations and flattening.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deconvviz.io.restoring import Restored
from deconvviz.projection.receptive_field import channel_axis
from deconvviz.recording.tape import Operation, Tape, Value

STRONGEST = 8
_FLATTENED = ("aten.view", "aten._unsafe_view", "aten.reshape", "aten.flatten", "aten.squeeze", "aten.unsqueeze")

_MIXING = ("aten.convolution", "aten.mm", "aten.addmm", "aten.bmm", "aten.baddbmm", "torch.nn.functional.linear")


class ChannelSource(NamedTuple):
    """Channels of a value that are channels of a layer.

    Attributes:
        layer: Name of the layer.
        start: First of these channels of the value.
        stop: One past the last.
        first: The layer's channel that `start` belongs to.
        each: How many neighbouring channels of the value are one channel of the layer, as after flattening.
    """

    layer: str
    start: int
    stop: int
    first: int
    each: int


def inputs_of(
    model: nn.Module, tape: Tape, layer: str, layers: Collection[str]
) -> list[tuple[tuple[str, int, float], ...]]:
    """The strongest input channels of each channel of a layer.

    Args:
        model: The model.
        tape: A run of it.
        layer: Name of the layer.
        layers: Names of the layers whose channels count as inputs.

    Returns:
        Per channel (layer, channel, weight), strongest first. The weight is the norm of the kernel between the two
        channels, with the sign of the kernel's sum. The list is empty if the layer is no convolution or linear module,
        or has no inputs but the image.
    """
    module = dict(model.named_modules()).get(layer)
    maker = tape.makers().get(tape.layers[layer].value.id)
    if maker is None or not isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)) or not maker.inputs:
        return []
    with Restored(torch.no_grad()):
        weights = _strengths(module)  # (channels, input channels)
    sources = _sources(tape, tape.makers(), maker.inputs[0], {tape.layers[name].value.id: name for name in layers})
    columns = [
        (source.layer, source.first + number, weights[:, start : start + source.each])
        for source in sources
        for number, start in enumerate(range(source.start, source.stop, source.each))
    ]
    if not columns:
        return []
    joined = torch.stack([_signed_norm(part) for _, _, part in columns], 1)
    best = joined.abs().topk(min(STRONGEST, len(columns)), 1).indices
    return [
        tuple((columns[column][0], columns[column][1], float(joined[channel, column])) for column in row)
        for channel, row in enumerate(best.tolist())
    ]


def _strengths(module: Any) -> Tensor:
    """The norm of each kernel, with the sign of its sum, (channels, input channels); zero between groups."""
    weight: Tensor = module.weight.detach().float().cpu()
    if isinstance(module, nn.Linear):
        return weight
    parts: Sequence[Tensor] = weight.chunk(module.groups)
    if module.transposed:  # (in, out / groups, ...)
        parts = [part.transpose(0, 1) for part in parts]
    blocks: Tensor = torch.block_diag(*(_signed_norm(part.flatten(2)) for part in parts))
    return blocks


def _signed_norm(kernels: Tensor) -> Tensor:
    """The norm over the last axis, with the sign of the sum."""
    norms: Tensor = torch.linalg.vector_norm(kernels, dim=-1)
    return norms.where(kernels.sum(-1) >= 0, -norms)


def _sources(
    tape: Tape, makers: dict[int, Operation], value: Value, layers: dict[int, str]
) -> tuple[ChannelSource, ...]:
    """The layers that a value's channels come from, each once. layers: their names by the ids of their values."""
    axes: dict[int, int] = {}
    sources: dict[int, tuple[ChannelSource, ...]] = {}  # by a value's id
    stack = [value]
    while stack:
        current = stack[-1]
        count = current.shape[channel_axis(tape, current, makers, axes)] if current.shape else 0
        parts = () if current.id in layers else _inputs_among(tape, makers, current, count, axes)
        missing = [part for part, _, _ in parts if part.id not in sources]
        if missing:
            stack.extend(missing)
            continue
        stack.pop()
        passed_on = (
            ChannelSource(
                source.layer, source.start * each + start, source.stop * each + start, source.first, source.each * each
            )
            for part, start, each in parts
            for source in sources[part.id]
        )
        own = [ChannelSource(layers[current.id], 0, count, 0, 1)] if current.id in layers else []
        sources[current.id] = tuple(dict.fromkeys([*own, *passed_on]))
    return sources[value.id]


def _inputs_among(
    tape: Tape, makers: dict[int, Operation], value: Value, count: int, axes: dict[int, int]
) -> tuple[tuple[Value, int, int], ...]:
    """The inputs of a value's operation whose channels are among the value's `count` channels.

    Returns:
        Per input: its value, the channel at which its channels start, and how many channels it has for each of them.
    """
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
