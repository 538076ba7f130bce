"""The rivals in the benchmarks: Captum and zennit, called as in their documentation, and a bare forward pass.

Each has its own copy of the model, so that hooks do not interfere. Captum passes each image through the whole model.
`Until` cuts a model after a layer: zennit needs that, and it saves Captum the later layers.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torchvision
from captum.attr import NeuronDeconvolution, NeuronGuidedBackprop
from torch import Tensor, nn
from torchvision.models.googlenet import BasicConv2d

Place = tuple[int, tuple[int, int]]  # channel, (row, column)
OPTIONS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"aux_logits": False, "init_weights": False},
    "fcn_resnet50": {"weights_backbone": None},
}
CAPTUM = {"deconvolution": NeuronDeconvolution, "guided": NeuronGuidedBackprop}


def build(name: str, device: str = "cpu") -> nn.Module:
    """A torchvision model with random weights and random statistics in its norms."""
    torch.manual_seed(0)
    maker = getattr(torchvision.models, name, None) or getattr(torchvision.models.segmentation, name)
    model = maker(weights=None, **OPTIONS.get(name, {}))
    _fill_statistics(model)
    return model.eval().to(device)


def _fill_statistics(model: nn.Module) -> None:
    """Give norms the statistics of noise, shifted and scaled at random, so that signals neither explode nor vanish."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.momentum = None  # the statistics become those of this batch
    with torch.no_grad():
        model.train()(torch.randn(4, 3, 96, 96))
    for norm in norms:
        norm.running_mean += 0.2 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean)
        norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.5, 1.5)


def with_modules(model: nn.Module) -> nn.Module:
    """A copy of GoogLeNet in which each rectifier is a module; Captum and zennit miss rectifiers called as functions.

    They return the plain gradient then, without a warning. Other models are returned unchanged: both tools handle
    in-place rectifiers and the rectifier that a ResNet block calls three times.
    """
    if not any(isinstance(module, BasicConv2d) for module in model.modules()):
        return model
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BasicConv2d):
                setattr(parent, name, nn.Sequential(child.conv, child.bn, nn.ReLU()))
    return model


class _Reached(Exception):
    """Raised when the layer has run; the argument is the layer's output."""


class Until(nn.Module):
    """A copy of a model that stops after a layer and returns its output."""

    def __init__(self, model: nn.Module, layer: str) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        self.model.get_submodule(layer).register_forward_hook(_stop)

    def forward(self, x: Tensor) -> Tensor:
        try:
            self.model(x)
        except _Reached as reached:
            return reached.args[0]
        raise RuntimeError("the layer did not run")


def _stop(module: nn.Module, args: Any, output: Tensor) -> None:
    raise _Reached(output)


class Captum:
    """One `attribute` call per unit, on the whole model or (`cut`) on a model that ends with the layer."""

    def __init__(self, model: nn.Module, layer: str, method: str = "deconvolution", cut: bool = False) -> None:
        copied = Until(model, layer) if cut else copy.deepcopy(model)
        self.method = CAPTUM[method](copied, copied if cut else copied.get_submodule(layer))

    def unit(self, x: Tensor, place: Place) -> Tensor:
        channel, (row, column) = place
        return self.attribute(x, (channel, row, column))

    def strongest(self, x: Tensor, channel: int) -> Tensor:
        """Project one channel at its strongest position, in all samples at once."""
        return self.attribute(x, partial(_strongest, channel=channel))

    def attribute(self, x: Tensor, selector: Any) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Captum warns each time that it sets hooks and requires gradients
            return self.method.attribute(x.detach(), neuron_selector=selector).detach()

    def units(self, images: Sequence[Tensor], places: Sequence[Place]) -> list[Tensor]:
        return [self.unit(x, place) for x, place in zip(images, places, strict=True)]


def _strongest(output: Tensor, channel: int) -> Tensor:
    return output[:, channel].flatten(1).amax(1)


class Zennit:
    """zennit's `Gradient` attributor with its `DeconvNet` composite, whose rule for ReLU is `ReLUDeconvNet`."""

    def __init__(self, model: nn.Module, layer: str) -> None:
        from zennit.attribution import Gradient  # noqa: PLC0415 - an extra of the benchmarks
        from zennit.composites import DeconvNet  # noqa: PLC0415

        self.attributor = Gradient(model=Until(model, layer), composite=DeconvNet())

    def together(self, x: Tensor, places: Sequence[Place]) -> Tensor:
        """Project one unit per row of x, in one call."""
        return self.attributor(x.detach(), partial(_one_hot, places=places))[1]

    def units(self, images: Sequence[Tensor], places: Sequence[Place]) -> list[Tensor]:
        return [self.together(x, [place]) for x, place in zip(images, places, strict=True)]


def _one_hot(output: Tensor, places: Sequence[Place]) -> Tensor:
    seeds = torch.zeros_like(output)
    for n, (channel, (row, column)) in enumerate(places):
        seeds[n, channel, row, column] = 1
    return seeds


class Bare:
    """A forward pass that stops after the layer."""

    def __init__(self, model: nn.Module, layer: str) -> None:
        self.until = Until(model, layer)

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        return self.until(x)


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    scale = expected.abs().max().clamp(min=torch.finfo(expected.dtype).tiny)
    return float((found - expected).abs().max() / scale)
