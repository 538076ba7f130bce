"""How often a 95 % interval holds the truth, by simulation (means) and exactly (shares)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deconvviz.intervals import mean_interval, share_interval

Drawn = NDArray[np.float64]

# As scores are: symmetric, bounded, or of two kinds of images; each with its mean.
DISTRIBUTIONS: dict[str, tuple[Callable[[np.random.Generator, int], Drawn], float]] = {
    "normal": (lambda random, count: random.normal(0.4, 0.2, count), 0.4),
    "uniform": (lambda random, count: random.uniform(0, 1, count), 0.5),
    "correlations": (lambda random, count: np.tanh(random.normal(0, 0.5, count)), 0.0),
    "areas": (lambda random, count: random.beta(6, 4, count), 0.6),
}


def mean_coverage(distribution: str, count: int, repeats: int, seed: int = 0) -> float:
    """The share of intervals over `count` values that hold the mean."""
    draw, truth = DISTRIBUTIONS[distribution]
    random = np.random.default_rng(seed)
    intervals = (mean_interval(draw(random, count).tolist()) for _ in range(repeats))
    return sum(low <= truth <= high for _, low, high, _ in intervals) / repeats


def share_coverage(count: int) -> float:
    """The probability that an interval over `count` trials holds the share, mean over all shares from 0 to 1."""
    intervals = [share_interval(hits, count) for hits in range(count + 1)]
    shares = np.linspace(0, 1, 1001)
    chances = np.array(
        [math.comb(count, hits) * shares**hits * (1 - shares) ** (count - hits) for hits in range(count + 1)]
    )
    held = np.array([(low <= shares) & (shares <= high) for _, low, high, _ in intervals])
    return float((chances * held).sum(0).mean())
