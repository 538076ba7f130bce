"""Units with what feeds them on certain images, and their activations without some of it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deconvviz.arguments import once
from deconvviz.errors import InputError
from deconvviz.io.restoring import Restored
from deconvviz.net import DeconvNet
from deconvviz.projection.contributions import STYLE, contributions
from deconvviz.projection.image_batches import images_at_once, tape_of_one
from deconvviz.projection.model_call import prepared
from deconvviz.projection.partial_tapes import PartialTape, behind_norms
from deconvviz.projection.receptive_field import channel_axis
from deconvviz.projection.units import UnitPlace, units_at
from deconvviz.recording.layer_names import WEIGHTED, Layers, layer_names, layers_of_kind
from deconvviz.recording.tape import Tape, tensors_in
from deconvviz.trace import Trace

SourceChannel = tuple[str, int]  # name of a layer or input, and channel


@dataclass(frozen=True, kw_only=True)
class FedUnits:
    """Units of a layer on recorded images, with what feeds them.

    Attributes:
        part: What runs between the sources and the layer.
        tape: The whole run.
        samples: (units,), the image of each unit in the batch.
        indices: (units,), where it lies in that image's flattened activations.
        values: (units,), their activations.
        added: Per source (units, channels), what each channel adds to the activation.
    """

    part: PartialTape
    tape: Tape
    samples: Tensor
    indices: Tensor
    values: Tensor
    added: dict[str, Tensor]

    @classmethod
    def of(cls, trace: Trace, layer: str, names: Collection[str], places: Sequence[UnitPlace]) -> FedUnits:
        """Find what feeds units.

        Args:
            trace: A run in the style of `contributions`, with the activations of the layer and its sources; on one
                image, where the layer mixes samples.
            layer: The layer.
            names: The layers whose channels count as sources.
            places: Sample, channel and position of each unit.
        """
        value, apart = trace.layer(layer).value, trace.layer(layer).value.id in trace.apart
        part = PartialTape.of(trace.tape, value, names, tensors_in((trace.call.args, trace.call.kwargs)))
        seeds = units_at(trace.activations_of(layer), places).seeds
        added = contributions(part, trace.tape, seeds, apart)
        return cls(
            part=part,
            tape=trace.tape,
            samples=seeds.samples,
            indices=seeds.indices,
            values=seeds.values.cpu(),
            added=added,
        )

    def without(self, removed: Collection[SourceChannel]) -> Tensor:
        """The units' activations, (units,), if some channels of the sources are zero everywhere."""
        numbers: dict[str, Tensor] = {}
        for name in {name for name, _ in removed}:
            value = self.part.sources[name]
            channels = torch.tensor([channel for source, channel in removed if source == name], device=value.device)
            axis = channel_axis(self.tape, value)
            with Restored(torch.no_grad()):
                numbers[name] = self.part.tape.data[value.id].index_fill(axis, channels, 0)
        activations = self.part.run(numbers).reshape(self.tape.samples, -1)
        return activations[self.samples.to(activations.device), self.indices.to(activations.device)].cpu()


class FeederSearch:
    """Finds what feeds the units of one layer.

    Attributes:
        layer: The layer.
        names: The layers whose channels count as sources.
    """

    def __init__(self, net: DeconvNet, layer: str, names: Sequence[str]) -> None:
        self.layer, self.names = layer, list(names)
        self._net = DeconvNet(net.model, STYLE, preprocess=net.preprocess)

    def at_once(self, inputs: Any, most: int) -> int:
        """How many images to record together, at most `most`; one where a layer mixes the samples of a batch."""
        tape = tape_of_one(self._net.model, STYLE, prepared(inputs, self._net.model, None), self.layer)
        return 1 if tape is None else min(most, images_at_once(tape, STYLE))

    def units(self, inputs: Any, places: Sequence[UnitPlace]) -> FedUnits:
        """Units of some inputs with what feeds them; places: sample, channel and position of each."""
        trace = self._net.trace(inputs, [self.layer, *self.names])
        return FedUnits.of(trace, self.layer, self.names, places)


def sources_of(trace: Trace, net: DeconvNet, layers: Layers) -> list[str]:
    """The layers whose channels count as sources: those named, or for None convolutions and linear layers.

    Of a layer that only a batch norm reads, the batch norm stands for it: there, a channel that is zero is silent.
    """
    names = layer_names(once(layers), net.model)
    if names is not None:
        return names
    names = []
    with contextlib.suppress(InputError):  # none runs
        names = layers_of_kind(trace.tape, net.model, WEIGHTED)
    return behind_norms(trace.tape, names)


def nearest(trace: Trace, layer: str, names: Sequence[str]) -> list[str]:
    """Those of some layers that feed a layer, with no other of them in between."""
    part = PartialTape.of(
        trace.tape, trace.tape.layers[layer].value, names, tensors_in((trace.call.args, trace.call.kwargs))
    )
    return [name for name in part.sources if name in names]


def in_parts(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """A sequence in parts of a size."""
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]
