"""Captum's own methods for one unit of a model, each called as its documentation says.

Captum sets hooks, modes and attributes on a model and does not always remove them. So each method gets a copy of the
model (`aimed`), which shares only the parameters.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from captum.attr import (
    Deconvolution,
    DeepLift,
    GuidedBackprop,
    GuidedGradCam,
    InputXGradient,
    IntegratedGradients,
    LayerAttribution,
    LayerGradCam,
    NeuronDeconvolution,
    NeuronDeepLift,
    NeuronGradient,
    NeuronGuidedBackprop,
    NeuronIntegratedGradients,
    Occlusion,
    Saliency,
)
from torch import Tensor, nn

from deconvviz.errors import InputError
from deconvviz.evidence.randomisation import copied
from deconvviz.io.restoring import Restored
from deconvviz.recording.eval_mode import EvalMode, has_its_own_train
from deconvviz.recording.layer_output import layer_output

INTEGRATION_STEPS, STEPS_AT_ONCE = 50, 10  # of integrated gradients, and how many samples run in one batch
PATCHES_ALONG = 6  # Occlusion's patch is the image's height and width divided by this, and moves by half of itself


@dataclass(frozen=True)
class Aim:
    """The unit that a method explains.

    Attributes:
        model: The model, which ends with the layer.
        layer: The unit's layer, a part of the model; for a class, the model itself.
        index: Index of the unit in what the layer returns, without the batch axis.
        cam: The layer that Grad-CAM weighs; None if there is none.
    """

    model: nn.Module
    layer: nn.Module
    index: tuple[int, ...]
    cam: nn.Module | None


Method = Callable[[Aim, Tensor], Tensor]


class Until(nn.Module):
    """A model that ends with a layer and returns what the layer returns, even if it is a functional call."""

    def __init__(self, model: nn.Module, layer: str) -> None:
        super().__init__()
        self.model, self.name = model, layer

    def forward(self, x: Tensor) -> Tensor:
        return layer_output(self.model, self.name, x)


class _OneLayer(nn.Module):
    """A model with one layer, since Captum's methods for neurons take a model and one of its layers."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        returned: Tensor = self.layer(x)
        return returned


def aimed(model: nn.Module, layer: str, index: tuple[int, ...], cam: str) -> Aim:
    """A unit of a copy of the model in eval mode.

    Args:
        model: The model.
        layer: Name of the unit's layer; "output" for a class.
        index: Index of the unit in what the layer returns, without the batch axis.
        cam: Name of the module that Grad-CAM weighs, or "".
    """
    shares = not any(map(has_its_own_train, model.modules()))  # parameters, if changing the mode leaves them alone
    own = copied(model, model.parameters() if shares else ()).eval()
    weighed = own.get_submodule(cam) if cam else None
    if layer == "output":
        return Aim(own, own, index, weighed)
    until = Until(own, layer)
    return Aim(_OneLayer(until).eval(), until, index, weighed)


def run_method(method: Method, aim: Aim, x: Tensor) -> Tensor:
    """The attributions that a method gives for x (N, C, H, W), of the same shape.

    Raises:
        InputError: If they are of another shape.
        Exception: Whatever the method raises.
    """
    with Restored(warnings.catch_warnings(), torch.inference_mode(False), EvalMode(aim.model)):
        warnings.simplefilter("ignore")  # Captum warns that it sets hooks and gradients
        pixels = method(aim, x.detach().clone()).detach().contiguous()  # metrics view it
    if pixels.shape != x.shape:
        raise InputError(f"it returned a tensor of shape {tuple(pixels.shape)} for inputs of shape {tuple(x.shape)}")
    return pixels.to(x.dtype)  # Occlusion gives float32 whatever the model's


# The methods


def grad_cam(aim: Aim, x: Tensor) -> Tensor:
    """Grad-CAM of the layer `aim.cam`, rectified, resized to the image and divided equally among its channels."""
    cam = LayerGradCam(aim.model, _weighed(aim)).attribute(x, aim.index, relu_attributions=True)
    resized: Tensor = LayerAttribution.interpolate(cam, tuple(x.shape[2:]), "bilinear")
    return resized.expand_as(x) / x.shape[1]


def _guided_grad_cam(aim: Aim, x: Tensor) -> Tensor:
    method = GuidedGradCam(aim.model, _weighed(aim))
    pixels: Tensor = method.attribute(x, aim.index, interpolate_mode="bilinear")
    return pixels


def _weighed(aim: Aim) -> nn.Module:
    if aim.cam is None:
        raise InputError("no layer before the unit has a map of positions to weigh")
    return aim.cam


def _attribute_by_occlusion(aim: Aim, x: Tensor) -> Tensor:
    height, width = patch(x)
    pixels: Tensor = Occlusion(aim.model).attribute(
        x,
        (x.shape[1], height, width),
        (x.shape[1], max(1, height // 2), max(1, width // 2)),
        target=aim.index,
        perturbations_per_eval=STEPS_AT_ONCE,
    )
    return pixels


def patch(x: Tensor) -> tuple[int, int]:
    """Height and width of the patch that Occlusion slides over the image."""
    return max(1, x.shape[2] // PATCHES_ALONG), max(1, x.shape[3] // PATCHES_ALONG)


OF_A_CLASS: Mapping[str, Method] = {
    "Deconvolution": lambda aim, x: Deconvolution(aim.model).attribute(x, aim.index),
    "GuidedBackprop": lambda aim, x: GuidedBackprop(aim.model).attribute(x, aim.index),
    "Saliency": lambda aim, x: Saliency(aim.model).attribute(x, aim.index, abs=False),
    "InputXGradient": lambda aim, x: InputXGradient(aim.model).attribute(x, aim.index),
    "IntegratedGradients": lambda aim, x: IntegratedGradients(aim.model).attribute(
        x, target=aim.index, n_steps=INTEGRATION_STEPS, internal_batch_size=STEPS_AT_ONCE
    ),
    "DeepLift": lambda aim, x: DeepLift(aim.model).attribute(x, target=aim.index),
    "Occlusion": _attribute_by_occlusion,
    "GuidedGradCam": _guided_grad_cam,
    "LayerGradCam": grad_cam,
}
OF_A_NEURON: Mapping[str, Method] = {
    "NeuronDeconvolution": lambda aim, x: NeuronDeconvolution(aim.model, aim.layer).attribute(x, aim.index),
    "NeuronGuidedBackprop": lambda aim, x: NeuronGuidedBackprop(aim.model, aim.layer).attribute(x, aim.index),
    "NeuronGradient": lambda aim, x: NeuronGradient(aim.model, aim.layer).attribute(x, aim.index),
    "InputXGradient": OF_A_CLASS["InputXGradient"],
    "NeuronIntegratedGradients": lambda aim, x: NeuronIntegratedGradients(aim.model, aim.layer).attribute(
        x, aim.index, n_steps=INTEGRATION_STEPS, internal_batch_size=STEPS_AT_ONCE
    ),
    "NeuronDeepLift": lambda aim, x: NeuronDeepLift(aim.model, aim.layer).attribute(x, aim.index),
    "Occlusion": _attribute_by_occlusion,
    "LayerGradCam": grad_cam,
}
