"""How often 95 % confidence intervals hold the truth: drawn data of which the truth is known.

`python -m benchmarks.verdicts` prints these tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from deconvviz.intervals import difference_from_draws, mean_interval, share_interval
from deconvviz.pairs.correlation import correlation_interval
from deconvviz.results import ReadingTest
from deconvviz.roc import area_difference, areas

Drawn = NDArray[np.float64]
Random = np.random.Generator

# As scores are: symmetric, bounded, or of two kinds of images; each with its mean.
DISTRIBUTIONS: dict[str, tuple[Callable[[Random, int], Drawn], float]] = {
    "normal": (lambda random, count: random.normal(0.4, 0.2, count), 0.4),
    "uniform": (lambda random, count: random.uniform(0, 1, count), 0.5),
    "correlations": (lambda random, count: np.tanh(random.normal(0, 0.5, count)), 0.0),
    "areas": (lambda random, count: random.beta(6, 4, count), 0.6),
}
AREAS = (0.5, 0.7, 0.9, 0.95, 0.98)
CORRELATIONS = (0.0, 0.5, 0.8, 0.95)


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


def draw_coverage(count: int, repeats: int, seed: int = 0) -> float:
    """The share of intervals, from `count` draws and one more value, that hold zero when the value is one more draw."""
    random = np.random.default_rng(seed)
    found = (difference_from_draws(random.normal(), random.normal(size=count)) for _ in range(repeats))
    return sum(each.low <= 0 <= each.high for each in found) / repeats


def reading_coverage(channels: int, spread: float, repeats: int, seed: int = 0) -> float:
    """The share of intervals of a test of reading, 20 questions per channel, that hold the mean score of channels, 0.8.

    Args:
        channels: Number of channels.
        spread: Of the channels' true scores; 0 or the standard deviation of a beta distribution.
        repeats: Number of tests.
        seed: Seed of the draws.
    """
    random, held = np.random.default_rng(seed), 0
    size = 0.16 / spread**2 - 1 if spread else 0.0
    for _ in range(repeats):
        scores = random.beta(0.8 * size, 0.2 * size, channels) if spread else np.full(channels, 0.8)
        answers = torch.from_numpy((random.random((channels, 20)) < scores[:, None]).astype(float))
        test = _Answers(tuple(range(channels)), answers)
        _, low, high, _ = ReadingTest.score(cast(ReadingTest, test), "", "")
        held += low <= 0.8 <= high
    return held / repeats


class _Answers(NamedTuple):
    """What the score of a test of reading is made of."""

    channels: tuple[int, ...]
    answers: Tensor

    def _answers(self, observer: str, condition: str) -> Tensor:
        return self.answers

    def by_channel(self, observer: str, condition: str) -> Tensor:
        return self.answers.mean(1)


# Areas under ROC curves


def _spread(spread: float) -> Callable[[Random, float, tuple[int, ...]], Drawn]:
    """Positive scores that are normal, `spread` times as wide as the negative ones."""
    return lambda random, area, shape: random.normal(stats.norm.ppf(area) * math.hypot(1, spread), spread, shape)


# Scores of positive items for an area, and of negative ones.
SCORES: dict[str, tuple[Callable[[Random, float, tuple[int, ...]], Drawn], Callable[[Random, tuple[int, ...]], Drawn]]]
SCORES = {
    "normal": (_spread(1.0), lambda random, shape: random.normal(size=shape)),
    "normal, positive ones twice as wide": (_spread(2.0), lambda random, shape: random.normal(size=shape)),
    "exponential": (
        lambda random, area, shape: random.exponential(area / (1 - area), shape),
        lambda random, shape: random.exponential(size=shape),
    ),
}


def area_coverage(scores: str, area: float, positives: int, negatives: int, repeats: int, seed: int = 0) -> float:
    """The share of intervals that hold the area under the ROC curve."""
    high, low = SCORES[scores]
    random = np.random.default_rng(seed)
    found = areas(
        torch.from_numpy(high(random, area, (repeats, positives))), torch.from_numpy(low(random, (repeats, negatives)))
    )
    return float(((found.low <= area + 1e-9) & (area - 1e-9 <= found.high)).double().mean())


def area_difference_coverage(area: float, count: int, repeats: int, seed: int = 0) -> float:
    """The share of intervals that hold zero for two scores of one area that correlate by 0.5 on each item."""
    random = np.random.default_rng(seed)
    positive, held = torch.arange(2 * count) < count, 0
    for _ in range(repeats):
        shared, *own = random.normal(scale=math.sqrt(0.5), size=(3, 2 * count))
        one, other = (torch.from_numpy(shared + each) + positive * math.sqrt(2) * stats.norm.ppf(area) for each in own)
        found = area_difference(one, other, positive)
        held += found.low <= 0 <= found.high
    return held / repeats


# Correlations

# How values arise from normal ones, and the correlation of the values from that of the normal ones.
VALUES: dict[str, tuple[Callable[[Drawn], Drawn], Callable[[float], float]]] = {
    "normal": (lambda normal: normal, lambda level: level),
    "uniform": (stats.norm.cdf, lambda level: 6 / math.pi * math.asin(level / 2)),
    "log-normal": (lambda normal: np.exp(normal / 2), lambda level: math.expm1(level / 4) / math.expm1(0.25)),
    "rectified normal": (
        lambda normal: np.maximum(normal, 0),
        lambda level: (math.sqrt(1 - level**2) + level * (math.pi - math.acos(level)) - 1) / (math.pi - 1),
    ),
}


def correlation_coverage(kind: str, level: float, count: int, repeats: int, seed: int = 0) -> float:
    """The share of intervals of correlations that hold the true one."""
    first, noise = np.random.default_rng(seed).normal(size=(2, count, repeats))
    second = level * first + math.sqrt(1 - level**2) * noise
    one, other = (torch.from_numpy(VALUES[kind][0](each)) for each in (first, second))
    low, high = correlation_interval(one, other, _correlations(one, other), count)
    truth, known = VALUES[kind][1](level), ~low.isnan()
    return float(((low <= truth) & (truth <= high))[known].double().mean())


def _correlations(one: Tensor, other: Tensor) -> Tensor:
    a, b = one - one.mean(0), other - other.mean(0)
    return (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0)).clamp(min=1e-300)


class Row(NamedTuple):
    """How often one kind of interval holds the truth, for each number of values."""

    interval: str
    data: str
    coverage: list[float]


def rows(counts: list[int], repeats: int) -> Iterator[Row]:
    """All intervals, each with some distributions of data."""
    for kind in DISTRIBUTIONS:
        yield Row("mean", kind, [mean_coverage(kind, count, repeats) for count in counts])
    yield Row("share", "all shares from 0 to 1", [share_coverage(count) for count in counts])
    yield Row("one more draw", "normal", [draw_coverage(count, repeats) for count in counts])
    for spread in (0.0, 0.12):
        found = [reading_coverage(count, spread, repeats) for count in counts]
        yield Row("score in the test of reading", f"channels of 0.8 with a spread of {spread:g}", found)
    for others in (1, 9):
        for kind in SCORES:
            for area in AREAS:
                found = [area_coverage(kind, area, count, others * count, repeats) for count in counts]
                yield Row(f"AUC, {others} negative for a positive", f"{kind}, {area:g}", found)
    for area in (0.7, 0.9):
        yield Row("AUC minus AUC", f"normal, {area:g}", [area_difference_coverage(area, n, repeats) for n in counts])
    for kind in VALUES:
        for level in CORRELATIONS:
            found = [correlation_coverage(kind, level, count, repeats) for count in counts]
            yield Row("correlation", f"{kind}, {VALUES[kind][1](level):.2f}", found)
