"""What the sources of random networks name beside torch: seeded numbers, and modules and functions people write."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast
from zlib import crc32

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)
as_written = False  # whether `scripted` leaves modules as they are, for references that see Python calls only


def _generator(name: str) -> torch.Generator:
    return torch.Generator().manual_seed(crc32(name.encode()))


def constant(name: str, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=_generator(name))


def drawn(module: Module, name: str) -> Module:
    """In eval mode and double precision, all of whose numbers follow from `name`, sized to keep activations in range."""
    module, random = module.eval(), _generator(name)
    with torch.no_grad():
        for part, parameter in module.named_parameters():
            if parameter.ndim > 1:
                parameter.data = parameter.data.to(torch.complex128 if parameter.is_complex() else torch.float64)
                parameter.normal_(0, parameter[0].numel() ** -0.5, generator=random)
            elif "bias" in part:
                parameter.normal_(0, 0.3, generator=random)
            else:
                parameter.uniform_(0.5, 1.5, generator=random)
        for part, buffer in module.named_buffers():
            if "running_mean" in part:
                buffer.normal_(0, 0.3, generator=random)
            elif "running_var" in part:
                buffer.uniform_(0.5, 1.5, generator=random)
            elif buffer.is_floating_point() and part.rpartition(".")[2] in ("_u", "_v", "weight_u", "weight_v"):
                buffer.copy_(F.normalize(torch.randn(buffer.shape, generator=random), dim=0))
    for parameter in module.parameters():
        if not parameter.is_complex():
            parameter.data = parameter.data.double()
    for owner in module.modules():
        for part, buffer in owner.named_buffers(recurse=False):
            if buffer.is_floating_point():
                setattr(owner, part, buffer.double())
    return module


def scripted(module: Module) -> Module:
    """By TorchScript, but for a reference that must see what Python calls."""
    if as_written:
        return module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cast(Module, torch.jit.script(module))


def hooked(module: Module, before: Callable[..., Any] | None = None, after: Callable[..., Any] | None = None) -> Module:
    if before:
        module.register_forward_pre_hook(before)
    if after:
        module.register_forward_hook(after)
    return module


# Layouts: the same numbers in another place in memory


def channels_last(x: Tensor) -> Tensor:
    if x.ndim not in (4, 5):
        return x.movedim(1, -1).contiguous().movedim(-1, 1)
    return x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)


def sliced(x: Tensor) -> Tensor:
    """Part of a larger tensor, so that nothing about its strides is dense."""
    return F.pad(x, (1, 2) + (0, 0) * (x.ndim - 3) + (1, 1))[:, 1:-1, ..., 1:-2]


def transposed(x: Tensor) -> Tensor:
    """Its last axis first in memory."""
    return x.transpose(1, -1).contiguous().transpose(1, -1)


def tokens(x: Tensor) -> Tensor:
    """As a map made of tokens (N, positions, C) is laid out."""
    return x.flatten(2).transpose(1, 2).contiguous().transpose(1, 2).reshape(x.shape)


def strided(x: Tensor) -> Tensor:
    return torch.stack([x, x * 2], -1)[..., 0]


# Straight-through estimators and other functions with a backward of their own


class Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return (x * 4).round() / 4

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Any:
        return signal


class Signed(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.sign()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Any:
        return signal * (ctx.saved_tensors[0].abs() < 1)


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        gate = torch.sigmoid(slope * x)
        ctx.slope = slope
        ctx.save_for_backward(x, gate)
        return x * gate

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Any:
        x, gate = ctx.saved_tensors
        return signal * gate * (1 + ctx.slope * x * (1 - gate)), None


class Base(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1.0

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Any:
        return signal


class Reversed(Base):
    """Only its backward is its own."""

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Any:
        return -0.5 * signal


class ByClass(torch.autograd.Function):
    @classmethod
    def forward(cls, ctx: Any, x: Tensor) -> Tensor:
        return cls.shaped(x)

    @classmethod
    def backward(cls, ctx: Any, signal: Tensor) -> Any:
        return 3 * signal

    @classmethod
    def shaped(cls, x: Tensor) -> Tensor:
        return x * 2.0


class Given(torch.autograd.Function):
    """Is handed a function, and has a backward of its own."""

    @staticmethod
    def forward(ctx: Any, function: Any, x: Tensor) -> Tensor:
        return function(x)

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Any:
        return None, 0.7 * signal


class Doubled(torch.autograd.Function):
    """Works in place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Any:
        return 2 * signal


