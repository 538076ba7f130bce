"""What a layer says of each image, as one vector; and which layers are hidden ones, where none are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor

from deconvviz.errors import InputError
from deconvviz.geometry import channel_axis
from deconvviz.mirrors import RECTIFIERS
from deconvviz.trace import Trace

FILTERS = ("aten.convolution", "torch.nn.functional.linear", "aten.addmm", "aten.mm")
POOLS: Mapping[int, Callable[..., Tensor]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}


def named_layers(layers: str | Sequence[str] | None) -> list[str] | None:
    """The layers asked for, each once; None for the default ones. Raises InputError where none is named."""
    if layers is not None and not layers:
        raise InputError("there is no layer to look at; name at least one, or give layers=None for the hidden ones")
    return [layers] if isinstance(layers, str) else None if layers is None else list(dict.fromkeys(layers))


def hidden_layers(trace: Trace) -> list[str]:
    """The hidden layers of a whole recorded run, from the first to the last.

    What rectifiers return, in the order in which they run, and at the end what the last convolution or linear layer
    reads, which is the last hidden layer of a classifier. Without rectifiers it is what filters return that counts.

    Raises InputError where there is none.
    """
    operations = trace.tape.operations
    filters = [place for place, operation in enumerate(operations) if operation.label in FILTERS]
    before = operations[: filters[-1]] if filters else operations
    made = [op.made.id for op in before if getattr(op.func, "overloadpacket", None) in RECTIFIERS]
    made = made or [op.made.id for op in before if op.label in FILTERS]
    read = [operations[filters[-1]].inputs[0].id] if filters else []
    names: dict[int, str] = {}
    for layer in trace.tape.layers.values():
        names.setdefault(layer.value.id, layer.name)  # of several layers with one value, the innermost
    found = [names[value] for value in dict.fromkeys(made + read) if value in names]
    if not found:
        raise InputError("the model has no hidden layers: neither rectifiers nor two filters; name the layers")
    return found


def features(trace: Trace, layer: str, pool: int | None = None) -> Tensor:
    """The activations of a layer as vectors (N, features), one for each sample of the batch.

    pool: maps larger than this along an axis are averaged to this many positions; None: they are taken as they are.

    Raises InputError where the layer does not keep samples apart.
    """
    value, samples = trace.layer(layer).value, trace.tape.samples
    if samples > 1 and value.id not in trace.apart:
        raise InputError(f"layer {layer!r} mixes the samples of a batch; give batch_size=1")
    maps = trace.activations[layer]
    if pool is not None and maps.ndim - 2 in POOLS and channel_axis(trace.tape, value) == 1:
        maps = POOLS[maps.ndim - 2](maps, [min(pool, size) for size in maps.shape[2:]])
    return maps.reshape(samples, -1)
