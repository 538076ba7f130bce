"""Operations as small functions, for the tests that every rule must pass.

Each case is (function of x, shape of x, linear, apart): `linear` in x up to a constant, so that the adjoint
identity holds; `apart`: the samples along axis 0 do not meet, so that units may travel as one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Case(NamedTuple):
    function: Callable[[Tensor], Tensor]
    shape: tuple[int, ...]
    linear: bool = True
    apart: bool = True


_random = torch.Generator().manual_seed(7)


def weights(*shape: int) -> Tensor:
    return torch.randn(shape, generator=_random, dtype=torch.float64)


CASES: dict[str, Case] = {}


def _convolutions() -> None:
    shapes = {1: (3, 4, 11), 2: (3, 4, 9, 8), 3: (3, 4, 6, 5, 7)}
    for rank, shape in shapes.items():
        for transposed in (False, True):
            function = getattr(F, f"conv{'_transpose' if transposed else ''}{rank}d")
            for stride, padding, dilation, groups in ((1, 0, 1, 1), (2, 1, 1, 2), (3, 2, 2, 4), (1, 1, 2, 1)):
                options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
                if transposed and stride > 1:
                    options["output_padding"] = 1
                weight = weights(4, 8 // groups, *[3] * rank) if transposed else weights(8, 4 // groups, *[3] * rank)
                name = f"conv{'_transpose' if transposed else ''}{rank}d {options}"
                bias = weights(8)
                CASES[name] = Case(lambda x, f=function, w=weight, b=bias, o=options: f(x, w, b, **o), shape)
    weight = weights(4, 4, 3, 5)
    CASES["conv2d same"] = Case(lambda x: F.conv2d(x, weight, padding="same"), (3, 4, 9, 8))
    for mode in ("zeros", "reflect", "replicate", "circular"):
        layer = nn.Conv2d(4, 2, 3, padding=2, padding_mode=mode).double()
        CASES[f"Conv2d padded by {mode}"] = Case(layer, (3, 4, 9, 8))


def _pools() -> None:
    shapes = {1: (3, 2, 13), 2: (3, 2, 11, 9), 3: (3, 2, 7, 8, 6)}
    for rank, shape in shapes.items():
        pool, average = getattr(F, f"max_pool{rank}d"), getattr(F, f"avg_pool{rank}d")
        for kernel, stride, padding, ceil in ((2, 2, 0, False), (3, 2, 1, True), (3, 1, 1, False), (2, 3, 0, True)):
            options = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil}
            CASES[f"max_pool{rank}d {options}"] = Case(lambda x, f=pool, o=options: f(x, **o), shape, linear=False)
            for count in (True, False):
                counted = {**options, "count_include_pad": count}
                CASES[f"avg_pool{rank}d {counted}"] = Case(lambda x, f=average, o=counted: f(x, **o), shape)
        dilated = {"kernel_size": 2, "stride": 2, "dilation": 3}
        CASES[f"max_pool{rank}d dilated"] = Case(lambda x, f=pool, o=dilated: f(x, **o), shape, linear=False)
        for size in (1, 4):
            for kind, linear in (("max", False), ("avg", True)):
                function = getattr(F, f"adaptive_{kind}_pool{rank}d")
                CASES[f"adaptive_{kind}_pool{rank}d to {size}"] = Case(
                    lambda x, f=function, s=size: f(x, s), shape, linear=linear
                )
    for rank in (2, 3):
        unpool, pooled = getattr(F, f"max_unpool{rank}d"), torch.randn(shapes[rank], generator=_random)
        switches = getattr(F, f"max_pool{rank}d")(pooled, 2, return_indices=True)[1]
        CASES[f"max_unpool{rank}d"] = Case(
            lambda x, f=unpool, s=switches, size=shapes[rank][2:]: f(x, s, 2, output_size=size), switches.shape
        )
        function = getattr(F, f"fractional_max_pool{rank}d")
        sampled = torch.rand(3, 2, rank, generator=_random, dtype=torch.float64)
        CASES[f"fractional_max_pool{rank}d"] = Case(
            lambda x, f=function, s=sampled: f(x, 2, output_size=3, _random_samples=s), shapes[rank], linear=False
        )


def _interpolations() -> None:
    for mode, shape in (
        ("nearest", (3, 2, 5)),
        ("nearest", (3, 2, 5, 4)),
        ("nearest", (3, 2, 3, 4, 5)),
        ("nearest-exact", (3, 2, 5, 4)),
        ("linear", (3, 2, 5)),
        ("bilinear", (3, 2, 5, 4)),
        ("bicubic", (3, 2, 5, 4)),
        ("trilinear", (3, 2, 3, 4, 5)),
        ("area", (3, 2, 6, 4)),
    ):
        for factor in (2, 1.5, 0.6):
            for aligned in (False, True) if mode in ("linear", "bilinear", "trilinear", "bicubic") else (None,):
                options = {"scale_factor": factor, "mode": mode, "align_corners": aligned}
                CASES[f"interpolate {len(shape) - 2}-D {options}"] = Case(
                    lambda x, o=options: F.interpolate(x, **o), shape
                )
    CASES["interpolate antialiased"] = Case(
        lambda x: F.interpolate(x, size=(3, 3), mode="bilinear", antialias=True), (3, 2, 7, 8)
    )


def _places() -> None:
    images, tokens = (3, 4, 6, 8), (3, 5, 6)
    chosen, grid = (torch.tensor([3, 0, 0]), torch.rand(3, 4, 5, 2, generator=_random, dtype=torch.float64) * 2 - 1)
    mask = torch.rand(images, generator=_random) > 0.4
    other = weights(*images)
    linear = {
        "view": lambda x: x.view(len(x), -1),
        "view by windows": lambda x: x.view(-1, 4, 3, 2, 8).flatten(1, 2),
        "windows as samples": lambda x: x.view(len(x), 4, 2, 3, 8).permute(0, 2, 1, 3, 4).reshape(-1, 4, 3, 8) * 2,
        "reshape of a permuted map": lambda x: x.permute(0, 2, 3, 1).reshape(len(x), -1),
        "squeeze and unsqueeze": lambda x: x[:, :1].squeeze(1).unsqueeze(-1),
        "expand": lambda x: x[:, :1].expand(-1, 5, -1, -1),
        "repeat": lambda x: x.repeat(1, 2, 1, 1),
        "permute": lambda x: x.permute(0, 3, 1, 2),
        "transpose": lambda x: x.transpose(1, -1),
        "batch axis moved": lambda x: x.transpose(0, 1) * 2,
        "slice": lambda x: x[:, 1:, ::2, -3:],
        "slice of samples": lambda x: x[:2],
        "select": lambda x: x[:, 2, :, -1],
        "select a sample": lambda x: x[1],
        "advanced index": lambda x: x[:, chosen],
        "advanced index apart": lambda x: x[:, chosen, :, chosen],
        "index of samples": lambda x: x[torch.tensor([2, 0])],
        "mask": lambda x: x[:, torch.tensor([True, False, True, True])],
        "index_select": lambda x: x.index_select(2, chosen),
        "gather at constants": lambda x: x.gather(1, mask.long()),
        "split": lambda x: torch.cat(x.split([1, 3], 1)[::-1], 1),
        "chunk": lambda x: x.chunk(2, 1)[0] - 2 * x.chunk(2, 1)[1],
        "unbind": lambda x: x.unbind(1)[1] + x.unbind(1)[3],
        "stack": lambda x: torch.stack([x, 2 * x, x[:, :1].expand_as(x)], 1),
        "stack last": lambda x: torch.stack([x, other], -1),
        "cat with a constant": lambda x: torch.cat([x, other, 3 * x], 1),
        "cat of samples": lambda x: torch.cat([x, x], 0),
        "channel shuffle": lambda x: x.view(len(x), 2, 2, 6, 8).transpose(1, 2).reshape(x.shape),
        "channel_shuffle": lambda x: F.channel_shuffle(x, 2),
        "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
        "pixel_unshuffle": lambda x: F.pixel_unshuffle(x, 2),
        "unfold": lambda x: F.unfold(x, 3, padding=1),
        "fold": lambda x: F.fold(F.unfold(x, 3), (6, 8), 3),
        "sliding windows": lambda x: x.unfold(2, 3, 2),
        "pad": lambda x: F.pad(x, (1, 2, 0, 3), value=0.5),
        "pad channels": lambda x: F.pad(x, (0, 0, 0, 0, 1, 1)),
        "crop": lambda x: F.pad(x, (-1, -2, 0, -1)),
        "pad reflect": lambda x: F.pad(x, (2, 1, 1, 2), mode="reflect"),
        "pad replicate": lambda x: F.pad(x, (2, 1, 1, 2), mode="replicate"),
        "pad circular": lambda x: F.pad(x, (2, 1, 1, 2), mode="circular"),
        "roll": lambda x: x.roll((1, -2), (2, 3)),
        "flip": lambda x: x.flip(1, 3),
        "rot90": lambda x: x.rot90(1, (2, 3)),
        "cumsum": lambda x: x.cumsum(2),
        "sum": lambda x: x.sum((2, 3)),
        "mean": lambda x: x.mean((2, 3), keepdim=True),
        "mean of all": lambda x: x.mean().expand(3, 1),
        "where": lambda x: torch.where(mask, x, 0.5),
        "where either": lambda x: torch.where(mask, x, 2 * x + other),
        "masked_fill": lambda x: x.masked_fill(mask, 0.25),
        "tril": lambda x: x.tril(),
        "diagonal": lambda x: x.diagonal(0, 2, 3),
        "grid_sample": lambda x: F.grid_sample(x, grid, align_corners=False),
        "add": lambda x: torch.add(x, other, alpha=3) + x + 1,
        "broadcast sum": lambda x: x + x.mean((2, 3), keepdim=True) + x[:, :1],
        "subtract": lambda x: 1 - torch.sub(x, 2 * x, alpha=2) - other,
        "times": lambda x: x * other * 3 * other[0],
        "times a broadcast": lambda x: x[:, :1] * other,
        "divide": lambda x: -x / other / 2,
        "index_add": lambda x: torch.zeros_like(x).index_add(1, torch.tensor([1, 1, 0, 2]), x),
        "scatter_add": lambda x: torch.zeros_like(x).scatter_add(1, mask.long(), x),
        "slice assignment": lambda x: _assigned(x),
        "clone and contiguous": lambda x: x.clone().permute(0, 2, 3, 1).contiguous(),
    }
    moved = ("batch axis moved", "slice of samples", "select a sample", "index of samples", "cat of samples")
    mixing = {*moved, "mean of all", "advanced index apart", "repeat", "grid_sample"}
    CASES.update({name: Case(f, images, True, name not in mixing) for name, f in linear.items()})
    left, right = weights(2, 6), weights(6, 4)
    CASES["linear"] = Case(lambda x: F.linear(x, left, left[:, 0]), tokens)
    CASES["linear of rows"] = Case(lambda x: F.linear(x, left, left[:, 0]), (3, 6))
    CASES["addmm"] = Case(lambda x: torch.addmm(left[:, 0], x, right[:, :2], alpha=2), (3, 6))
    CASES["matmul"] = Case(lambda x: x @ right, tokens)
    CASES["matmul from the left"] = Case(lambda x: weights_of(x) @ x, tokens)
    CASES["einsum"] = Case(lambda x: torch.einsum("ntc,dc->ndt", x, left), tokens, apart=False)


def weights_of(x: Tensor) -> Tensor:
    return torch.arange(2.0 * x.shape[1], dtype=x.dtype).view(2, -1) - 3


def _assigned(x: Tensor) -> Tensor:
    y = x * 2
    y[:, 1:3, 2] = x[:, :2, 1]
    y[:, 0] = 0.5
    return y


def _nonlinear() -> None:
    images, tokens = (3, 4, 6, 5), (3, 5, 6)
    norm = nn.BatchNorm2d(4).double().eval()
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_(generator=_random)
    norm.running_var.uniform_(0.5, 2, generator=_random)
    with torch.no_grad():
        norm.weight.uniform_(-1, 1, generator=_random)
    plain = nn.BatchNorm2d(4, affine=False).double().eval()
    assert plain.running_var is not None
    plain.running_var.uniform_(0.5, 2, generator=_random)
    CASES["batch_norm"] = Case(norm, images)
    CASES["batch_norm without weights"] = Case(plain, images)
    scale, shift = weights(4), weights(4)
    nonlinear = {
        "batch_norm by the batch": (lambda x: F.batch_norm(x, None, None, training=True), False),
        "local_response_norm": (lambda x: F.local_response_norm(x, 3, alpha=0.5), True),
        "layer_norm": (lambda x: F.layer_norm(x, [6, 5]), True),
        "group_norm": (lambda x: F.group_norm(x, 2, scale, shift), True),
        "instance_norm": (lambda x: F.instance_norm(x), True),
        "rrelu": (lambda x: F.rrelu(x, 0.1, 0.4), True),
        "prelu": (lambda x: F.prelu(x, scale), True),
        "hardswish in place": (lambda x: F.hardswish(x * 1, inplace=True), True),
        "softmax": (lambda x: x.softmax(1), True),
        "gate": (lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(), True),
        "swish by hand": (lambda x: x * torch.sigmoid(x), True),
        "to another type and back": (lambda x: x.float().double(), True),
        "square": (lambda x: x**2 + x * x, True),
        "normalize": (lambda x: F.normalize(x), True),
        "glu": (lambda x: F.glu(x, 1), True),
        "divide by itself": (lambda x: 1 / (1 + x.abs()), True),
        "maximum": (lambda x: torch.maximum(x, x.flip(2)), True),
        "gather": (lambda x: x.gather(1, (x > 0).long()), True),
        "clamp": (lambda x: x.clamp(-0.5, 0.5), True),
        "amax": (lambda x: x.amax((2, 3)), True),
        "sort": (lambda x: x.sort(2).values, True),
        "topk": (lambda x: x.topk(2, 3).values, True),
        "std": (lambda x: x.std((2, 3)), True),
        "norm": (lambda x: torch.linalg.vector_norm(x, dim=(2, 3)), True),
        "where it is positive": (lambda x: torch.where(x > 0, x, 0.1 * x), True),
        "kept by a mask": (lambda x: x * (x > 0.3), True),
        "local pooling by power": (lambda x: F.lp_pool2d(x.abs() + 0.1, 2, 2), True),
    }
    CASES.update({name: Case(f, images, False, apart) for name, (f, apart) in nonlinear.items()})
    attend = nn.MultiheadAttention(6, 2, batch_first=True).double().eval()
    CASES["attention"] = Case(lambda x: attend(x, x, x)[0], tokens, linear=False, apart=False)
    CASES["scaled_dot_product_attention"] = Case(
        lambda x: F.scaled_dot_product_attention(x[:, None], x[:, None] * 2, x[:, None]), tokens, linear=False
    )
    CASES["batched products"] = Case(lambda x: torch.bmm(x, x.transpose(1, 2)), tokens, linear=False)
    lstm = nn.LSTM(6, 3, batch_first=True).double().eval()
    CASES["lstm"] = Case(lambda x: lstm(x)[0], tokens, linear=False, apart=False)
    gru = nn.GRU(6, 3, batch_first=True, bidirectional=True).double().eval()
    CASES["gru"] = Case(lambda x: gru(x)[0], tokens, linear=False, apart=False)


_convolutions()
_pools()
_interpolations()
_places()
_nonlinear()
