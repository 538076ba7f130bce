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

from deconvviz.tape import Layer, Tape, Value
from deconvviz.windows import Windows, everything_seen, nothing_seen, windows_at_inputs


class LayerGeometry(NamedTuple):
    """Of one layer, per spatial axis of the input; None where the layer sees all of it.

    channel_axis: 1, or the last axis where that is the one along which a unit's window stands still.
    """

    channel_axis: int
    stride: tuple[float, ...] | None
    offset: tuple[int, ...] | None
    receptive_field: tuple[int, ...] | None


def receptive_fields(tape: Tape, layer: Value, positions: Sequence[Sequence[int | None]]) -> NDArray[np.int64]:
    """The input pixels that units of a layer see.

    positions: per unit its index along every axis of `layer` but the first; None for a whole axis.
    Returns (units, spatial axes, 2): first pixel and one past the last, clipped to the input.
    """
    rows = everything_seen(len(positions), len(layer.shape))
    for row, position in zip(rows, positions, strict=True):
        for axis, index in enumerate(position, 1):
            row[axis] = (0, layer.shape[axis] - 1) if index is None else (index, index)
    image = tape.inputs[0]
    seen = windows_at_inputs(tape, {layer.id: rows})[image.id][:, 2:]
    clipped = np.clip(np.nan_to_num(seen, posinf=1e15, neginf=-1e15), 0, np.array(image.shape[2:])[:, None] - 1)
    clipped[..., 1] += 1
    clipped[seen[..., 0] > seen[..., 1]] = 0
    return clipped.astype(np.int64)


def layer_geometry(tape: Tape, layers: Sequence[Layer]) -> list[LayerGeometry]:
    """Stride, offset and receptive field of each layer, unclipped, over all channels; one walk for all layers."""
    probes = [_probes(layer.value.shape) for layer in layers]
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
    seen = windows_at_inputs(tape, starts)[tape.inputs[0].id][:, 2:]
    ends = np.cumsum([0, *map(len, probes)])
    return [_summary(seen[ends[i] : ends[i + 1]], probes[i]) for i in range(len(layers))]


def _probes(shape: tuple[int, ...]) -> list[tuple[int | None, ...]]:
    """Units to look at: the first, one moved along each axis, and all along the axes that may be the channels'.

    They move by a power of two, since the windows of an interpolated map move in steps.
    """
    axes = range(len(shape) - 1)
    origin = (0,) * len(axes)
    moved = [2 ** max(0, (size - 1).bit_length() - 1) for size in shape[1:]]
    ends = {0, len(axes) - 1} if axes else set()
    return [
        origin,
        *(tuple(moved[a] if a == axis else 0 for a in axes) for axis in axes),
        *(tuple(None if a == axis else 0 for a in axes) for axis in sorted(ends)),
    ]


def _summary(seen: Windows, positions: list[tuple[int | None, ...]]) -> LayerGeometry:
    axes = len(positions[0])
    origin, moves, whole = seen[0], seen[1 : axes + 1], seen[axes + 1 :]
    stands = [bool((window == origin).all()) for window in moves]
    last = axes > 2 and stands[-1] and not stands[0]
    channel, window = (axes - 1, whole[-1]) if last else (0, whole[0] if len(whole) else origin)
    if not np.isfinite(window).all() or not len(window):
        return LayerGeometry(channel + 1, None, None, None)
    stride, size = np.zeros(len(window)), window[:, 1] - window[:, 0] + 1
    for axis in range(axes):
        distance = positions[axis + 1][axis]
        if axis != channel and distance:
            stride = np.maximum(stride, (moves[axis][:, 0] - origin[:, 0]) / distance)
            size = np.maximum(size, moves[axis][:, 1] - moves[axis][:, 0] + 1)
    return LayerGeometry(
        channel + 1,
        tuple(float(s) for s in stride),
        tuple(int(first) for first in window[:, 0]),
        tuple(int(s) for s in size),
    )
