"""An Elman recurrence with ReLU, written step by step for references, because torch runs it as one function.

A ReLU in it is a rectifier like any other, and only where it is called by itself can its backward pass be replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Relu = Callable[[Tensor], Tensor]


def cell(
    relu: Relu, x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None, b_hh: Tensor | None
) -> Tensor:
    """One step: (N, features) and (N, hidden) to (N, hidden)."""
    return relu(F.linear(x, w_ih, b_ih) + F.linear(h, w_hh, b_hh))


def recurrence(
    relu: Relu,
    x: Tensor,
    states: Tensor,
    parameters: list[Tensor],
    biases: bool,
    layers: int,
    _dropout: float,
    _training: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor]:
    """As `torch.rnn_relu` on a padded sequence, without dropout: (T, N, hidden) and the last states."""
    steps = list(x.unbind(1 if batch_first else 0))
    per_cell = 4 if biases else 2
    last = []
    for layer in range(layers):
        directions = []
        for direction in range(1 + bidirectional):
            number = layer * (1 + bidirectional) + direction
            weights: list[Any] = [*parameters[number * per_cell : (number + 1) * per_cell], None, None][:4]
            h, made = states[number], []
            for step in steps[:: -1 if direction else 1]:
                h = cell(relu, step, h, *weights)
                made.append(h)
            last.append(h)
            directions.append(made[:: -1 if direction else 1])
        steps = [torch.cat(both, -1) for both in zip(*directions, strict=True)]
    return torch.stack(steps, 1 if batch_first else 0), torch.stack(last)
