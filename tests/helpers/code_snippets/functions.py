"""Functions of functions: vmap, derivatives in the forward pass, checkpoints, contexts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.helpers.code_snippets.common import MATRIX, PLANE, WEIGHT, Snippet


def _energy(h: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = h if h.requires_grad else h.detach().requires_grad_()
        return torch.autograd.grad((leaf**3).sum(), leaf, create_graph=True)[0]


def _without_grad(h: Tensor) -> Tensor:
    with torch.no_grad():
        return h * 2


def _with_grad(h: Tensor) -> Tensor:
    with torch.enable_grad():
        return h.sin()


def _without_autocast(h: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return h.sin()


CODE: dict[str, Snippet] = {
    "vmap": lambda h: torch.vmap(lambda one: one * one.sum())(h),
    "vmap over channels": lambda h: torch.vmap(lambda one: one.sin(), in_dims=1, out_dims=1)(h),
    "vmap of a convolution": lambda h: torch.vmap(lambda one: F.conv2d(one, WEIGHT, padding=1))(h),
    "vmap of a norm": lambda h: torch.vmap(lambda one: F.layer_norm(one, (8, 6)))(h),
    "vmap of F.linear": lambda h: torch.vmap(lambda one: F.linear(one, PLANE))(h),
    "func.jvp": lambda h: torch.func.jvp(torch.sin, (h,), (torch.ones_like(h),))[1],
    "func.vjp": lambda h: torch.func.vjp(torch.sin, h)[1](torch.ones_like(h))[0],
    "func.grad": lambda h: torch.func.grad(lambda a: (a**3).sum())(h),
    "func.hessian of a vector": lambda h: (
        h * torch.func.hessian(lambda a: (a**3).sum())(h[:, 0, 0].mean(0)).trace() if len(h) == 1 else h
    ),
    "autograd.grad in forward": lambda h: _energy(h),
    "torch.cond": lambda h: torch.cond(h.sum() > 0, lambda a: a * 2, lambda a: a * 3, (h,)) if len(h) == 1 else h,
    "checkpoint": lambda h: torch.utils.checkpoint.checkpoint(torch.sin, h, use_reentrant=False),
    "checkpoint, reentrant": lambda h: torch.utils.checkpoint.checkpoint(torch.sin, h, use_reentrant=True),
    "functional_call": lambda h: torch.func.functional_call(
        nn.Conv2d(4, 4, 3, padding=1).double(), {"weight": WEIGHT, "bias": MATRIX[0]}, (h,)
    ),
    "stack_module_state's vmap": lambda h: torch.vmap(lambda w: F.conv2d(h, w, padding=1))(
        torch.stack([WEIGHT, WEIGHT * 2])
    ).sum(0),
    "no_grad": lambda h: h + _without_grad(h),
    "enable_grad": lambda h: _with_grad(h),
    "autocast off": lambda h: _without_autocast(h),
}