class Halves(torch.autograd.Function):
    """Several outputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * 0.5, x * 2

    @staticmethod
    def backward(ctx: Any, one: Tensor, two: Tensor) -> Any:
        return one * 0.5 + two * 2


def made_inside(x: Tensor) -> Tensor:
    class Inside(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clamp(-1, 1)

        @staticmethod
        def backward(ctx: Any, signal: Tensor) -> Any:
            return signal * 0.9

    return Inside.apply(x)


def straight_through(x: Tensor) -> Tensor:
    return x + ((x * 2).round() / 2 - x).detach()


def nearest_code(x: Tensor, codes: Tensor) -> Tensor:
    """Vector quantisation, as in VQ-VAE. codes: (entries, channels)."""
    rows = x.movedim(1, -1)
    distances = (rows.unsqueeze(-2) - codes).pow(2).sum(-1)
    chosen = codes[distances.argmin(-1)]
    return (rows + (chosen - rows).detach()).movedim(-1, 1)


def hard_gumbel(x: Tensor) -> Tensor:
    soft = x.softmax(1)
    hard = torch.zeros_like(x).scatter_(1, soft.argmax(1, keepdim=True), 1.0)
    return hard - soft.detach() + soft


# Modules people write


class MaxNorm(nn.Conv2d):
    """Whose weight is replaced whenever it runs."""

    def forward(self, x: Tensor) -> Tensor:
        self.weight.data = torch.renorm(self.weight.data, p=2, dim=0, maxnorm=0.9)
        return super().forward(x)


class Gate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(channels, 2), nn.Linear(2, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.outer(torch.relu(self.inner(x.flatten(2).mean(2)))))
        return x * gate.view(gate.shape + (1,) * (x.ndim - 2))


class Inner(nn.Module):
    """To be scripted."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(x) * self.weight.view([1, -1] + [1] * (x.dim() - 2))
        for _ in range(2):
            y = y + 0.1 * torch.sin(y)
        return torch.relu(y) + y


class Merged(nn.Module):
    """Gets ready in `train(False)`, as reparametrised blocks do."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, channels))
        self.merged: Tensor | None = None

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        self.merged = None if mode else 2 * self.weight.detach()
        return self

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * 2 if self.training or self.merged is None else self.merged.to(x)
        return torch.einsum("oc,nc...->no...", weight, x)


class Scaled(nn.Module):
    """RMSNorm over channels, as people write it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(1, -1)
        return (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight).movedim(-1, 1)


class Response(nn.Module):
    """Global response normalisation, as in ConvNeXt V2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(1, -1)
        size = torch.norm(x, p=2, dim=tuple(range(1, x.ndim - 1)), keepdim=True)
        return (self.gamma * (x * (size / (size.mean(-1, keepdim=True) + 1e-6))) + self.beta + x).movedim(-1, 1)


class Standardised(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        weight = F.batch_norm(self.weight.reshape(1, len(self.weight), -1), None, None, training=True, eps=1e-6)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias, self.stride, self.padding)


def per_sample(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """One sample after the other, so that Python may decide for each."""
    return torch.cat([function(part) for part in x.split(1)])


def windows_of(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Windows of an image as samples, and back. x: (N, C, even, even)."""
    n, c, h, w = x.shape
    parts = x.reshape(n, c, 2, h // 2, 2, w // 2).permute(0, 2, 4, 1, 3, 5).reshape(-1, c, h // 2, w // 2)
    parts = function(parts)
    k, h, w = parts.shape[1:]
    return parts.reshape(n, 2, 2, k, h, w).permute(0, 3, 1, 4, 2, 5).reshape(n, k, 2 * h, 2 * w)


def scan_rows(x: Tensor) -> Tensor:
    """A recurrence that writes its states into a tensor made before."""
    out, state = torch.zeros_like(x), torch.zeros_like(x[..., 0])
    for t in range(x.shape[-1]):
        state = torch.tanh(0.5 * state + x[..., t])
        out[..., t] = state
    return out


def filled(x: Tensor) -> Tensor:
    out = torch.empty_like(x)
    out[:, ::2] = x[:, ::2].tanh()
    out[:, 1::2] = x[:, 1::2] * 0.3
    return out


def rotated(x: Tensor) -> Tensor:
    """Rotary embedding over channels, in complex numbers. x: (N, 2 c, ...)."""
    pairs = torch.view_as_complex(x.movedim(1, -1).unflatten(-1, (-1, 2)).contiguous())
    angles = torch.polar(
        torch.ones(pairs.shape[-1], dtype=x.dtype), torch.arange(pairs.shape[-1], dtype=x.dtype) / math.pi
    )
    return torch.view_as_real(pairs * angles).flatten(-2).movedim(-1, 1)
