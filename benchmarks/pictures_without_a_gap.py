"""Pictures of one thing that varies without a gap, and pictures of two things, for what `mixed_channels` claims."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from deconvviz.intervals import LEVEL
from deconvviz.reading.groups import likenesses, two_groups

Draw = Callable[[np.random.Generator, int], Tensor]  # so many pictures (n, C, h, w)

SIDE = 16  # pixels
NOISE = 0.1  # of each pixel
DIRECTIONS = 30  # in which vectors vary
REACH = 2  # pixels by which pictures are shifted, as of units above one pooling layer


def _strung(along: Callable[[np.random.Generator, int], np.ndarray]) -> Draw:
    """Pictures of unrelated pixels that vary mostly in one direction."""

    def draw(random: np.random.Generator, count: int) -> Tensor:
        vectors = 0.3 * random.normal(size=(count, DIRECTIONS)) / np.arange(1, DIRECTIONS + 1)
        vectors[:, 0] = along(random, count)
        vectors[:, -1] += 1
        return torch.from_numpy(vectors)[..., None, None]

    return draw


def _pictures(shown: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], low: float, high: float) -> Draw:
    """Pictures of what depends on one number, which is as likely anywhere between two limits."""
    down, right = np.mgrid[:SIDE, :SIDE] - SIDE / 2

    def draw(random: np.random.Generator, count: int) -> Tensor:
        number = random.uniform(low, high, count)[:, None, None]
        pixels = shown(number, down, right) + NOISE * random.normal(size=(count, SIDE, SIDE))
        return torch.from_numpy(pixels)[:, None]

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
    "a bar at either place of a pooling layer": _pictures(
        lambda place, down, right: _bar(right - np.floor(place)) + 0 * down, 0, 2
    ),
}


def called_mixed(pictures: Tensor) -> bool:
    """Whether the pictures of one channel are said to be of two things."""
    down, right = (min(REACH, side // 2) for side in pictures.shape[-2:])
    return two_groups(likenesses(pictures, (down, right))).p <= LEVEL


def of_two_things(noise: float, share: float = 0.4) -> Draw:
    """Vectors along one of two directions at a right angle, with noise so many times as long as they are."""

    def draw(random: np.random.Generator, count: int) -> Tensor:
        vectors = noise * random.normal(size=(count, DIRECTIONS)) / math.sqrt(DIRECTIONS)
        vectors[np.arange(count), (np.arange(count) < share * count).astype(int)] += 1
        return torch.from_numpy(vectors)[..., None, None]

    return draw
