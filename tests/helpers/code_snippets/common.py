"""Tensors and functions that the snippets share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Snippet = Callable[[Tensor], Tensor]
_random = torch.Generator().manual_seed(3)


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=_random, dtype=torch.float64)


def fresh(h: Tensor) -> Tensor:
    """To be written into."""
    return h * 1.0


OTHER, ROW, PLANE = numbers(1, 4, 8, 6), numbers(6), numbers(8, 6)
POSITIVE = OTHER.abs() + 0.5
MASK = OTHER > 0
MATRIX, WEIGHT = numbers(4, 4), numbers(4, 4, 3, 3)
CUBE = numbers(3, 6, 6)
