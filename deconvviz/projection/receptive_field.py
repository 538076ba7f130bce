"""Stride, offset and receptive field of layers and units, exact on any recorded graph.

>>> import torch
>>> from deconvviz.recording.recorder import record
>>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3, stride=2), torch.nn.MaxPool2d(2))
>>> tape = record(model, torch.zeros(1, 1, 9, 9))
>>> layer_geometry(tape, [tape.layers["1"]])[0]
LayerGeometry(channel_axis=1, stride=(4.0, 4.0), offset=(0, 0), receptive_field=(5, 5))
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deconvviz.operations.registry import ChannelRule, channels_for, window_for
from deconvviz.operations.windows import Windows, bounding, everything_seen, nothing_seen
from deconvviz.projection.layer_windows import Fixed, Key, lines_to, seen
from deconvviz.recording.tape import Layer, Operation, Tape, Value

LAYERS_AT_ONCE = 64  # layers whose windows are carried back together, if they cannot be composed


class LayerGeometry(NamedTuple):
    """Stride, offset and receptive field of a layer, per spatial axis of the input; None if it sees all of it."""

    channel_axis: int
    stride: tuple[float, ...] | None
    offset: tuple[int, ...] | None
    receptive_field: tuple[int, ...] | None


def channel_axis(
    tape: Tape, layer: Value, makers: dict[int, Operation] | None = None, known: dict[int, int] | None = None
) -> int:
    """The axis along which a layer's channels lie: that of the convolution, linear layer or norm they come from.

    It is followed back through pointwise operations, permutations and reshapes; 1 if nothing tells.

    Args:
        tape: The recorded run.
        layer: The value that the layer made.
        makers: `tape.makers()`, to share among many layers.
        known: Axes of values by their ids, read and added to; to share among many layers.
    """
    makers = tape.makers() if makers is None else makers
    known = {} if known is None else known
    way: list[tuple[Value, Operation | None, ChannelRule | None]] = []
    value: Value | None = layer
    while value is not None and value.id not in known:
        operation = makers.get(value.id)
        rule = None if operation is None else channels_for(operation)
        way.append((value, operation, rule))
        value = _source(operation, rule, value)
    axis = None if value is None else known[value.id]
    for value, operation, rule in reversed(way):
        axis = known[value.id] = _axis_through(operation, rule, value, axis)
    return known[layer.id] or min(1, len(layer.shape) - 1)  # along axis 0 lie the samples


def _source(operation: Operation | None, rule: ChannelRule | None, value: Value) -> Value | None:
    """The value whose channel axis tells that of `value`; None if the operation itself tells."""
    if operation is None or (rule is not None and rule.axis is not None):
        return None
    source = operation.inputs[0]
    moves = rule is not None and rule.moved is not None
    return source if moves or len(source.shape) == len(value.shape) else None


def _axis_through(operation: Operation | None, rule: ChannelRule | None, value: Value, before: int | None) -> int:
    """The channel axis of what an operation made, from that of its source if it has one."""
    rank = len(value.shape)
    if rule is not None and rule.axis is not None:
        return min(rule.axis, rank - 1) if rule.axis >= 0 else rank + rule.axis
    if operation is None or before is None:
        return min(1, rank - 1)
    return before if rule is None or rule.moved is None else rule.moved(operation, value, before)


def windows_at_inputs(tape: Tape, starts: dict[int, Windows]) -> dict[int, Windows]:
    """Carry windows from values (by id, all with the same number of rows) to the tape's inputs."""
    count = len(next(iter(starts.values()))) if starts else 0
    windows = dict(starts)
    for operation in reversed(tape.operations):
        for output in operation.outputs:
            if output is None or output.id not in windows:
                continue
            rows = windows.pop(output.id)
            empty = _empty(rows)
            for value in dict.fromkeys(operation.inputs):
                inside = window_for(operation, value).backward(operation, value, output, rows)
                if (nothing := empty | _empty(inside)).any():
                    inside[nothing] = (math.inf, -math.inf)
                known = windows.get(value.id)
                windows[value.id] = inside if known is None else bounding(known, inside)
    return {v.id: windows.get(v.id, nothing_seen(count, len(v.shape))) for v in tape.inputs}


