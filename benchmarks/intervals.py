"""How often 95 % confidence intervals hold the truth: drawn data of which the truth is known.

`python -m benchmarks.verdicts` prints these tables.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize, stats
from torch import Tensor

from deconvviz.intervals import CONFIDENCE, difference_from_draws, mean_interval, share_interval
from deconvviz.pairs.correlation import correlation_interval
from deconvviz.results import ReadingTest
from deconvviz.roc import FEWEST_COMPARED, area_difference, areas

Drawn = NDArray[np.float64]
Random = np.random.Generator

# As scores are: symmetric, bounded, or of two kinds of images; each with its mean.
DISTRIBUTIONS: dict[str, tuple[Callable[[Random, int], Drawn], float]] = {
    "normal": (lambda random, count: random.normal(0.4, 0.2, count), 0.4),
    "uniform": (lambda random, count: random.uniform(0, 1, count), 0.5),
    "correlations": (lambda random, count: np.tanh(random.normal(0, 0.5, count)), 0.0),
    "areas": (lambda random, count: random.beta(6, 4, count), 0.6),
}
# As ratios are, or shares near an end: Student's t misses the long side.
SKEWED: dict[str, tuple[Callable[[Random, int], Drawn], float]] = {
    "exponential": (lambda random, count: random.exponential(1, count), 1.0),
    "areas near 1": (lambda random, count: random.beta(9, 1, count), 0.9),
}
TOLERANCE = 0.015
DRAWN_AT_ONCE = 2000
JUDGE = " *"  # data that helped to choose no constant
AREAS = tuple(np.linspace(0.5, 0.98, 13))  # and mean scores in the test of reading
PAIRS_OF_AREAS = ((0.7, 0.7), (0.9, 0.9), (0.9, 0.8), (0.95, 0.95))
CORRELATIONS = tuple(np.linspace(0, 0.95, 11))  # of the normal values from which others arise


def mean_coverage(distribution: str, count: int, repeats: int, seed: int = 0) -> float:
    """The share of intervals over `count` values that hold the mean."""
    draw, truth = (DISTRIBUTIONS | SKEWED)[distribution]
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


def reading_coverage(channels: str, mean: float, count: int, repeats: int, seed: int = 0) -> float:
    """The share of intervals of a test of reading, 20 questions per channel, that hold the mean score of channels.

    Args:
        channels: One of `READERS`, how their true scores are distributed.
        mean: Of the true scores.
        count: Number of channels.
        repeats: Number of tests.
        seed: Seed of the draws.
    """
    random, held = np.random.default_rng(seed), 0
    for _ in range(repeats):
        scores = READERS[channels].draw(random, mean, count)
        answers = torch.from_numpy((random.random((count, 20)) < scores[:, None]).astype(float))
        test = _Answers(tuple(range(count)), answers)
        _, low, high, _ = ReadingTest.score(cast(ReadingTest, test), "", "")
        held += low <= mean <= high
    return held / repeats


def _beta(spread: float) -> Callable[[Random, float, int], Drawn]:
    def draw(random: Random, mean: float, count: int) -> Drawn:
        size = mean * (1 - mean) / spread**2 - 1
        return random.beta(mean * size, (1 - mean) * size, count)

    return draw


class Readers(NamedTuple):
    """True scores of channels, drawn for a mean, which is at most `most`."""

    draw: Callable[[Random, float, int], Drawn]
    most: float = 1.0


READERS = {
    "all alike": Readers(lambda random, mean, count: np.full(count, mean)),
    "spread 0.12": Readers(_beta(0.12)),
    "uniform within 0.1": Readers(lambda random, mean, count: random.uniform(mean - 0.1, mean + 0.1, count), 0.9),
    "some at chance, others 0.98": Readers(
        lambda random, mean, count: np.where(random.random(count) < (mean - 0.5) / 0.48, 0.98, 0.5)
    ),
    "of three kinds": Readers(lambda random, mean, count: 0.5 + random.binomial(2, 2 * mean - 1, count) / 4),
}


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


@functools.cache
def _heavy_distance(area: float) -> float:
    """By how much two of Student's t with three degrees of freedom are apart, for an area."""
    places = np.linspace(-80, 80, 32001)
    below = stats.t.cdf(places, 3)
    return float(
        optimize.brentq(lambda apart: np.trapezoid(stats.t.pdf(places - apart, 3) * below, places) - area, 0, 40)
    )


