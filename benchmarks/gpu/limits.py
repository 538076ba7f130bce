"""What the card allows: the same pictures by plain autograd, without anything that a library does around it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.rivals import Place, Until

TOGETHER = 64  # images that autograd gets at once


class _Rectify(torch.autograd.Function):
    """A rectifier that rectifies the gradient, too, as the deconvnet does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clamp_min(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.clamp_min(0)


class _Rectifier(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        rectified: Tensor = _Rectify.apply(x)
        return rectified


def rectifying(model: nn.Module) -> nn.Module:
    """A copy of a model whose modules `nn.ReLU` rectify gradients."""
    model = copy.deepcopy(model).requires_grad_(False)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU):
                setattr(parent, name, _Rectifier())
    return model


class WholeMaps:
    """One unit per image by batched autograd: forward and back on whole maps."""

    def __init__(self, model: nn.Module, layer: str) -> None:
        self.until = Until(rectifying(model), layer)

    def __call__(self, x: Tensor, places: Sequence[Place]) -> list[Tensor]:
        pictures = []
        for start in range(0, len(x), TOGETHER):
            part = x[start : start + TOGETHER].detach().requires_grad_(True)
            with torch.enable_grad():
                output = self.until(part)
            rows = torch.arange(len(part), device=x.device)
            chosen = [(channel, *position) for channel, position in places[start : start + TOGETHER]]
            index = (rows, *torch.tensor(chosen, device=x.device).T)
            seeds = torch.zeros_like(output)
            seeds[index] = output.detach()[index]
            pictures.append(torch.autograd.grad(output, part, seeds)[0])
        return pictures


class Crops:
    """One unit per crop that is already cut out: what is left when nothing is planned, cut or put back."""

    def __init__(self, model: nn.Module, layer: str) -> None:
        self.until = Until(rectifying(model), layer)

    def __call__(self, crops: Tensor) -> Tensor:
        crops = crops.detach().requires_grad_(True)
        with torch.enable_grad():
            output = self.until(crops)
        seeds = torch.zeros_like(output)
        middle = output.shape[-1] // 2
        seeds[:, 5, middle, middle] = output.detach()[:, 5, middle, middle]
        return torch.autograd.grad(output, crops, seeds)[0]