def _empty(rows: Windows) -> NDArray[np.bool_]:
    """(rows,): which windows hold nothing."""
    return np.asarray((rows[..., 0] > rows[..., 1]).any(axis=1))


def receptive_fields(
    tape: Tape, layer: Value, positions: Sequence[Sequence[int | None]] | NDArray[np.int64]
) -> NDArray[np.int64]:
    """The input pixels that units of a layer see.

    Args:
        tape: The recorded run.
        layer: The value that the layer made.
        positions: For each unit its index along every axis of `layer` but the first; None for a whole axis.

    Returns:
        (units, spatial axes, 2): the first pixel and one past the last, clipped to the input.
    """
    return fields_of_inputs(tape, layer, positions)[0]


def fields_of_inputs(
    tape: Tape,
    layer: Value,
    positions: Sequence[Sequence[int | None]] | NDArray[np.int64],
    without_batch: Collection[int] = (),
) -> list[NDArray[np.int64]]:
    """The pixels of every input that carries a signal, as `receptive_fields` returns those of the first.

    without_batch: Numbers of the inputs, among those that carry a signal, that have no batch axis although their first
        axis is as long as one.
    """
    rows = everything_seen(len(positions), len(layer.shape))
    indices = np.array(positions, np.float64).reshape(len(positions), -1)  # NaN for None
    axes, everywhere = slice(1, 1 + indices.shape[1]), np.isnan(indices)
    rows[:, axes, 0] = np.where(everywhere, 0, indices)
    rows[:, axes, 1] = np.where(everywhere, np.array(layer.shape[axes]) - 1, indices)
    windows, fields = windows_at_inputs(tape, {layer.id: rows}), []
    for number, image in enumerate(value for value in tape.inputs if value.carries_signal):
        spatial = 1 if number in without_batch else _first_spatial(tape, image)
        seen = windows[image.id][:, spatial:]
        lasts = np.array(image.shape[spatial:])[:, None] - 1
        clipped = np.minimum(np.fmax(seen, 0), lasts)  # 0 for NaN
        clipped[..., 1] += 1
        clipped[seen[..., 0] > seen[..., 1]] = 0
        fields.append(clipped.astype(np.int64))
    return fields


def layer_geometry(tape: Tape, layers: Sequence[Layer]) -> list[LayerGeometry]:
    """Stride, offset and receptive field of each layer, unclipped, over all channels."""
    if single := {layer.value.id for layer in layers if not layer.value.shape}:  # a loss, or the like
        others = iter(layer_geometry(tape, [layer for layer in layers if layer.value.id not in single]))
        nothing = LayerGeometry(0, None, None, None)
        return [nothing if layer.value.id in single else next(others) for layer in layers]
    makers, known = tape.makers(), dict[int, int]()
    channels = [channel_axis(tape, layer.value, makers, known) for layer in layers]
    image, spatial = _image_input(tape)
    keys = [_probe_keys(layer.value, channel) for layer, channel in zip(layers, channels, strict=True)]
    lines = lines_to(tape, image, itertools.chain.from_iterable(keys))
    composed: dict[Any, list[int]] = {}  # by shape and channel axis
    walked: list[int] = []
    for number, (layer, channel, pair) in enumerate(zip(layers, channels, keys, strict=True)):
        composes = lines[pair[0]] is not None and lines[pair[1]] is not None
        (composed.setdefault((layer.value.shape, channel), []) if composes else walked).append(number)
    geometry: dict[int, LayerGeometry] = {}
    for (shape, channel), numbers in composed.items():
        unit, whole = ([line for n in numbers if (line := lines[keys[n][part]]) is not None] for part in (0, 1))
        positions = np.array([(0, *(index or 0 for index in probe)) for probe in _probes(shape, channel)], np.float64)
        windows = np.concatenate([seen(unit, positions[:-1]), seen(whole, positions[-1:])], axis=1)
        geometry.update(zip(numbers, _summaries(windows[:, :, spatial:], shape, channel), strict=True))
    for start in range(0, len(walked), LAYERS_AT_ONCE):
        block = walked[start : start + LAYERS_AT_ONCE]
        probes = [_probes(layers[n].value.shape, channels[n]) for n in block]
        for n, windows in zip(block, _walked(tape, [layers[n].value for n in block], probes), strict=True):
            (geometry[n],) = _summaries(windows[None, :, spatial:], layers[n].value.shape, channels[n])
    return [geometry[n] for n in range(len(layers))]


