"""Whether two runs computed the same, as far as numbers can say: within what rounding does.

Other threads, devices and algorithms add in another order and may multiply with fewer bits (TF32), and every layer
passes the difference on. So numbers of a layer agree that differ by a small share of the layer's largest.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

SHARES = {torch.float64: 1e-6, torch.float32: 1e-2, torch.float16: 5e-2, torch.bfloat16: 1e-1}
SPREAD = 16  # numbers of a layer that are kept


def share_of(dtype: torch.dtype) -> float:
    """The share of a layer's largest number by which two runs may differ."""
    return SHARES.get(dtype, SHARES[torch.float32])


def sampled(maps: Tensor) -> dict[str, Any]:
    """Of one sample's maps: shape, type, and their least, largest and mean number, and 16 evenly spread; plain values.

    >>> sampled(torch.tensor([[1.0, 2.0, 6.0]]))
    {'shape': [1, 3], 'type': 'torch.float32', 'numbers': [1.0, 6.0, 3.0, 1.0, 2.0, 6.0]}
    """
    flat = maps.detach().flatten().double().cpu()
    places = torch.linspace(0, len(flat) - 1, min(SPREAD, len(flat))).long()
    whole = [flat.amin(), flat.amax(), flat.mean()] if len(flat) else []
    numbers = [*map(float, whole), *flat[places].tolist()]
    return {"shape": list(maps.shape), "type": str(maps.dtype), "numbers": numbers}


def differing(before: Any, now: Any) -> tuple[str, str] | None:
    """How two samples of a layer differ, each in words; None where they agree within rounding."""
    for name in ("shape", "type"):
        if before[name] != now[name]:
            return f"of {name} {before[name]}", f"of {name} {now[name]}"
    share = share_of(getattr(torch, now["type"].removeprefix("torch."), torch.float32))
    pairs = list(zip(before["numbers"], now["numbers"], strict=True))
    allowed = share * max((abs(one) for pair in pairs for one in pair if math.isfinite(one)), default=0.0)
    for one, other in pairs:
        if (math.isfinite(one) or math.isfinite(other)) and not abs(one - other) <= allowed:
            return f"{one:.4g}", f"{other:.4g}"
    return None
