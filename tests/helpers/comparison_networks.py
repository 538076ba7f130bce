"""Three networks with one computation: Captum sees their rectifiers, misses them, or sees one of them three times."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Modules(nn.Module):
    """Three rectifiers, each a module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.relu1, self.relu2, self.relu3 = nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.pool, self.hidden, self.last = nn.MaxPool2d(2), nn.Linear(6, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu1(self.first(x)))
        x = self.relu2(self.second(x))
        return self.last(self.relu3(self.hidden(x.mean((2, 3)))))


class Functions(Modules):
    """The same network, which calls its rectifiers as functions."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.first(x)))
        x = F.relu(self.second(x))
        return self.last(F.relu(self.hidden(x.mean((2, 3)))))


class Reused(Modules):
    """The same network with one rectifier, called three times."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu1(self.first(x)))
        x = self.relu1(self.second(x))
        return self.last(self.relu1(self.hidden(x.mean((2, 3)))))


def double(model: nn.Module) -> nn.Module:
    return model.double().eval()


def image(channels: int = 3, size: int = 12) -> Tensor:
    return torch.rand(1, channels, size, size + 4, dtype=torch.float64)