def _probe_keys(layer: Value, channel: int) -> tuple[Key, Key]:
    """What to ask `lines_to`: windows that move along all axes but batch and channels, of one channel and of all."""
    single_channel, whole = _probe_windows(len(layer.shape), channel)
    return (layer.id, single_channel), (layer.id, whole)


@functools.cache
def _probe_windows(rank: int, channel: int) -> tuple[Fixed, Fixed]:
    everything = (-math.inf, math.inf)
    single_channel, whole = (
        tuple(everything if axis == 0 else window if axis == channel else None for axis in range(rank))
        for window in ((0.0, 0.0), everything)
    )
    return single_channel, whole


def _walked(tape: Tape, layers: Sequence[Value], probes: Sequence[list[tuple[int | None, ...]]]) -> list[Windows]:
    """The windows at the image of units of several layers, carried back together."""
    count = sum(map(len, probes))
    starts: dict[int, Windows] = {}
    row = 0
    for layer, positions in zip(layers, probes, strict=True):
        rows = starts.setdefault(layer.id, nothing_seen(count, len(layer.shape)))
        for position in positions:
            rows[row, 0] = (-math.inf, math.inf)
            for axis, index in enumerate(position, 1):
                rows[row, axis] = (-math.inf, math.inf) if index is None else (index, index)
            row += 1
    at_image = windows_at_inputs(tape, starts)[_image_input(tape)[0].id]
    return np.split(at_image, np.cumsum([len(positions) for positions in probes])[:-1])


def _image_input(tape: Tape) -> tuple[Value, int]:
    """The first input that carries a signal, and its first spatial axis, after batch (if it has one) and channels."""
    image = next(value for value in tape.inputs if value.carries_signal)
    return image, _first_spatial(tape, image)


def _first_spatial(tape: Tape, image: Value) -> int:
    return 2 if image.shape[:1] == (tape.samples,) else 1


def _probes(shape: tuple[int, ...], channel: int) -> list[tuple[int | None, ...]]:
    """Units whose windows tell the geometry: the first, one moved along each axis, and all channels at once.

    They move by a power of two, since the windows of an interpolated map move in steps.
    """
    axes = range(len(shape) - 1)
    moved = [2 ** max(0, (size - 1).bit_length() - 1) for size in shape[1:]]
    return [
        (0,) * len(axes),
        *(tuple(moved[a] if a == axis else 0 for a in axes) for axis in axes),
        tuple(None if a + 1 == channel else 0 for a in axes),
    ]


def _summaries(seen: Windows, shape: tuple[int, ...], channel: int) -> list[LayerGeometry]:
    """The geometry of layers of one shape, from the windows (layers, probes, spatial axes, 2) of their `_probes`."""
    bounded = np.isfinite(seen[:, -1]).all(axis=(1, 2)) & (seen.shape[2] > 0)
    origin, moves, whole = seen[bounded, 0], seen[bounded, 1:-1], seen[bounded, -1]
    stride, size = np.zeros(whole.shape[:2]), whole[..., 1] - whole[..., 0] + 1
    for axis, probe in enumerate(_probes(shape, channel)[1:-1]):
        if axis + 1 != channel and (distance := probe[axis]):
            stride = np.maximum(stride, (moves[:, axis, :, 0] - origin[..., 0]) / distance)
            size = np.maximum(size, moves[:, axis, :, 1] - moves[:, axis, :, 0] + 1)
    layers = [LayerGeometry(channel, None, None, None)] * len(seen)
    for number, steps, first, extent in zip(np.flatnonzero(bounded), stride, whole[..., 0], size, strict=True):
        layers[number] = LayerGeometry(
            channel, tuple(steps.tolist()), tuple(map(int, first.tolist())), tuple(map(int, extent.tolist()))
        )
    return layers
