"""Stride, offset and receptive field of layers and units, exact on any recorded graph.

>>> import torch
>>> from deconvviz.recorder import record
>>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3, stride=2), torch.nn.MaxPool2d(2))
>>> tape = record(model, torch.zeros(1, 1, 9, 9))
>>> layer_geometry(tape, [tape.layers["1"]])[0]
LayerGeometry(channel_axis=1, stride=(4.0, 4.0), offset=(0, 0), receptive_field=(5, 5))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deconvviz.tape import Layer, Operation, Tape, Value
from deconvviz.windows import Windows, axis_groups, everything_seen, nothing_seen, permutation, windows_at_inputs

_CHANNELS_SECOND = ("aten.convolution", "aten.native_batch_norm", "aten.cudnn_batch_norm")
_CHANNELS_LAST = ("torch.nn.functional.linear", "aten.mm", "aten.addmm", "aten.native_layer_norm")
_RECURRENT = ("aten.mkldnn_rnn_layer", "aten._cudnn_rnn", "aten.lstm", "aten.gru")
_RESHAPED = ("aten.view", "aten._unsafe_view", "aten.squeeze", "aten.unsqueeze")


class LayerGeometry(NamedTuple):
    """Of one layer, per spatial axis of the input; None where the layer sees all of it."""

    channel_axis: int
    stride: tuple[float, ...] | None
    offset: tuple[int, ...] | None
    receptive_field: tuple[int, ...] | None


def channel_axis(tape: Tape, layer: Value, makers: dict[int, Operation] | None = None) -> int:
    """The axis along which a layer's channels lie: that of the convolution, linear layer or norm they come from.

    Followed back through pointwise operations, permutations and reshapes; 1 where nothing tells.
    """
    makers = makers or tape.makers()

    def followed(value: Value) -> int:
        operation = makers.get(value.id)
        rank = len(value.shape)
        if operation is None or operation.label in _CHANNELS_SECOND:
            return min(1, rank - 1)
        if operation.label in _CHANNELS_LAST + _RECURRENT:
            return rank - 1
        source = operation.inputs[0]
        if operation.label == "aten.stack":
            before = followed(source)
            return before + int(operation["dim"] % rank <= before)
        if operation.label in ("aten.permute", "aten.transpose"):
            return permutation(operation).index(followed(source))
        if operation.label in _RESHAPED:
            before = followed(source)
            for old, new in axis_groups(source.shape, value.shape):
                if before in old and new:
                    return new[min(old.index(before), len(new) - 1)]
            return min(1, rank - 1)
        if len(source.shape) == rank:
            return followed(source)
        return min(1, rank - 1)

    return followed(layer) or min(1, len(layer.shape) - 1)  # along axis 0 lie the samples


def receptive_fields(tape: Tape, layer: Value, positions: Sequence[Sequence[int | None]]) -> NDArray[np.int64]:
    """The input pixels that units of a layer see.

    positions: per unit its index along every axis of `layer` but the first; None for a whole axis.
    Returns (units, spatial axes, 2): first pixel and one past the last, clipped to the input.
    """
    rows = everything_seen(len(positions), len(layer.shape))
    for row, position in zip(rows, positions, strict=True):
        for axis, index in enumerate(position, 1):
            row[axis] = (0, layer.shape[axis] - 1) if index is None else (index, index)
    image, spatial = _image(tape)
    seen = windows_at_inputs(tape, {layer.id: rows})[image.id][:, spatial:]
    clipped = np.clip(np.nan_to_num(seen, posinf=1e15, neginf=-1e15), 0, np.array(image.shape[spatial:])[:, None] - 1)
    clipped[..., 1] += 1
    clipped[seen[..., 0] > seen[..., 1]] = 0
    return clipped.astype(np.int64)


def layer_geometry(tape: Tape, layers: Sequence[Layer]) -> list[LayerGeometry]:
    """Stride, offset and receptive field of each layer, unclipped, over all channels; one walk for all layers."""
    makers = tape.makers()
    channels = [channel_axis(tape, layer.value, makers) for layer in layers]
    probes = [_probes(layer.value.shape, channel) for layer, channel in zip(layers, channels, strict=True)]
    count = sum(map(len, probes))
    starts: dict[int, Windows] = {}
    row = 0
    for layer, positions in zip(layers, probes, strict=True):
        rows = starts.setdefault(layer.value.id, nothing_seen(count, len(layer.value.shape)))
        for position in positions:
            rows[row, 0] = (-math.inf, math.inf)
            for axis, index in enumerate(position, 1):
                rows[row, axis] = (-math.inf, math.inf) if index is None else (index, index)
            row += 1
    image, spatial = _image(tape)
    seen = windows_at_inputs(tape, starts)[image.id][:, spatial:]
    ends = np.cumsum([0, *map(len, probes)])
    return [_summary(seen[ends[i] : ends[i + 1]], probes[i], channels[i]) for i in range(len(layers))]


def _image(tape: Tape) -> tuple[Value, int]:
    """The first input that carries a signal, and its first spatial axis: behind batch, if it has one, and channels."""
    image = next(value for value in tape.inputs if value.carries_signal)
    return image, 2 if image.shape[0] == tape.samples else 1


def _probes(shape: tuple[int, ...], channel: int) -> list[tuple[int | None, ...]]:
    """Units to look at: the first, one moved along each axis, and all channels.

    They move by a power of two, since the windows of an interpolated map move in steps.
    """
    axes = range(len(shape) - 1)
    moved = [2 ** max(0, (size - 1).bit_length() - 1) for size in shape[1:]]
    return [
        (0,) * len(axes),
        *(tuple(moved[a] if a == axis else 0 for a in axes) for axis in axes),
        tuple(None if a + 1 == channel else 0 for a in axes),
    ]


def _summary(seen: Windows, positions: list[tuple[int | None, ...]], channel: int) -> LayerGeometry:
    axes = len(positions[0])
    origin, moves, whole = seen[0], seen[1 : axes + 1], seen[-1]
    if not np.isfinite(whole).all() or not len(whole):
        return LayerGeometry(channel, None, None, None)
    stride, size = np.zeros(len(whole)), whole[:, 1] - whole[:, 0] + 1
    for axis in range(axes):
        distance = positions[axis + 1][axis]
        if axis + 1 != channel and distance:
            stride = np.maximum(stride, (moves[axis][:, 0] - origin[:, 0]) / distance)
            size = np.maximum(size, moves[axis][:, 1] - moves[axis][:, 0] + 1)
    return LayerGeometry(
        channel,
        tuple(float(s) for s in stride),
        tuple(int(first) for first in whole[:, 0]),
        tuple(int(s) for s in size),
    )
