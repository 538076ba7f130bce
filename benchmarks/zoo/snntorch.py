"""Networks of snntorch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.zoo.parts import Entry


class Spiking(nn.Module):
    """Two layers of spiking neurons over a few time steps, as in snntorch's tutorials."""

    def __init__(self, neuron: str, options: dict[str, Any], states: int) -> None:
        super().__init__()
        make = getattr(import_module("snntorch"), neuron)
        self.conv, self.pool, self.read = nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Linear(4 * 5 * 5, 3)
        wide = {"all_to_all": False} if neuron.startswith("R") else {}
        self.one, self.two = make(**options, **wide), make(**options, **wide)
        self.recurrent, self.states = neuron.startswith("R"), states

    def forward(self, x: Tensor) -> Tensor:
        current = self.pool(self.conv(x))
        first = [torch.zeros_like(current) for _ in range(self.states)]
        second: list[Tensor] = []
        membranes = []
        for _ in range(3):
            spikes, *first = self.one(current, *first)
            read = self.read(spikes.flatten(1))
            second = second or [torch.zeros_like(read) for _ in range(self.states)]
            _, *second = self.two(read, *second)
            membranes.append(second[-1])
        return torch.stack(membranes, 1).mean(1)


def entries() -> Iterator[Entry]:
    networks: list[tuple[str, dict[str, Any], int]] = [
        ("Leaky", {"beta": 0.9}, 1),
        ("Leaky, reset to zero", {"beta": 0.9, "reset_mechanism": "zero"}, 1),
        ("Leaky, learned", {"beta": 0.8, "learn_beta": True, "learn_threshold": True}, 1),
        ("Lapicque", {"beta": 0.9}, 1),
        ("Synaptic", {"alpha": 0.9, "beta": 0.8}, 2),
        ("Alpha", {"alpha": 0.9, "beta": 0.8}, 3),
    ]
    for name, options, states in networks:
        yield Entry("snntorch", name, partial(Spiking, name.partition(",")[0], options, states), (1, 12, 12))
