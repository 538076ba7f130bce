"""Which channels of which layers feed a channel, and how strongly.

The input of a convolution or linear layer is followed back over the tape to layers of the atlas, through operations
that leave channels where they are: rectifiers, poolings, norms, dropout, sums, concatenations and flattening.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deconvviz.geometry import channel_axis
from deconvviz.tape import Operation, Tape, Value

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
    with torch.no_grad():
        weights = _strengths(module)  # (channels, input channels)
    sources = list(
        _sources(tape, tape.makers(), maker.inputs[0], {tape.layers[name].value.id: name for name in layers})
    )
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


def _sources(tape: Tape, makers: dict[int, Operation], value: Value, known: dict[int, str]) -> Iterator[Source]:
    """The layers whose channels a value's channels are."""
    axis = channel_axis(tape, value, makers)
    count = value.shape[axis]
    operation = makers.get(value.id)
    if value.id in known:
        yield Source(known[value.id], 0, count, 0, 1)
    elif operation is None or operation.label in _MIXING:
        return
    elif operation.label == "aten.cat" and operation["dim"] % len(value.shape) == axis:
        start = 0
        for part in operation.inputs:
            for source in _sources(tape, makers, part, known):
                yield source._replace(start=source.start + start, stop=source.stop + start)
            start += part.shape[axis]
    else:
        for part in operation.inputs:
            channels = part.shape[channel_axis(tape, part, makers)] if part.shape else 0
            if channels == count or (operation.label in _FLATTENED and channels and count % channels == 0):
                each = count // channels
                for source in _sources(tape, makers, part, known):
                    yield Source(
                        source.layer, source.start * each, source.stop * each, source.first, source.each * each
                    )
