"""Pictures of one thing that varies without a gap, and pictures of two things, for what `mixed_channels` claims."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Draw = Callable[[np.random.Generator, int], Tensor]  # so many pictures (n, pixels)

SIDE = 16  # pixels
NOISE = 0.1  # of each pixel
DIRECTIONS = 30  # in which vectors vary


def _strung(along: Callable[[np.random.Generator, int], np.ndarray]) -> Draw:
    """Vectors that vary mostly in one direction."""

    def draw(random: np.random.Generator, count: int) -> Tensor:
        vectors = 0.3 * random.normal(size=(count, DIRECTIONS)) / np.arange(1, DIRECTIONS + 1)
        vectors[:, 0] = along(random, count)
        vectors[:, -1] += 1
        return torch.from_numpy(vectors)

    return draw


def _pictures(shown: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], low: float, high: float) -> Draw:
    """Pictures of what depends on one number, which is as likely anywhere between two limits."""
    down, right = np.mgrid[:SIDE, :SIDE] - SIDE / 2

    def draw(random: np.random.Generator, count: int) -> Tensor:
        number = random.uniform(low, high, count)[:, None, None]
        pixels = shown(number, down, right) + NOISE * random.normal(size=(count, SIDE, SIDE))
        return torch.from_numpy(pixels.reshape(count, -1))

    return draw


def _bar(distance: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.exp(-(distance**2) / 2)
    return found


GAPLESS: dict[str, Draw] = {
    "normal": _strung(lambda random, count: random.normal(size=count)),
    "uniform": _strung(lambda random, count: random.uniform(-1, 1, count)),
    "exponential": _strung(lambda random, count: random.exponential(size=count)),
    "a bar at any place": _pictures(lambda place, down, right: _bar(right - place) + 0 * down, -3, 3),
    "a stroke of any length": _pictures(
        lambda length, down, right: _bar(right) / (1 + np.exp(2 * (down + SIDE / 2 - length))), 3, 13
    ),
    "a ring of any size": _pictures(lambda size, down, right: _bar(np.hypot(down, right) - size), 2, 7),
    "a bar that turns by 90 degrees": _pictures(
        lambda angle, down, right: _bar(right * np.cos(angle) + down * np.sin(angle)), 0, math.pi / 2
    ),
}


def of_two_things(noise: float, share: float = 0.4) -> Draw:
    """Vectors along one of two directions at a right angle, with noise so many times as long as they are."""

    def draw(random: np.random.Generator, count: int) -> Tensor:
        vectors = noise * random.normal(size=(count, DIRECTIONS)) / math.sqrt(DIRECTIONS)
        vectors[np.arange(count), (np.arange(count) < share * count).astype(int)] += 1
        return torch.from_numpy(vectors)

    return draw
