"""`Trace`: one recorded forward pass."""

from __future__ import annotations

from collections.abc import Collection
from typing import NoReturn

import torch
from torch import Tensor

from deconvviz.errors import InputError, UnknownLayerError, did_you_mean
from deconvviz.operations.pooling import has_switches
from deconvviz.projection.backward import samples_apart
from deconvviz.projection.model_call import Call
from deconvviz.projection.receptive_field import channel_axis
from deconvviz.projection.units import LayerActivations
from deconvviz.recording.tape import Layer, Tape
from deconvviz.results.words import counted
from deconvviz.rules import Style, rule_for


class Trace:
    """One recorded forward pass, which `DeconvNet.trace` returns and every projection starts from.

    Attributes:
        activations: For each layer asked for, the tensor that it returned.
        switches: For each max-pooling layer, the flat indices into each feature map, as torch returns them.
        linearised: Operations without a mirror in the style, which would be linearised, with their layers.
        settings: The settings of torch under which it ran, as in `Provenance`.
    """

    def __init__(
        self, tape: Tape, style: Style, call: Call, wanted: Collection[str] | None, *, settings: dict[str, str]
    ) -> None:
        self.tape, self.style, self.call, self.settings = tape, style, call, settings
        names = tape.layers if wanted is None else wanted
        self.activations = {name: tape.data[tape.layers[name].value.id] for name in names}
        self.switches: dict[str, Tensor] = {}
        for operation in tape.operations:
            indices = operation.outputs[1] if has_switches(operation) else None
            if indices is not None and indices.id in tape.data:
                layer, switches = tape.layers.get(operation.where), tape.data[indices.id]
                if layer is not None and switches.numel() == torch.Size(layer.value.shape).numel():
                    switches = switches.view(layer.value.shape)  # one-dimensional pooling runs in two dimensions
                self.switches[operation.where] = switches
        listed = (str(operation) for operation in tape.operations if rule_for(operation, style).listed)
        self.linearised = tuple(dict.fromkeys(listed))
        self.apart = samples_apart(tape, style)

    def __repr__(self) -> str:
        shapes = " and ".join(str(tuple(tensor.shape)) for tensor in self.call.tensors().values())
        listed, kept = f"{len(self.tape.layers)} layers", f"activations of {len(self.activations)}"
        return f"Trace(inputs of shape {shapes}, style={self.style.name!r}, {listed}, {kept})"

    def __reduce__(self) -> NoReturn:
        raise InputError("a trace cannot be copied, saved or sent to another process; send the input and trace there")

    def activations_of(self, name: str) -> LayerActivations:
        """A layer's activations, with the axes that hold samples and channels."""
        axis = channel_axis(self.tape, self.layer(name).value)
        return LayerActivations(name, self.activations[name], self.tape.samples, axis)

    def layer(self, name: str) -> Layer:
        if name not in self.activations:
            raise UnknownLayerError(
                f"this trace has no activations of {name!r}{did_you_mean(name, self.activations)} "
                f"(it was recorded for {counted(len(self.activations), 'layer')})"
            )
        return self.tape.layers[name]
