"""The features of a layer as one vector per image, and the default layers of the experiments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from deconvviz.errors import InputError
from deconvviz.mining.firing import innermost_names
from deconvviz.operations.rectifiers import RECTIFIERS
from deconvviz.projection.receptive_field import channel_axis
from deconvviz.recording.placement import where_double
from deconvviz.recording.tape import Tape
from deconvviz.trace import Trace

FILTERS = ("aten.convolution", "torch.nn.functional.linear", "aten.addmm", "aten.mm")
POOLS: Mapping[int, Callable[..., Tensor]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}


def hidden_layers(trace: Trace) -> list[str]:
    """The hidden layers of a whole recorded run, from the first to the last.

    These are the outputs of rectifiers in the order in which they run, and the input of the last convolution or linear
    layer, which is the last hidden layer of a classifier. Without rectifiers, the outputs of the filters are used.

    Raises:
        InputError: If there is no hidden layer.
    """
    operations = trace.tape.operations
    filters = [place for place, operation in enumerate(operations) if operation.label in FILTERS]
    before = operations[: filters[-1]] if filters else operations
    outputs = [op.made.id for op in before if getattr(op.func, "overloadpacket", None) in RECTIFIERS]
    outputs = outputs or [op.made.id for op in before if op.label in FILTERS]
    read = [operations[filters[-1]].inputs[0].id] if filters else []
    names = innermost_names(trace.tape)
    layers = [names[value] for value in dict.fromkeys(outputs + read) if value in names]
    if not layers:
        raise InputError("the model has no hidden layers: neither rectifiers nor two filters; name the layers")
    return layers


class ClassScoreLayer(NamedTuple):
    """The layer with a score for each class, and whether these are probabilities already."""

    layer: str
    probabilities: bool

    def softmax(self, output: Tensor) -> Tensor:
        """Probabilities (N, classes), in float64."""
        scores = where_double(output).flatten(1).double()
        return scores if self.probabilities else scores.softmax(1)


def class_scores(tape: Tape) -> ClassScoreLayer | None:
    """The first output of a whole recorded run that is scores of two classes or more; None where there is none."""
    for name, layer in tape.layers.items():
        shape = layer.value.shape
        if name.split("[")[0] == "output" and len(shape) > 1 and shape[1] > 1 and set(shape[2:]) <= {1}:
            maker = tape.makers().get(layer.value.id)
            return ClassScoreLayer(name, maker is not None and maker.label in ("aten._softmax", "aten.softmax"))
    return None


def features(trace: Trace, layer: str, pool: int | None = None) -> Tensor:
    """The activations of a layer as vectors (N, features), one per sample of the batch.

    Args:
        trace: The recorded run.
        layer: The layer.
        pool: Average larger maps to this many positions per axis; None for no averaging.

    Raises:
        InputError: If the layer mixes samples.
    """
    value, samples = trace.layer(layer).value, trace.tape.samples
    if samples > 1 and value.id not in trace.apart:
        raise InputError(f"layer {layer!r} mixes the samples of a batch; give batch_size=1")
    maps = trace.activations[layer]
    if pool is not None and maps.ndim - 2 in POOLS and channel_axis(trace.tape, value) == 1:
        maps = POOLS[maps.ndim - 2](maps, [min(pool, size) for size in maps.shape[2:]])
    return maps.reshape(samples, -1)
