"""Operators and functions that write in place."""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
from torch import Tensor

from tests.helpers.code_snippets.common import MASK, OTHER, PLANE, POSITIVE, ROW, Snippet, fresh

CODE: dict[str, Snippet] = {}


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
