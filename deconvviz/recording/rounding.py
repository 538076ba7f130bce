"""Whether two runs computed the same numbers, up to rounding.

With another number of threads, another device or another algorithm, sums are added in another order and products may
have fewer bits (TF32), and the differences add up from layer to layer. So two numbers of a layer agree if they differ
by a small share of the layer's largest number.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

SHARES = {torch.float64: 1e-6, torch.float32: 1e-2, torch.float16: 5e-2, torch.bfloat16: 1e-1}
SPREAD = 16  # numbers of a layer that are compared


def share_of(dtype: torch.dtype) -> float:
    """The share of a layer's largest number by which the numbers of two runs may differ."""
    return SHARES.get(dtype, SHARES[torch.float32])


def sampled(maps: Tensor) -> dict[str, Any]:
    """Plain values that describe one sample's maps.

    These are their shape, their type, their smallest, largest and mean number, and 16 numbers at even distances.

    >>> sampled(torch.tensor([[1.0, 2.0, 6.0]]))
    {'shape': [1, 3], 'type': 'torch.float32', 'numbers': [1.0, 6.0, 3.0, 1.0, 2.0, 6.0]}
    """
    flat = maps.detach().flatten().cpu().double()  # in this order, since MPS has no float64
    places = torch.linspace(0, len(flat) - 1, min(SPREAD, len(flat))).long()
    whole = [flat.amin(), flat.amax(), flat.mean()] if len(flat) else []
    numbers = [*map(float, whole), *flat[places].tolist()]
    return {"shape": list(maps.shape), "type": str(maps.dtype), "numbers": numbers}


def differing(before: Any, now: Any) -> tuple[str, str] | None:
    """How two results of `sampled` differ, each in words; None if they agree up to rounding."""
    for name in ("shape", "type"):
        if before[name] != now[name]:
            return f"of {name} {before[name]}", f"of {name} {now[name]}"
    share = share_of(getattr(torch, now["type"].removeprefix("torch."), torch.float32))
    pairs = list(zip(before["numbers"], now["numbers"], strict=True))
    finite = (abs(number) for pair in pairs for number in pair if math.isfinite(number))
    allowed = share * max(finite, default=0.0)
    for old, new in pairs:
        if (math.isfinite(old) or math.isfinite(new)) and not abs(old - new) <= allowed:
            return f"{old:.4g}", f"{new:.4g}"
    return None