def _some_alike(random: Random, area: float, shape: tuple[int, ...]) -> Drawn:
    """Positive scores of which a share, up to a fifth, are like negative ones."""
    alike = min(0.2, 1 - area)
    apart = math.sqrt(2) * stats.norm.ppf((area - alike / 2) / (1 - alike))
    drawn: Drawn = random.normal(size=shape) + np.where(random.random(shape) < alike, 0.0, apart)
    return drawn


# Scores of positive items for an area, and of negative ones; those in `JUDGES` helped to choose no constant.
SCORES: dict[str, tuple[Callable[[Random, float, tuple[int, ...]], Drawn], Callable[[Random, tuple[int, ...]], Drawn]]]
SCORES = {
    "normal": (_spread(1.0), lambda random, shape: random.normal(size=shape)),
    "normal, positive ones twice as wide": (_spread(2.0), lambda random, shape: random.normal(size=shape)),
    "exponential": (
        lambda random, area, shape: random.exponential(area / (1 - area), shape),
        lambda random, shape: random.exponential(size=shape),
    ),
    "Student's t, 3 degrees of freedom": (
        lambda random, area, shape: random.standard_t(3, shape) + _heavy_distance(area),
        lambda random, shape: random.standard_t(3, shape),
    ),
    "normal, some positive ones like negative ones": (_some_alike, lambda random, shape: random.normal(size=shape)),
}


def area_coverage(scores: str, area: float, positives: int, negatives: int, repeats: int, seed: int = 0) -> float:
    """The share of intervals that hold the area under the ROC curve."""
    high, low = SCORES[scores]
    random, held = np.random.default_rng(seed), 0
    for start in range(0, repeats, DRAWN_AT_ONCE):
        rows = min(DRAWN_AT_ONCE, repeats - start)
        drawn = high(random, area, (rows, positives)), low(random, (rows, negatives))
        found = areas(*map(torch.from_numpy, drawn))
        held += int(((found.low <= area + 1e-9) & (area - 1e-9 <= found.high)).sum())
    return held / repeats


def area_difference_coverage(
    first: float, second: float, count: int, repeats: int, seed: int = 0, scores: str = "normal", shared: float = 0.5
) -> float:
    """The share of intervals that hold the difference of the areas of two scores on the same items.

    Args:
        first: Area of the first score.
        second: Of the second one.
        count: Number of items of either kind.
        repeats: Number of draws.
        seed: Seed of the draws.
        scores: "normal", or "Student's t" with three degrees of freedom.
        shared: What part of their variance the scores of an item share; their correlation if they are normal.
    """
    random, held = np.random.default_rng(seed), 0
    positive = torch.arange(2 * count) < count
    apart = [
        math.sqrt(2) * stats.norm.ppf(area) if scores == "normal" else _heavy_distance(area) for area in (first, second)
    ]
    for _ in range(repeats):
        both, *own = random.normal(size=(3, 2 * count))
        values = [math.sqrt(shared) * both + math.sqrt(1 - shared) * each for each in own]
        if scores != "normal":
            values = [value / np.sqrt(random.chisquare(3, 2 * count) / 3) for value in values]
        one, other = (torch.from_numpy(v) + positive * each for v, each in zip(values, apart, strict=True))
        found = area_difference(one, other, positive)
        held += found.low <= first - second <= found.high
    return held / repeats


# Correlations


def _by_numbers(function: Callable[[Drawn], Drawn]) -> tuple[Callable[[Drawn], Drawn], Callable[[float], float]]:
    """Values, and their correlation by numerical integration."""

    @functools.cache
    def truth(level: float) -> float:
        nodes = np.linspace(-9, 9, 2001)
        weights = stats.norm.pdf(nodes) * (nodes[1] - nodes[0])
        one = function(nodes)[:, None]
        other = function(level * nodes[:, None] + math.sqrt(1 - level**2) * nodes)
        both = weights[:, None] * weights
        mean, square = float((weights * one[:, 0]).sum()), float((weights * one[:, 0] ** 2).sum())
        return (float((both * one * other).sum()) - mean**2) / (square - mean**2)

    return function, truth


