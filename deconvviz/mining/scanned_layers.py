"""The layers of a model that a scan looks at: which they are, and how their channels and positions lie."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deconvviz.errors import InputError
from deconvviz.io.restoring import Restored
from deconvviz.mining.firing import fires_at
from deconvviz.net import DeconvNet
from deconvviz.projection.receptive_field import channel_axis
from deconvviz.projection.units import sample_shape
from deconvviz.recording.layer_names import WEIGHTED, check_layers, layers_of_kind
from deconvviz.recording.observer import AllLayersSeen, Observer
from deconvviz.recording.placement import Placement
from deconvviz.recording.rounding import sampled
from deconvviz.recording.tape import mapped, tensors_in
from deconvviz.results import LayerInfo
from deconvviz.trace import Trace


@dataclass(frozen=True)
class ScannedLayer:
    """How the units of a layer lie.

    Attributes:
        channel_axis: Axis of the layer's tensor along which the channels lie.
        distances: Per axis of a map, the distance in positions below which a stronger unit suppresses a weaker one of
            the same channel; infinite if units see the whole input.
        fires_at: The layer at which it shows whether channels are dead or always on, after normalisation and rectifier.
        rectified: Whether that layer is a rectifier.
    """

    channel_axis: int
    distances: tuple[float, ...]
    fires_at: str
    rectified: bool


@dataclass(frozen=True)
class ScannedLayers:
    """A model with the layers that are scanned.

    Attributes:
        model: The model.
        device: Where it runs.
        layers: The layers, by name.
        on_first_image: What each layer returned for the first image, by `deconvviz.recording.rounding.sampled`.
    """

    model: nn.Module
    device: torch.device
    layers: Mapping[str, ScannedLayer]
    on_first_image: Mapping[str, Any]

    @classmethod
    def of(cls, net: DeconvNet, names: Sequence[str] | None, first: Any, batched: bool) -> ScannedLayers:
        """Learn about the layers by recording a run.

        Args:
            net: The network.
            names: Names of the layers; None for all convolutions and linear modules.
            first: The first image, (1, C, ...), or a tuple of the first inputs.
            batched: Whether batches will hold several images.

        Raises:
            UnknownLayerError: If a layer does not run.
            InputError: If a layer has no activations, mixes the samples of a batch, or cannot be found again when the
                model runs without being recorded.
        """
        first = Placement.of(net.model).moved(first)
        with Restored(torch.inference_mode(False), torch.no_grad()):
            x = mapped(first, lambda tensor: tensor.clone().expand(1 + batched, *tensor.shape[1:]))
            trace = net.trace(x)
            names = names or layers_of_kind(trace.tape, net.model, WEIGHTED, "convolution or linear layer")
            check_layers(names, trace.tape.layers, net.model)
            table = net.layers(trace)
            layers = {name: _layer(trace, table[name]) for name in names}
            maps = _run_unrecorded(net.model, [*names, *(layer.fires_at for layer in layers.values())], x)
            if missing := [name for name in names if name not in maps]:
                raise InputError(
                    f"layer {missing[0]!r} is seen only where a run is recorded, as what runs inside scripted code; "
                    f"scan a module around it"
                )
            for name, layer in layers.items():
                if layer.fires_at not in maps:
                    layers[name] = dataclasses.replace(layer, fires_at=name, rectified=False)
            numbers = {name: sampled(maps[name].unflatten(0, (1 + batched, -1))[0].squeeze(0)) for name in names}
        return cls(net.model, tensors_in(first)[0].device, layers, numbers)


def _layer(trace: Trace, row: LayerInfo) -> ScannedLayer:
    value = trace.tape.layers[row.name].value
    samples = trace.tape.samples
    if not value.carries_signal:
        raise InputError(f"layer {row.name!r} returns {value.dtype}, which has no activations")
    if samples > 1 and value.id not in trace.apart:
        raise InputError(f"layer {row.name!r} mixes the samples of a batch; scan it with batch_size=1")
    axis = channel_axis(trace.tape, value)
    rows, *rest = sample_shape(value.shape, samples)
    dimensions = len(rest) - 1 + (rows > 1)
    distances = (math.inf,) * dimensions
    if row.stride and row.receptive_field and len(row.stride) == dimensions and axis == 1:
        distances = tuple(
            size / 2 / step if step else math.inf for size, step in zip(row.receptive_field, row.stride, strict=True)
        )
    return ScannedLayer(axis, distances, *fires_at(trace.tape, row.name))


def _run_unrecorded(model: nn.Module, names: Sequence[str], x: Any) -> dict[str, Tensor]:
    """What the layers return when the model runs without being recorded; without those that are not seen then."""
    capture = _LayerCopies(model, names)
    with Restored(capture.observing()), contextlib.suppress(AllLayersSeen):
        model(*x) if isinstance(x, tuple) else model(x)
    return capture.tensors


class _LayerCopies(Observer):
    """Keeps copies of what layers return."""

    def __init__(self, model: nn.Module, wanted: Collection[str]) -> None:
        super().__init__(model, wanted)
        self.tensors: dict[str, Tensor] = {}

    def layer_returned(self, name: str, kind: str, tensor: Tensor) -> bool:
        if name in self.wanted:
            self.tensors[name] = tensor.detach().clone()
        return True
