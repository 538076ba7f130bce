"""What a layer returns, for autograd: the model runs as usual, up to the layer."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deconvviz.errors import InputError
from deconvviz.io.restoring import Restored
from deconvviz.recording.observer import AllLayersSeen, Observer

RELUS = (F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)


class _LayerOutput(Observer):
    """Keeps what a layer returns; `opened`: whether rectifiers pass gradients where they return zero, too."""

    tensor: Tensor | None = None
    opened = False

    def layer_returned(self, name: str, kind: str, tensor: Tensor) -> bool:
        if name in self.wanted:
            self.tensor = tensor
        return True

    def call(self, func: Any, args: Any, kwargs: Any) -> Any:
        if self.opened and func in RELUS:
            return _OpenedRelu.apply(args[0] if args else kwargs["input"])
        return func(*args, **kwargs)


class _OpenedRelu(torch.autograd.Function):
    """A rectifier that passes a gradient where it returns zero, if that raises what is differentiated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x > 0)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (above,) = ctx.saved_tensors
        return torch.where(above, gradient, gradient.clamp(min=0))


def layer_output(model: nn.Module, layer: str, *args: Any, opened: bool = False) -> Tensor:
    """What a layer, or a functional call, returns when the model is called. The run ends there.

    Args:
        model: The model.
        layer: The layer's name, as `DeconvNet.layers` lists it.
        *args: What the model is called with.
        opened: Whether rectifiers (ReLU) pass gradients where they return zero, too, if these are above zero: a way up
            for a unit that is silent.

    Raises:
        InputError: If the layer does not run.
    """
    capture = _LayerOutput(model, [layer])
    capture.opened = opened
    with contextlib.suppress(AllLayersSeen), Restored(capture.observing()):
        model(*args)
    if capture.tensor is None:
        raise InputError(f"the layer {layer!r} did not run")
    return capture.tensor
