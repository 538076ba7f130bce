"""Norms in elementary operations, for references, because torch's own backward of some is wrong in some layouts.

On the CPU the backward of instance norm and of batch norm, by whatever statistics, gives wrong signals for one sample
whose signal is laid out with the channels last or as tokens.
`NORMS` maps each function to one with the same arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def standardised(x: Tensor, axes: list[int] | tuple[int, ...], eps: float) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred / (centred.pow(2).mean(axes, keepdim=True) + eps).sqrt()


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (x.ndim - 2))


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None:
        x = x * per_channel(weight, x)
    return x if bias is None else x + per_channel(bias, x)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if training or running_mean is None or running_var is None:
        return _scaled(standardised(input, [axis for axis in range(input.ndim) if axis != 1], eps), weight, bias)
    made: Tensor = _ByRunningStatistics.apply(input, running_mean, running_var, weight, bias, eps)
    return made


class _ByRunningStatistics(torch.autograd.Function):
    """Forward torch's own, which rounds as networks do, and backward written out."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, var: Tensor, weight: Any, bias: Any, eps: float) -> Tensor:
        ctx.factor = (var + eps).rsqrt() * (1.0 if weight is None else weight)
        return F.batch_norm(x, mean, var, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Any:
        return signal * per_channel(ctx.factor, signal), None, None, None, None, None


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if use_input_stats or running_mean is None or running_var is None:
        return _scaled(standardised(input, tuple(range(2, input.ndim)), eps), weight, bias)
    return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    apart = input.reshape(len(input), num_groups, -1)
    return _scaled(standardised(apart, [2], eps).reshape(input.shape), weight, bias)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    x = standardised(input, tuple(range(-len(normalized_shape), 0)), eps)
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    x = input / (input.pow(2).mean(tuple(range(-len(normalized_shape), 0)), keepdim=True) + eps).sqrt()
    return x if weight is None else x * weight


NORMS: dict[Any, Callable[..., Tensor]] = {
    F.batch_norm: batch_norm,
    F.instance_norm: instance_norm,
    F.group_norm: group_norm,
    F.layer_norm: layer_norm,
    F.rms_norm: rms_norm,
    torch.batch_norm: lambda x, weight, bias, mean, var, training, momentum, eps, *_: batch_norm(
        x, mean, var, weight, bias, training, momentum, eps
    ),
    torch.instance_norm: lambda x, weight, bias, mean, var, own, momentum, eps, *_: instance_norm(
        x, mean, var, weight, bias, own, momentum, eps
    ),
    torch.group_norm: lambda x, groups, weight=None, bias=None, eps=1e-5, *_, **__: group_norm(
        x, groups, weight, bias, eps
    ),
    torch.layer_norm: lambda x, shape, weight=None, bias=None, eps=1e-5, *_, **__: layer_norm(
        x, shape, weight, bias, eps
    ),
    torch.rms_norm: rms_norm,
}
