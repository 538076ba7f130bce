"""What a layer returns, for autograd: the model runs as usual, up to the layer."""

from __future__ import annotations

import contextlib
from typing import Any

from torch import Tensor, nn

from deconvviz.errors import InputError
from deconvviz.io.restoring import Restored
from deconvviz.recording.observer import AllLayersSeen, Observer


class _LayerOutput(Observer):
    """Keeps what a layer returns."""

    tensor: Tensor | None = None

    def layer_returned(self, name: str, kind: str, tensor: Tensor) -> bool:
        if name in self.wanted:
            self.tensor = tensor
        return True


def layer_output(model: nn.Module, layer: str, *args: Any) -> Tensor:
    """What a layer, or a functional call, returns when the model is called. The run ends there.

    Args:
        model: The model.
        layer: The layer's name, as `DeconvNet.layers` lists it.
        *args: What the model is called with.

    Raises:
        InputError: If the layer does not run.
    """
    capture = _LayerOutput(model, [layer])
    with contextlib.suppress(AllLayersSeen), Restored(capture.observing()):
        model(*args)
    if capture.tensor is None:
        raise InputError(f"the layer {layer!r} did not run")
    return capture.tensor
