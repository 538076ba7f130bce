"""Small networks with structures that are hard to record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SmallResidual(nn.Module):
    """Skips, one ReLU used everywhere, in-place and functional calls, a module called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.relu_in_place = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.twice = nn.Conv2d(8, 8, 3, padding=1)
        self.narrow = nn.Conv2d(8, 4, 1, stride=2)
        self.wide = nn.Conv2d(4, 8, 3, padding=1, groups=2)
        self.down = nn.Conv2d(8, 8, 1, stride=2)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu_in_place(self.norm(self.stem(x))))
        y = self.relu(self.twice(x))
        y = self.twice(y)
        y += x
        skip = y
        y = F.relu(y)
        z = self.wide(torch.relu(self.narrow(y)))
        z = (z + self.down(skip)).relu_()
        return self.fc(F.relu(z - 0.1, inplace=True).mean((2, 3)))


class SkipBesideReLU(nn.Module):
    """The input of a ReLU also feeds a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(self.second(self.relu(x)) + x)


class SharedReLU(nn.Module):
    """One ReLU module shared by parallel branches."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(2, 4, 3)
        self.right = nn.Conv2d(2, 4, 3)
        self.relu = nn.ReLU()
        self.left_again, self.right_again = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.last = nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.left(x), self.right(x)
        left, right = self.relu(left), self.relu(right)
        return self.last(self.left_again(left) + self.right_again(right))


class CReLU(nn.Module):
    """Concatenated ReLU: relu(x) beside relu(-x)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3)
        self.relu = nn.ReLU()
        self.last = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(torch.cat([self.relu(x), self.relu(-x)], 1))


class WritesThroughViews(nn.Module):
    """In-place operations on views of a value that is used elsewhere, before and after."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3)
        self.last = nn.Conv2d(12, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        before = 3.0 * x - 1.0
        left, right = x[:, :3], x[:, 3:]
        left.mul_(2.0)
        x[:, 1, 2:4] += 1.5
        right.relu_()
        buffer = torch.zeros(len(x), 12, *x.shape[2:], dtype=x.dtype)
        buffer[:, :6] = x
        buffer[:, 6:].copy_(before)
        return self.last(buffer)


class Fails(nn.Module):
    """Raises in the middle of its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        x = F.dropout(self.norm(self.first(x)), training=True)
        raise ArithmeticError("the model fails here")


class Around(nn.Module):
    """A model inside another, called in some way."""

    def __init__(self, inner: Any, call: Any) -> None:
        super().__init__()
        self.inner, self.call = inner, call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self.inner, x)


class FunctionNetwork(nn.Module):
    """Applies a function to its input. It has a parameter that is not used, since a model must have one."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)
