"""Autograd functions whose backward is not the derivative of their forward, so that tests see which one is used."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class NewStyle(torch.autograd.Function):
    """Has `setup_context`. Its gradient is 7 times too large."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, factor: float) -> Tensor:
        return x * factor

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor * 7, None


class InPlace(torch.autograd.Function):
    """Doubles its input in place. Its gradient is 11."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 11
