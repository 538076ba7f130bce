"""Types and helpers for the lists of networks."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor, nn


class Entry(NamedTuple):
    """shape: of one sample."""

    family: str
    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]


class Called(nn.Module):
    """A network that takes more than an image, with its other arguments filled in."""

    def __init__(self, net: nn.Module, call: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.net, self.call = net, call

    def forward(self, x: Tensor) -> Any:
        return self.call(self.net, x)


def made(module: str, name: str, options: dict[str, Any], call: Callable[..., Any] | None = None) -> nn.Module:
    """An instance of the class with that name. Its package is imported here."""
    with patch.object(
        torch.version, "cuda", None
    ):  # torchaudio's compiled extension needs another CUDA version; no model uses it
        net = getattr(import_module(module), name)(**options)
    return Called(net, call) if call else net


def first(net: nn.Module, x: Tensor) -> Any:
    """The first of a network's outputs."""
    return net(x)[0]
