"""Ordinary code, a line or two each, between two convolutions: what people write in the forward of a network.

Each entry is a function from maps h, (N, 4, 8, 6) in double precision, to maps (N, 4, ...), without rectifiers but
those in `RECTIFIED`, so that every style has to agree with autograd. `PLAIN` has the same in words that autograd takes,
where it does not take these. What mixes the samples of a batch does so for a single one only; `MIXING` has the others.
"""

# ruff: noqa: PLC3002

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import itertools
import math
import operator
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CODE: dict[str, Callable[[Tensor], Tensor]] = {}
PLAIN: dict[str, Callable[[Tensor], Tensor]] = {}
_random = torch.Generator().manual_seed(3)


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=_random, dtype=torch.float64)


def code(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Enter a function of several lines, under its own name."""
    CODE[function.__name__.replace("_", " ").strip()] = function
    return function


def fresh(h: Tensor) -> Tensor:
    """To be written into."""
    return h * 1.0


OTHER, ROW, PLANE = numbers(1, 4, 8, 6), numbers(6), numbers(8, 6)
POSITIVE = OTHER.abs() + 0.5
MASK = OTHER > 0
MATRIX, WEIGHT = numbers(4, 4), numbers(4, 4, 3, 3)
CUBE = numbers(3, 6, 6)

# Operators that write


def _written(name: str, change: Callable[[Tensor], object], before: Callable[[Tensor], Tensor] = fresh) -> None:
    def function(h: Tensor) -> Tensor:
        made = before(h)
        after = change(made)
        return after if isinstance(after, Tensor) and after.ndim == 4 else made

    CODE[name] = function


for _name, _operator, _values in (
    ("+=", operator.iadd, (2, 0.5, OTHER, ROW)),
    ("-=", operator.isub, (2, 0.5, OTHER, ROW)),
    ("*=", operator.imul, (2, 0.5, OTHER, ROW)),
    ("/=", operator.itruediv, (2, 0.5, POSITIVE)),
    ("%=", operator.imod, (2, 0.5, POSITIVE)),
    ("**=", operator.ipow, (2, 3.0)),
):
    for _number, _value in enumerate(_values):
        _written(
            f"h {_name} {['a whole number', 'a number', 'a tensor', 'a row'][_number]}",
            lambda h, o=_operator, v=_value: o(h, v),
        )
_written("h **= a tensor", lambda h: operator.ipow(h, POSITIVE), lambda h: h.abs() + 0.5)
_written("h += h", lambda h: operator.iadd(h, h))
_written("h *= h", lambda h: operator.imul(h, h))
_written("h -= its flip", lambda h: operator.isub(h, h.flip(2)))
_written("h *= its mean", lambda h: operator.imul(h, h.mean((2, 3), keepdim=True)))
_written("h /= its norm", lambda h: operator.itruediv(h, h.flatten(1).norm(dim=1)[:, None, None, None]))
_written("a mask &= another", lambda h: h * operator.iand(h > 0, MASK))
_written("a mask |= another", lambda h: h * operator.ior(h > 0, MASK))
_written("a mask ^= another", lambda h: h * operator.ixor(h > 0, MASK))

for _name, _change in {
    "pow_(2)": lambda h: h.pow_(2),
    "pow_(a tensor)": lambda h: h.abs_().add_(1).pow_(POSITIVE),
    "remainder_(a tensor)": lambda h: h.remainder_(POSITIVE),
    "fmod_": lambda h: h.fmod_(0.7),
    "clamp_": lambda h: h.clamp_(-0.5, 0.5),
    "clamp_(a tensor)": lambda h: h.clamp_(min=OTHER),
    "clamp_(two tensors)": lambda h: h.clamp_(-POSITIVE, POSITIVE),
    "clamp_min_": lambda h: h.clamp_min_(0.1),
    "clip_": lambda h: h.clip_(max=0.1),
    "lerp_": lambda h: h.lerp_(OTHER, 0.3),
    "lerp_(a tensor)": lambda h: h.lerp_(OTHER.expand_as(h), MASK.double().expand_as(h)),
    "addcmul_": lambda h: h.addcmul_(OTHER, POSITIVE, value=0.5),
    "addcdiv_": lambda h: h.addcdiv_(OTHER, POSITIVE),
    "index_fill_": lambda h: h.index_fill_(1, torch.tensor([0]), 0.5),
    "index_fill_(a tensor)": lambda h: h.index_fill_(1, torch.tensor([0]), torch.tensor(0.5, dtype=h.dtype)),
    "index_add_": lambda h: h.index_add_(1, torch.tensor([0, 2]), h[:, 1:3].clone()),
    "index_copy_": lambda h: h.index_copy_(1, torch.tensor([3, 2]), h[:, :2].clone()),
    "masked_fill_": lambda h: h.masked_fill_(h > 0.3, 0.5),
    "masked_fill_(a tensor)": lambda h: h.masked_fill_(MASK, torch.tensor(0.5, dtype=h.dtype)),
    "masked_scatter_": lambda h: h.masked_scatter_(MASK, (h * 2).clone()) if len(h) == 1 else h,
    "fill_ of a part": lambda h: h[:, 1].fill_(0.5),
    "fill_ with a value of its own": lambda h: h[:1, 1].fill_(h[0, 0].sum()) if len(h) == 1 else h,
    "zero_ of a part": lambda h: h[:, 1:, 2:].zero_()[0],
    "copy_ of a part": lambda h: h[:, 1].copy_(h[:, 2] * 2),
    "copy_ with a broadcast": lambda h: h[:, 1].copy_(ROW),
    "scatter_": lambda h: h.scatter_(1, torch.zeros(len(h), 1, 8, 6, dtype=torch.long), h[:, 1:2].clone()),
    "scatter_add_": lambda h: h.scatter_add_(1, torch.zeros(len(h), 1, 8, 6, dtype=torch.long), h[:, 1:2].clone()),
    "scatter_reduce_": lambda h: h.scatter_reduce_(
        1, torch.zeros(len(h), 1, 8, 6, dtype=torch.long), h[:, 1:2].clone(), "prod"
    ),
    "put_": lambda h: h.put_(torch.tensor([3, 5]), h[0, 0, 0, :2].clone()) if len(h) == 1 else h,
    "sqrt_": lambda h: h.abs_().add_(1).sqrt_(),
    "exp_": lambda h: h.exp_(),
    "neg_": lambda h: h.neg_(),
    "sigmoid_": lambda h: h.sigmoid_(),
    "tanh_": lambda h: h.tanh_(),
    "sin_": lambda h: h.sin_(),
    "reciprocal_": lambda h: h.add_(9).reciprocal_(),
    "rsqrt_": lambda h: h.abs_().add_(1).rsqrt_(),
    "log_": lambda h: h.abs_().add_(1).log_(),
    "log1p_": lambda h: h.abs_().log1p_(),
    "tril_": lambda h: h.tril_(),
    "cumsum_": lambda h: h.cumsum_(2),
    "cumprod_": lambda h: h.cumprod_(2),
    "square_": lambda h: h.square_(),
    "abs_": lambda h: h.abs_(),
    "round_ and h": lambda h: h.clone().round_() + h,
    "nan_to_num_": lambda h: h.nan_to_num_(),
    "hypot_": lambda h: h.hypot_(POSITIVE),
    "atan2_": lambda h: h.atan2_(POSITIVE),
    "xlogy_": lambda h: h.abs_().xlogy_(POSITIVE),
    "renorm_": lambda h: h.renorm_(2, 1, 0.5) if len(h) == 1 else h,
    "transpose_": lambda h: h.transpose_(2, 3),
    "squeeze_ and unsqueeze_": lambda h: h.unsqueeze_(2).squeeze_(2),
    "swapaxes_": lambda h: h.swapaxes_(2, 3).mul_(2),
    "add_ with alpha": lambda h: h.add_(h.flip(3), alpha=-2),
    "sub_ with alpha": lambda h: h.sub_(OTHER, alpha=2),
    "div_ rounded, and h": lambda h: h.clone().div_(0.5, rounding_mode="floor") + h,
    "addmm_ of a part": lambda h: h[0, 0].addmm_(PLANE[:, :3], PLANE[:3]) if len(h) == 1 else h,
    "baddbmm_ of a part": lambda h: h[:, 0].baddbmm_(h[:, 1], h[:, 2, :6].clone()),
    "logit_": lambda h: h.sigmoid_().clamp_(0.1, 0.9).logit_(),
    "float_power_": lambda h: h.abs_().add_(1).float_power_(1.5),
    "copysign_": lambda h: h.copysign_(OTHER),
}.items():
    _written(_name, _change)

# Results that are handed in, which autograd does not take

for _name, _function, _plain in (
    ("torch.add(out=)", lambda h: torch.add(h, OTHER, out=torch.empty_like(h)), lambda h: h + OTHER),
    ("torch.mul(out=)", lambda h: torch.mul(h, OTHER, out=torch.empty_like(h)), lambda h: h * OTHER),
    (
        "torch.matmul(out=)",
        lambda h: torch.matmul(h, PLANE.mT, out=h.new_empty(*h.shape[:3], 8)),
        lambda h: h @ PLANE.mT,
    ),
    ("torch.sum(out=)", lambda h: h * torch.sum(h, 1, True, out=h.new_empty(0)), lambda h: h * h.sum(1, True)),
    ("torch.cat(out=)", lambda h: torch.cat([h, h * 2], 2, out=h.new_empty(0)), lambda h: torch.cat([h, h * 2], 2)),
    (
        "torch.stack(out=)",
        lambda h: torch.stack([h, h * 2], 2, out=h.new_empty(0)).flatten(2, 3),
        lambda h: torch.stack([h, h * 2], 2).flatten(2, 3),
    ),
    ("torch.sin(out=h)", lambda h: torch.sin(h, out=fresh(h)), torch.sin),
    (
        "torch.sub(out=a part)",
        lambda h: (lambda made: (torch.sub(h[:, 0], 1, out=made[:, 1]), made)[1])(fresh(h)),
        lambda h: torch.cat([h[:, :1], h[:, :1] - 1, h[:, 2:]], 1),
    ),
    (
        "torch.max(out=)",
        lambda h: h + torch.max(h, 1, True, out=(h.new_empty(0), h.new_empty(0, dtype=torch.long)))[0],
        lambda h: h + h.max(1, True)[0],
    ),
    (
        "torch.sort(out=)",
        lambda h: torch.sort(h, 1, out=(torch.empty_like(h), torch.empty_like(h, dtype=torch.long)))[0],
        lambda h: h.sort(1)[0],
    ),
    ("torch.pow(out=)", lambda h: torch.pow(h, 2, out=torch.empty_like(h)), lambda h: h**2),
    ("torch.clamp(out=)", lambda h: torch.clamp(h, -0.5, 0.5, out=torch.empty_like(h)), lambda h: h.clamp(-0.5, 0.5)),
    (
        "torch.bmm(out=)",
        lambda h: h @ torch.bmm(h[:, 0].mT, h[:, 1], out=h.new_empty(len(h), 6, 6))[:, None],
        lambda h: h @ (h[:, 0].mT @ h[:, 1])[:, None],
    ),
):
    CODE[_name], PLAIN[_name] = _function, _plain

# Shapes and places

for _name, _function in {
    "einsum of channels": lambda h: torch.einsum("nchw,cd->ndhw", h, MATRIX),
    "einsum of a pair": lambda h: torch.einsum("nchw,ncvw->nchv", h, h),
    "einsum with dots": lambda h: torch.einsum("...hw,wv->...hv", h, PLANE[:6]),
    "einsum of a trace": lambda h: h * torch.einsum("ncii->nc", h[:, :, :6])[..., None, None],
    "outer product": lambda h: torch.einsum("nch,ncw->nchw", h.mean(3), h.mean(2)),
    "patches to tokens and back": lambda h: (
        h.reshape(-1, 4, 4, 2, 3, 2)
        .permute(0, 2, 4, 3, 5, 1)
        .reshape(len(h), 12, 16)
        .softmax(1)
        .reshape(-1, 4, 3, 2, 2, 4)
        .permute(0, 5, 1, 3, 2, 4)
        .reshape(h.shape)
    ),
    "tokens": lambda h: h.flatten(2).transpose(1, 2).matmul(MATRIX).transpose(1, 2).reshape(h.shape),
    "channels last and back": lambda h: (h.permute(0, 2, 3, 1).contiguous() @ MATRIX).permute(0, 3, 1, 2),
    "unflatten and flatten": lambda h: h.unflatten(1, (2, 2)).sum(1, keepdim=True).flatten(1, 2).repeat(1, 2, 1, 1),
    "movedim": lambda h: h.movedim(1, -1).cumsum(-1).movedim(-1, 1),
    "swapaxes": lambda h: h.swapaxes(2, 3) * 2,
    "T of tokens": lambda h: h.flatten(2).mT.reshape(h.shape),
    "ravel": lambda h: h.ravel().reshape(h.shape) * 2,
    "view_as": lambda h: (h.reshape(len(h), -1) * 2).view_as(h),
    "expand_as": lambda h: h.mean(1, keepdim=True).expand_as(h),
    "broadcast_to": lambda h: torch.broadcast_to(h.mean(1, keepdim=True), h.shape),
    "tile": lambda h: h[:, :2].tile(1, 2, 1, 1),
    "repeat_interleave": lambda h: h[:, :2].repeat_interleave(2, 1),
    "repeat_interleave by a tensor": lambda h: h[:, :2].repeat_interleave(torch.tensor([1, 3]), 1),
    "roll of everything": lambda h: h.roll(3) if len(h) == 1 else h.roll(3, 3),
    "rot90": lambda h: torch.rot90(h, 2, (2, 3)),
    "flipud of maps": lambda h: h.flip((2, 3)),
    "tensor_split": lambda h: torch.cat(torch.tensor_split(h, 3, 2)[::-1], 2),
    "hsplit and hstack": lambda h: torch.hstack(torch.hsplit(h, 2)[::-1]),
    "dsplit and dstack": lambda h: torch.dstack(torch.dsplit(h, 2)[::-1]),
    "chunk, written": lambda h: (lambda made: (made.chunk(2, 1)[0].mul_(3), made)[1])(fresh(h)),
    "split, written": lambda h: (lambda made: (made.split([1, 3], 1)[1].add_(h[:, :1]), made)[1])(fresh(h)),
    "unbind, summed": lambda h: sum(h.unbind(1))[:, None].expand(-1, 4, -1, -1),
    "narrow": lambda h: h.narrow(2, 1, 5),
    "take_along_dim": lambda h: h.take_along_dim(h.argsort(1), 1),
    "take": lambda h: h[:, :, :, :] * h.take(torch.tensor([0, 1])).sum() if len(h) == 1 else h,
    "index by two lists": lambda h: h[:, [0, 2, 1, 1]][:, :, [1, 0, 3]],
    "index by a mask of channels": lambda h: torch.cat([h[:, torch.tensor([True, False, True, False])]] * 2, 1),
    "index by a tensor of two axes": lambda h: h[:, torch.tensor([[0, 1], [2, 3]])].flatten(1, 2),
    "index by a list in two axes": lambda h: h[:, :, [0, 1, 2], [2, 1, 0]][..., None],
    "an ellipsis and None": lambda h: h[..., None, ::2].squeeze(3)[:, :, 1:-1],
    "negative steps by flip": lambda h: h[:, :, ::2].flip(2),
    "diagonal": lambda h: torch.diag_embed(h[:, :, :6].diagonal(0, 2, 3)),
    "tril of maps": lambda h: h.tril(-1) + h.triu(1),
    "unfold and fold": lambda h: F.fold(F.unfold(h, 3) * 2, (8, 6), 3),
    "sliding windows": lambda h: h.unfold(2, 3, 1).unfold(3, 3, 1).mean((-1, -2)),
    "as_strided": lambda h: fresh(h).as_strided(h.shape, (192, 48, 6, 1)),
    "pixel shuffles": lambda h: F.pixel_unshuffle(F.pixel_shuffle(h, 2), 2),
    "space to depth by slices": lambda h: (
        h[:, :, ::2, ::2] + h[:, :, 1::2, ::2] + h[:, :, ::2, 1::2] + h[:, :, 1::2, 1::2]
    ),
    "pad by one": lambda h: F.pad(h, (1, 1, 1, 1), value=0.3),
    "pad negative": lambda h: F.pad(h, (-1, 1, 0, -2)),
    "pad reflect": lambda h: F.pad(h, (1, 1, 1, 1), mode="reflect"),
    "pad circular": lambda h: F.pad(h, (1, 1, 1, 1), mode="circular"),
    "block of a vector": lambda h: h + torch.block_diag(ROW[None, :3], ROW[None, 3:]).sum(0),
    "meshgrid as a constant": lambda h: h * torch.meshgrid(torch.arange(8.0), torch.arange(6.0), indexing="ij")[0],
    "coordinates joined": lambda h: F.conv2d(
        torch.cat([h, torch.linspace(-1, 1, 6, dtype=h.dtype).expand(len(h), 1, 8, 6)], 1),
        torch.ones(4, 5, 1, 1, dtype=h.dtype),
    ),
    "one hot as a constant": lambda h: h * F.one_hot(torch.tensor(1), 4)[:, None, None],
    "one hot of the strongest": lambda h: h * F.one_hot(h.flatten(1).argmax(1) % 4, 4)[..., None, None],
    "cartesian loops": lambda h: torch.stack([h[:, i] * h[:, j] for i, j in itertools.product(range(2), range(2))], 1),
    "reduce by operator": lambda h: functools.reduce(operator.mul, h.split(1, 1)).expand(-1, 4, -1, -1),
    "python's sum and max": lambda h: sum([h, h * 2]) * max(1.5, 0.5),
    "a squeeze without axis": lambda h: h + h.mean((2, 3), keepdim=True).squeeze().reshape(len(h), 4, 1, 1),
    "a loop over samples": lambda h: torch.stack([one * 2 for one in h]),
    "a loop over rows": lambda h: torch.stack([h[:, :, i] * (i + 1) for i in range(8)], 2),
    "batch axis moved for time": lambda h: h.flatten(2).permute(2, 0, 1).cumsum(0).permute(1, 2, 0).reshape(h.shape),
    "frames folded": lambda h: (
        F.conv2d(h.unflatten(1, (2, 2)).flatten(0, 1), WEIGHT[:2, :2], padding=1).unflatten(0, (-1, 2)).flatten(1, 2)
    ),
    "channels as samples": lambda h: F.conv2d(h.reshape(-1, 1, 8, 6), WEIGHT[:1, :1], padding=1).reshape(h.shape),
    "batch as groups": lambda h: F.conv2d(
        h.reshape(1, -1, 8, 6), WEIGHT[:, :1].repeat(len(h), 1, 1, 1), groups=4 * len(h), padding=1
    ).reshape(h.shape),
    "batch axis last": lambda h: (h.permute(1, 2, 3, 0) * 2).permute(3, 0, 1, 2),
}.items():
    CODE[_name] = _function

# Numbers

for _name, _function in {
    "softmax of channels": lambda h: h.softmax(1),
    "log_softmax": lambda h: h.log_softmax(1),
    "softmax of places": lambda h: h.flatten(2).softmax(2).view(h.shape),
    "softmin": lambda h: F.softmin(h, 1),
    "logsumexp": lambda h: h - h.logsumexp(1, keepdim=True),
    "logaddexp": lambda h: torch.logaddexp(h, OTHER),
    "logcumsumexp": lambda h: h.logcumsumexp(2),
    "cosine_similarity": lambda h: h * F.cosine_similarity(h, h.flip(2), 1)[:, None],
    "pairwise_distance": lambda h: h * F.pairwise_distance(h.flatten(2), h.flip(2).flatten(2))[..., None, None],
    "cdist": lambda h: torch.cdist(h, h.flip(2) + 1),
    "normalize": lambda h: F.normalize(h, dim=1),
    "weight standardised": lambda h: F.conv2d(
        h, (WEIGHT - WEIGHT.mean((1, 2, 3), keepdim=True)) / WEIGHT.std((1, 2, 3), keepdim=True), padding=1
    ),
    "quantile": lambda h: h / torch.quantile(h.flatten(1), 0.9, 1)[:, None, None, None],
    "quantiles": lambda h: (
        h * torch.quantile(h.flatten(1), torch.tensor([0.2, 0.7], dtype=h.dtype), dim=1).sum(0)[:, None, None, None]
    ),
    "nanmean": lambda h: h - h.nanmean((2, 3), keepdim=True),
    "median": lambda h: h - h.flatten(2).median(2).values[..., None, None],
    "nanmedian": lambda h: h - h.flatten(2).nanmedian(2).values[..., None, None],
    "mode": lambda h: h - h.flatten(2).mode(2).values[..., None, None],
    "kthvalue": lambda h: h - h.flatten(2).kthvalue(5, 2).values[..., None, None],
    "topk": lambda h: h.topk(2, 2).values,
    "top channels by topk": lambda h: h.gather(1, h.topk(2, 1).indices).repeat(1, 2, 1, 1),
    "top k kept": lambda h: torch.zeros_like(h).scatter(1, h.topk(2, 1).indices, h.topk(2, 1).values),
    "sort": lambda h: h.sort(2, descending=True).values,
    "argsort as places": lambda h: h.gather(2, h.argsort(2)),
    "msort of maps": lambda h: h.sort(3).values,
    "cummax": lambda h: h.cummax(2).values,
    "cummin": lambda h: h.cummin(2)[0],
    "cumprod": lambda h: h.cumprod(2),
    "diff": lambda h: h.diff(dim=2),
    "gradient": lambda h: torch.gradient(h, dim=2)[0],
    "trapezoid": lambda h: h * torch.trapezoid(h, dim=2)[:, :, None],
    "amax and amin": lambda h: (
        (h - h.amin((2, 3), keepdim=True)) / (h.amax((2, 3), keepdim=True) - h.amin((2, 3), keepdim=True))
    ),
    "aminmax": lambda h: h - torch.aminmax(h, dim=2, keepdim=True).min,
    "max along an axis": lambda h: h - h.max(1, keepdim=True)[0],
    "max of two": lambda h: torch.max(h, h.flip(3)),
    "minimum": lambda h: torch.minimum(h, OTHER),
    "fmax": lambda h: torch.fmax(h, OTHER),
    "std and mean": lambda h: (
        (h - torch.std_mean(h, (2, 3), keepdim=True)[1]) / torch.std_mean(h, (2, 3), keepdim=True)[0]
    ),
    "var": lambda h: h / (h.var((2, 3), unbiased=False, keepdim=True) + 1).sqrt(),
    "prod": lambda h: h * h.prod(1, keepdim=True),
    "norm p 1": lambda h: h / h.norm(p=1, dim=1, keepdim=True),
    "vector_norm inf": lambda h: h / torch.linalg.vector_norm(h, math.inf, (1, 2, 3), keepdim=True),
    "matrix_norm": lambda h: h / torch.linalg.matrix_norm(h, keepdim=True),
    "bucketize as a table": lambda h: h * ROW[torch.bucketize(h, torch.tensor([-0.5, 0.0, 0.5], dtype=h.dtype))],
    "searchsorted as a table": lambda h: (
        h * ROW[torch.searchsorted(torch.tensor([-0.5, 0.0, 0.5], dtype=h.dtype), h.contiguous())]
    ),
    "an embedding of bins": lambda h: h + F.embedding((h > 0).long(), ROW[:2, None])[..., 0],
    "where of three": lambda h: torch.where(h > 0.5, h, torch.where(h < -0.5, h * 2, 0.1)),
    "where as a choice of places": lambda h: torch.where(MASK, h, h.flip(2)),
    "sign and abs": lambda h: h.sign() * h.abs().sqrt() + h,
    "signed log": lambda h: torch.sign(h) * torch.log1p(h.abs()) * 2,
    "erf": lambda h: h * (1 + torch.erf(h / math.sqrt(2))) / 2,
    "sinc": lambda h: torch.sinc(h),
    "lgamma": lambda h: torch.lgamma(h.abs() + 1),
    "expm1": lambda h: torch.expm1(h),
    "atan2": lambda h: torch.atan2(h, h.flip(2) + 3),
    "polar coordinates": lambda h: torch.hypot(h, h.flip(2)),
    "lerp": lambda h: torch.lerp(h, OTHER, 0.3),
    "lerp by a gate": lambda h: torch.lerp(h, h.flip(2), h.sigmoid()),
    "lerp by a tensor for each sample": lambda h: torch.lerp(
        h, h.flip(2), torch.linspace(0.1, 0.9, len(h), dtype=h.dtype).view(-1, 1, 1, 1)
    ),
    "addcmul": lambda h: torch.addcmul(h, h, OTHER, value=0.5),
    "softplus by hand": lambda h: torch.log(1 + torch.exp(h)),
    "logit": lambda h: torch.logit(h.sigmoid(), 1e-3),
    "floor and the rest": lambda h: h - torch.floor(h),
    "frac": lambda h: torch.frac(h),
    "trunc and h": lambda h: torch.trunc(h) + h,
    "fix point rounding": lambda h: torch.round(h, decimals=1) + h,
    "quantised by hand": lambda h: h + (torch.round(h * 4) / 4) * 0,
    "renorm": lambda h: torch.renorm(h, 2, 1, 0.5) if len(h) == 1 else h,
    "clamp by another": lambda h: torch.clamp(h, min=h.flip(2) - 0.5, max=h.flip(2) + 0.5),
    "nan_to_num": lambda h: torch.nan_to_num(h / 2),
    "true_divide": lambda h: torch.true_divide(h, 3),
    "remainder": lambda h: torch.remainder(h, 0.5),
    "float_power": lambda h: torch.float_power(h.abs() + 1, 1.5),
    "2 ** h": lambda h: 2**h,
    "1 - h": lambda h: 1 - h,
    "1 / h": lambda h: 1 / (h + 9),
    "rsub": lambda h: torch.rsub(h, 1),
    "matmul of maps": lambda h: h @ h.mT,
    "h @ a vector": lambda h: (h @ ROW)[..., None],
    "tensordot": lambda h: torch.tensordot(h, PLANE[:6], ([3], [0])),
    "inner": lambda h: torch.inner(h, PLANE),
    "kron": lambda h: torch.kron(h, torch.ones(1, 1, 2, 2, dtype=h.dtype)),
    "cross": lambda h: torch.cross(h[:, :3], h[:, 1:], dim=1)[:, [0, 1, 2, 0]],
    "dot of all": lambda h: h * torch.dot(h[0].flatten(), h[0].flatten()) if len(h) == 1 else h,
    "matrix inverse": lambda h: torch.linalg.inv(h[:, :, :6] + 9 * torch.eye(6, dtype=h.dtype)),
    "solve": lambda h: torch.linalg.solve(h[:, :, :6] + 9 * torch.eye(6, dtype=h.dtype), h[:, :, 2:]),
    "determinant": lambda h: (
        h * torch.linalg.det(h[:, :, :6] + 9 * torch.eye(6, dtype=h.dtype))[..., None, None] / 9**6
    ),
    "singular values": lambda h: h / torch.linalg.svdvals(h)[:, :, :1, None],
    "covariance of channels": lambda h: h + (h.flatten(2) @ h.flatten(2).mT).mean((1, 2))[:, None, None, None],
    "gram matrix": lambda h: torch.einsum("ncp,ndp->ncd", h.flatten(2), h.flatten(2))[..., None],
    "histogram as a number": lambda h: h * (1 + torch.histc(h.detach(), 4)[0] / h.numel()) if len(h) == 1 else h,
    "count_nonzero": lambda h: h * torch.count_nonzero(h > 0, dim=1)[:, None],
    "any and all": lambda h: h * ((h > 0).any(1, keepdim=True) & ~(h > 1).all(1, keepdim=True)),
    "mean of masked": lambda h: h - (h * MASK).sum((2, 3), keepdim=True) / MASK.sum(),
    "to float and back": lambda h: h.float().double(),
    "to(h)": lambda h: h.to(torch.float32).to(h) + h.type(torch.float64),
    "type_as": lambda h: h.float().type_as(h),
    "detached scale": lambda h: h / h.abs().amax((1, 2, 3), keepdim=True).item() if len(h) == 1 else h,
}.items():
    CODE[_name] = _function

# Layers and functions of networks

for _name, _function in {
    "grid_sample": lambda h: F.grid_sample(
        h, torch.linspace(-1, 1, 24, dtype=h.dtype).view(1, 3, 4, 2).expand(len(h), -1, -1, -1), align_corners=False
    ),
    "affine_grid": lambda h: F.grid_sample(
        h,
        F.affine_grid(torch.eye(2, 3, dtype=h.dtype).expand(len(h), -1, -1), h.shape, align_corners=False),
        align_corners=False,
    ),
    "a spatial transformer": lambda h: F.grid_sample(
        h,
        F.affine_grid(
            torch.eye(2, 3, dtype=h.dtype) + 0.1 * h.mean((1, 2, 3))[:, None, None].tanh(), h.shape, align_corners=False
        ),
        align_corners=False,
    ),
    "warped by a flow": lambda h: F.grid_sample(
        h,
        torch.stack(
            torch.meshgrid(
                torch.linspace(-1, 1, 8, dtype=h.dtype), torch.linspace(-1, 1, 6, dtype=h.dtype), indexing="ij"
            )[::-1],
            -1,
        )
        + 0.1 * h[:, :2].movedim(1, -1),
        align_corners=True,
    ),
    "upsampled to a size": lambda h: F.interpolate(h, (11, 9), mode="bilinear"),
    "max_unpool2d": lambda h: F.max_unpool2d(*F.max_pool2d(h, 2, return_indices=True), 2),
    "max_pool2d with its indices as numbers": lambda h: (lambda y, i: y * (i % 6).double())(
        *F.max_pool2d(h, 2, return_indices=True)
    ),
    "adaptive max pooling's indices": lambda h: (lambda y, i: y + i.to(y) / 48)(
        *F.adaptive_max_pool2d(h, 3, return_indices=True)
    ),
    "lp_pool2d": lambda h: F.lp_pool2d(h.abs() + 0.1, 2, 2),
    "a glu": lambda h: F.glu(torch.cat([h, h], 1), 1),
    "local_response_norm by hand": lambda h: (
        h / (1 + F.avg_pool3d((h**2)[:, None], (3, 1, 1), 1, (1, 0, 0))[:, 0]) ** 0.75
    ),
    "rms norm": lambda h: h * torch.rsqrt(h.pow(2).mean(1, keepdim=True) + 1e-5),
    "F.rms_norm": lambda h: F.rms_norm(h, (6,)),
    "F.layer_norm": lambda h: F.layer_norm(h, (4, 8, 6)),
    "F.group_norm": lambda h: F.group_norm(h, 2),
    "F.linear": lambda h: F.linear(h, PLANE, PLANE[:, 0]),
    "F.bilinear": lambda h: F.bilinear(h, h.flip(2), CUBE),
    "a kernel made from the image": lambda h: (
        F.conv2d(h, h.mean((0, 2, 3))[:, None, None, None] * WEIGHT, padding=1) if len(h) == 1 else h
    ),
    "dynamic filters by groups": lambda h: F.conv2d(
        h.reshape(1, -1, 8, 6), (h.mean((2, 3)).reshape(-1, 1, 1, 1) * WEIGHT[:1, :1]), groups=h.shape[0] * 4, padding=1
    ).reshape(h.shape),
    "F.linear(z, z)": lambda h: h * F.linear(h[0, 0], h[0, 0]).mean() if len(h) == 1 else h,
    "F.linear(z, another)": lambda h: h * F.linear(h[0, 0], h[0, 1]).mean() if len(h) == 1 else h,
    "attention": lambda h: F.scaled_dot_product_attention(
        h.flatten(2).mT[:, None], h.flatten(2).mT[:, None] * 2, h.flatten(2).mT[:, None]
    )[:, 0].mT.reshape(h.shape),
    "attention with a mask": lambda h: F.scaled_dot_product_attention(
        h, h * 2, h, attn_mask=torch.ones(8, 8, dtype=torch.bool).tril()
    ),
    "attention, causal": lambda h: F.scaled_dot_product_attention(h, h, h, is_causal=True, scale=0.3),
    "attention with a learnt bias": lambda h: F.scaled_dot_product_attention(h, h, h, attn_mask=h @ h.mT),
    "squeeze and excitation": lambda h: h * torch.sigmoid(F.linear(h.mean((2, 3)), MATRIX))[..., None, None],
    "dropout in eval": lambda h: F.dropout(h, 0.5, training=False),
    "conv1d of rows": lambda h: F.conv1d(h.flatten(2), WEIGHT[:, :, 0], padding=1).view(h.shape),
    "conv_transpose2d": lambda h: F.conv_transpose2d(h, WEIGHT, stride=2, padding=1),
    "conv2d padding valid, stride 2": lambda h: F.conv2d(h, WEIGHT, stride=2, padding="valid"),
    "conv2d padding same": lambda h: F.conv2d(h, WEIGHT, padding="same", dilation=2),
    "conv2d padding same, even": lambda h: F.conv2d(h, WEIGHT[:, :, :2], padding="same"),
    "conv2d stride (2,)": lambda h: F.conv2d(h, WEIGHT, stride=(2,), padding=(1,), dilation=(1,)),
    "conv3d of one slice": lambda h: F.conv3d(h[:, :, None], WEIGHT[:, :, None], padding="valid", stride=1)[:, :, 0],
    "max_pool2d kernel (2,)": lambda h: F.max_pool2d(h, (2,), (1,)),
    "avg_pool2d kernel (2,)": lambda h: F.avg_pool2d(h, (2,), stride=(2,)),
    "separable convolution": lambda h: F.conv2d(
        F.conv2d(h, WEIGHT[:, :1], groups=4, padding=1), MATRIX[..., None, None]
    ),
    "a blur pool": lambda h: F.conv2d(
        F.pad(h, (1, 1, 1, 1), "reflect"), torch.ones(4, 1, 3, 3, dtype=h.dtype) / 9, stride=2, groups=4
    ),
    "a fixed random projection": lambda h: h + F.conv2d(h, WEIGHT.sign(), padding=1) * 0.1,
}.items():
    CODE[_name] = _function
# Complex numbers, spectra and sound

for _name, _function in {
    "fft filter": lambda h: torch.fft.ifft2(torch.fft.fft2(h) * PLANE).real,
    "rfft and irfft": lambda h: torch.fft.irfft2(torch.fft.rfft2(h) * PLANE[:, :4], s=h.shape[2:]),
    "fft magnitude": lambda h: torch.fft.fft2(h).abs(),
    "fft of an axis": lambda h: torch.fft.fft(h, dim=2).imag + torch.fft.fftshift(h, 3),
    "hfft": lambda h: torch.fft.hfft(h)[..., :6],
    "fftn by default": lambda h: torch.fft.fft2(h).real * torch.fft.fftfreq(6, dtype=h.dtype),
    "view_as_complex": lambda h: (
        torch.view_as_real(torch.view_as_complex(h.unflatten(1, (2, 2)).movedim(2, -1).contiguous()))
        .movedim(-1, 2)
        .flatten(1, 2)
    ),
    "torch.complex": lambda h: torch.complex(h, h.flip(2)).abs(),
    "torch.polar": lambda h: torch.polar(h.abs() + 1, h).real,
    "angle": lambda h: torch.angle(torch.complex(h, h.flip(2) + 3)),
    "z.real": lambda h: (lambda z: z.real * 2 + z.imag)(torch.fft.fft(h)),
    "z.real.mul_": lambda h: (lambda z: (z.real.mul_(2), z)[1].abs())(torch.fft.fft(h)),
    "z.imag += 1": lambda h: (lambda z: (z.imag.add_(h), z)[1].abs())(torch.fft.fft(h)),
    "z[..., 0] = 0": lambda h: (lambda z: (z[..., 0].zero_(), torch.fft.ifft(z).real)[1])(torch.fft.fft(h)),
    "stft": lambda h: (
        torch.stft(h.flatten(0, 1).flatten(1), 16, 8, window=torch.hann_window(16, dtype=h.dtype), return_complex=True)
        .abs()
        .reshape(len(h), 4, 9, 7)
    ),
    "istft": lambda h: torch.istft(
        torch.stft(h.flatten(0, 1).flatten(1), 16, 4, window=torch.hann_window(16, dtype=h.dtype), return_complex=True),
        16,
        4,
        window=torch.hann_window(16, dtype=h.dtype),
        length=48,
    ).reshape(h.shape),
    "rotary embedding": lambda h: torch.view_as_real(
        torch.view_as_complex(h.unflatten(3, (3, 2)).contiguous()) * torch.polar(torch.ones(3, dtype=h.dtype), ROW[:3])
    ).flatten(3),
}.items():
    CODE[_name] = _function

# Functions of functions

for _name, _function in {
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
}.items():
    CODE[_name] = _function


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


# What is handed about between functions


class Pair(NamedTuple):
    maps: Tensor
    scale: Tensor | None


@dataclasses.dataclass
class Features:
    maps: Tensor
    name: str = "features"


def _pair(h: Tensor) -> Pair:
    return Pair(h * 2, None)


@code
def a_named_tuple(h):
    return _pair(h).maps


@code
def a_dataclass(h):
    return dataclasses.replace(Features(h), maps=h * 2).maps


@code
def a_dictionary(h):
    found = {"maps": h * 2, "none": None}
    found.update(maps=found["maps"] + 1)
    return found["maps"]


@code
def a_deque(h):
    queue = collections.deque([h], maxlen=2)
    for _ in range(3):
        queue.append(queue[-1] * 1.5 + queue[0])
    return queue.pop()


@code
def a_generator(h):
    return sum(part * i for i, part in enumerate(one * 2 for one in (h, h.flip(2))))


@code
def a_set_of_tensors(h):
    return sum(sorted({h, h * 2}, key=lambda one: float(one.abs().sum())))


@code
def a_list_written(h):
    parts = list(h.unbind(1))
    parts[1] = parts[0] * parts[2]
    parts.append(parts.pop(0))
    return torch.stack(parts, 1)


@code
def maps_written_by_slices(h):
    made = torch.zeros_like(h)
    made[:, :2] = h[:, 2:]
    made[:, 2:, ::2] = h[:, :2, ::2] * 2
    made[..., -1] += 1
    return made


@code
def a_mask_assignment(h):
    made = fresh(h)
    made[made > 0.5] = 0.5
    return made


@code
def a_mask_assignment_of_values(h):
    made = fresh(h)
    mask = MASK.expand_as(h)
    made[mask] = made[mask] * 2
    return made


@code
def an_index_assignment(h):
    made = fresh(h)
    made[:, [0, 2]] = made[:, [1, 3]] * 3
    return made


@code
def a_long_loop(h):
    for i in range(20):
        h = h + 0.01 * h.flip(2) * i
    return h


@code
def a_buffer_filled_row_by_row(h):
    made = h.new_empty(h.shape)
    for i in range(h.shape[2]):
        made[:, :, i] = h[:, :, i] * (i + 1)
    return made


@code
def a_recurrence(h):
    state = torch.zeros_like(h[:, :, 0])
    rows = []
    for row in h.unbind(2):
        state = torch.tanh(row + 0.5 * state)
        rows.append(state)
    return torch.stack(rows, 2)


@code
def a_closure(h):
    scale = h.mean((1, 2, 3), keepdim=True)

    def scaled(x):
        return x * scale

    return scaled(h)


@code
def a_context_manager(h):
    with contextlib.nullcontext(h * 2) as made:
        return made


@code
def torch_jit_script_function(h):
    return _scripted(h)


def _gelu(h: Tensor) -> Tensor:
    return h * torch.sigmoid(1.702 * h)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # scripting is deprecated, and used
    _scripted = torch.jit.script(_gelu)


@code
def a_loss_beside(h):
    loss = F.mse_loss(h, h.flip(2))
    return h / (1 + loss) if len(h) == 1 else h


@code
def several_losses(h):
    if len(h) > 1:
        return h
    target = OTHER
    losses = [
        F.l1_loss(h, target),
        F.smooth_l1_loss(h, target),
        F.huber_loss(h, target),
        F.cross_entropy(h, torch.zeros(len(h), 8, 6, dtype=torch.long)),
        F.nll_loss(h.log_softmax(1), torch.zeros(len(h), 8, 6, dtype=torch.long)),
        F.binary_cross_entropy_with_logits(h, torch.ones_like(h)),
        F.binary_cross_entropy(h.sigmoid(), torch.ones_like(h)),
        F.kl_div(h.log_softmax(1), OTHER.softmax(1).expand_as(h), reduction="batchmean"),
        F.poisson_nll_loss(h, torch.ones_like(h)),
        F.gaussian_nll_loss(h, torch.zeros_like(h), torch.ones_like(h)),
        F.soft_margin_loss(h, torch.ones_like(h)),
        F.hinge_embedding_loss(h, torch.ones_like(h)),
        F.cosine_embedding_loss(h[0].flatten(1), h[0].flip(1).flatten(1), torch.ones(4)),
        F.margin_ranking_loss(h, h.flip(2), torch.ones_like(h)),
        F.triplet_margin_loss(h, h.flip(2), h.flip(3)),
        F.multi_margin_loss(h[0].flatten(1), torch.zeros(4, dtype=torch.long)),
        F.multilabel_margin_loss(h[0].flatten(1)[:, :3], torch.tensor([[0, -1, -1]] * 4)),
        F.multilabel_soft_margin_loss(h, torch.ones_like(h)),
        F.ctc_loss(h.flatten(2).permute(2, 0, 1).log_softmax(2), torch.ones(1, 3, dtype=torch.long), (48,), (3,)),
    ]
    return h * sum(losses)


RECTIFIED = {"lp_pool2d", "several losses"}  # rectifiers are a part of these, so that only the gradient is autograd's
PLAIN.update(
    {
        "h *= h": lambda h: h * h,
        "h /= its norm": lambda h: h / h.flatten(1).norm(dim=1)[:, None, None, None],
        "baddbmm_ of a part": lambda h: torch.stack([h[:, 0] + h[:, 1] @ h[:, 2, :6], *h.unbind(1)[1:]], 1),
        "logit_": lambda h: torch.logit(h.sigmoid().clamp(0.1, 0.9)),
        "chunk, written": lambda h: torch.cat([h[:, :2] * 3, h[:, 2:]], 1),
        "split, written": lambda h: torch.cat([h[:, :1], h[:, 1:] + h[:, :1]], 1),
        "checkpoint, reentrant": torch.sin,
    }
)

# What mixes the samples of a batch

MIXING = {
    "h - h.mean(0)": lambda h: h - h.mean(0),
    "softmax of the batch": lambda h: h.softmax(0),
    "cosine to the batch's mean": lambda h: h * F.cosine_similarity(h, h.mean(0, keepdim=True), 1)[:, None],
    "a kernel of the batch": lambda h: F.conv2d(h, h[:, :, 2:5, 2:5].repeat(4 // len(h), 1, 1, 1)),
    "renorm of channels": lambda h: torch.renorm(h, 2, 1, 0.5),
    "a weight norm along channels": lambda h: torch._weight_norm(h, h.mean((0, 2, 3), keepdim=True), 1),
    "cumsum of the batch": lambda h: h.cumsum(0),
    "sort of the batch": lambda h: h.sort(0).values,
    "a neighbour in the batch": lambda h: h + h.roll(1, 0),
    "roll of everything": lambda h: h.roll(3),
    "the first sample taken off": lambda h: h - h[:1],
    "similarities": lambda h: h * (h.flatten(1) @ h.flatten(1).T).sum(1)[:, None, None, None],
    "the batch in another order": lambda h: h[torch.arange(len(h) - 1, -1, -1)] + h,
    "the largest of all": lambda h: h / h.abs().max(),
    "a quantile of all": lambda h: h / torch.quantile(h, 0.9),
    "a loss of all": lambda h: h / (1 + F.mse_loss(h, h.flip(2))),
    "the place of the largest": lambda h: h * (h.argmax().double() + 1),
    "weights of a norm": lambda h: F.layer_norm(h, (6,), h.mean((0, 1, 2))),
    "weights of a linear layer": lambda h: F.linear(h, h[0, 0, :6]),
    "values for a mask": lambda h: h.masked_scatter(MASK.expand_as(h), h * 2),
    "an index of one row": lambda h: h.scatter(1, torch.zeros(1, 1, 8, 6, dtype=torch.long), h[:, 1:2]),
    "a write to the first sample": lambda h: fresh(h).index_fill(0, torch.tensor([0]), 0.5),
    "noise of attention": lambda h: F.scaled_dot_product_attention(h, h, h, dropout_p=0.3),
}
