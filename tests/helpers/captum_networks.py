"""Networks and inputs for the tests against Captum."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """Has one module per rectifier, so that Captum is right. Returns (N, 5) or, as maps, (N, 5, 4, 4)."""

    def __init__(self, maps: bool = False) -> None:
        super().__init__()
        self.first, self.relu = nn.Conv2d(2, 6, 3, padding=1), nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.second, self.again = nn.Conv2d(6, 5, 3, padding=1), nn.ReLU()
        self.maps = maps

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(self.second(self.pool(self.relu(self.first(x)))))
        return x if self.maps else x.mean((2, 3))


class Two(nn.Module):
    """Takes two inputs and more arguments: a tensor, a number, a flag and a list."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 4), nn.Linear(2, 4)
        self.relu, self.last = nn.ReLU(), nn.Linear(4, 3)

    def forward(
        self,
        a: Tensor,
        b: Tensor,
        weight: Tensor | None = None,
        factor: float = 1.0,
        flag: str = "plain",
        offsets: Sequence[float] = (),
    ) -> Tensor:
        x = self.left(a) + factor * self.right(b)
        x = self.relu(x if weight is None else x * weight)
        for offset in offsets:
            x = x + offset
        return self.last(-x if flag == "negative" else x)


class Twice(nn.Module):
    """Calls two of its modules twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act(self.last(self.act(self.first(x)))))


def quietly(method: Any, *arguments: Any, **options: Any) -> Any:
    """The attribution by one of Captum's methods, without its warning that it sets hooks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return method.attribute(*arguments, **options)


def double(model: nn.Module) -> nn.Module:
    return model.double().eval()


def images(count: int = 2, channels: int = 2, size: int = 8) -> Tensor:
    return torch.randn(count, channels, size, size, dtype=torch.float64)