# How values arise from normal ones, and the correlation of the values from that of the normal ones.
VALUES: dict[str, tuple[Callable[[Drawn], Drawn], Callable[[float], float]]] = {
    "normal": (lambda normal: normal, lambda level: level),
    "uniform": (stats.norm.cdf, lambda level: 6 / math.pi * math.asin(level / 2)),
    "log-normal": (lambda normal: np.exp(normal / 2), lambda level: math.expm1(level / 4) / math.expm1(0.25)),
    "rectified normal": (
        lambda normal: np.maximum(normal, 0),
        lambda level: (math.sqrt(1 - level**2) + level * (math.pi - math.acos(level)) - 1) / (math.pi - 1),
    ),
    "exponential values": _by_numbers(lambda normal: -stats.norm.logsf(normal)),
    "rectified normal, squared": _by_numbers(lambda normal: np.maximum(normal, 0) ** 2),
    "exponential or zero": _by_numbers(lambda normal: np.maximum(-stats.norm.logsf(normal) - math.log(2), 0)),
}
JUDGES = (
    *("uniform within 0.1", "of three kinds"),
    *("Student's t, 3 degrees of freedom", "normal, some positive ones like negative ones"),
    *("exponential values", "rectified normal, squared", "exponential or zero"),
)


def correlation_coverage(kind: str, level: float, count: int, repeats: int, seed: int = 0) -> float:
    """The share of intervals of correlations that hold the true one; NaN if most have none."""
    first, noise = np.random.default_rng(seed).normal(size=(2, count, repeats))
    second = level * first + math.sqrt(1 - level**2) * noise
    one, other = (torch.from_numpy(VALUES[kind][0](each)) for each in (first, second))
    low, high = correlation_interval(one, other, _correlations(one, other), count)
    truth, known = VALUES[kind][1](level), ~low.isnan()
    held = float(((low <= truth) & (truth <= high))[known].double().mean())
    return held if 2 * int(known.sum()) > repeats else math.nan


def _correlations(one: Tensor, other: Tensor) -> Tensor:
    a, b = one - one.mean(0), other - other.mean(0)
    return (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0)).clamp(min=1e-300)


class Row(NamedTuple):
    """How often one kind of interval holds the truth, for each number of values and each true value; NaN for none."""

    interval: str
    data: str
    coverage: list[list[float]]

    def means(self) -> list[float]:
        """For each number of values, the mean over the true values; NaN where there is no interval for most of them."""
        return [
            math.nan if 2 * sum(map(math.isnan, each)) > len(each) else float(np.nanmean(each))
            for each in self.coverage
        ]

    def told(self) -> list[str]:
        """Each mean, whether it is within 95 +- 1.5 %, and the range over the true values."""
        cells = []
        for mean, each in zip(self.means(), self.coverage, strict=True):
            over = (
                f" ({np.nanmin(each):.3f} to {np.nanmax(each):.3f})" if len(each) > 1 and not math.isnan(mean) else ""
            )
            cells.append("none" if math.isnan(mean) else f"{mean:.3f} {judged(mean)}{over}")
        return [self.interval, self.data, *cells]


def judged(coverage: float) -> str:
    return "pass" if abs(coverage - CONFIDENCE) <= TOLERANCE else "over" if coverage > CONFIDENCE else "under"


def rows(counts: list[int], repeats: int) -> Iterator[Row]:
    """All intervals, each with some distributions of data."""
    for kind in (*DISTRIBUTIONS, *SKEWED):
        yield Row("mean", kind, [[mean_coverage(kind, count, repeats)] for count in counts])
    yield Row("share", "all shares from 0 to 1", [[share_coverage(count)] for count in counts])
    yield Row("one more draw", "normal", [[draw_coverage(count, repeats)] for count in counts])
    for channels, readers in READERS.items():
        means = [mean for mean in AREAS if mean <= readers.most]
        read = [[reading_coverage(channels, mean, count, repeats) for mean in means] for count in counts]
        yield Row("score in the test of reading", _told(channels, channels), read)
    for others in (1, 9):
        for kind in SCORES:
            found = [[area_coverage(kind, area, count, others * count, repeats) for area in AREAS] for count in counts]
            yield Row(f"AUC, {others} negative for a positive", _told(kind, kind), found)
    for kind, shared in (("normal", 0.5), ("normal", 0.9), ("Student's t", 0.5)):
        apart = [
            [
                area_difference_coverage(*both, count, repeats, scores=kind, shared=shared)
                if count >= FEWEST_COMPARED
                else math.nan
                for both in PAIRS_OF_AREAS
            ]
            for count in counts
        ]
        data = f"{kind}, {shared:g} of variance shared"
        yield Row("AUC minus AUC", data + (JUDGE if kind != "normal" or shared != 0.5 else ""), apart)
    for kind in VALUES:
        levels = [[correlation_coverage(kind, level, count, repeats) for level in CORRELATIONS] for count in counts]
        yield Row("correlation", _told(kind, kind), levels)


def _told(data: str, kind: str) -> str:
    return data + JUDGE if kind in JUDGES else data
