"""Areas under ROC curves and their intervals: against counted pairs, and by how often they hold the true area."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy import optimize, special, stats

from benchmarks.intervals import area_coverage, area_difference_coverage
from deconvviz.roc import area, area_difference, areas


def won(first: float, second: float) -> float:
    return (first > second) + (first == second) / 2


def shared_variance(items: list[float], others: list[float]) -> float:
    """The covariance of two pairs that share one of `items`, from all pairs of pairs."""
    with_one = [won(a, b) * won(a, c) for a in items for b, c in itertools.permutations(others, 2)]
    with_none = [won(a, c) * won(b, d) for a, b in itertools.permutations(items, 2) for c in others for d in others]
    return max(0.0, sum(with_one) / len(with_one) - sum(with_none) / len(with_none))


def by_definition(positive: list[float], negative: list[float]) -> tuple[float, float, float]:
    m, n = len(positive), len(negative)
    found = sum(won(a, b) for a in positive for b in negative) / (m * n)

    def q(a: float) -> float:
        """The mean of Hanley and McNeil's for exponential scores, and of normal ones."""
        a = min(max(a, 1e-9), 1 - 1e-9)
        both = a - 2 * special.owens_t(stats.norm.ppf(a), 1 / math.sqrt(3))  # two normal values below one limit
        exponential = (a / (2 - a) + 2 * a**2 / (1 + a)) / 2
        return ((exponential + both) / 2 - a**2) / (a * (1 - a))

    def kurtosis(a: float) -> float:
        """Of the shares of exponential scores that are below those of wider ones, by numbers."""
        a = min(max(a, 1 - a), 1 - 1e-6)
        return float(stats.beta((1 - a) / a, 1).stats("k")) + 3

    parts, lost = [], 0.0
    for items, others in ((positive, negative), (negative, positive)):
        known = (len(items) - 1) * 4 * found * (1 - found)
        ratio = shared_variance(items, others) / (found * (1 - found) * q(found)) if 0 < found < 1 else 1
        parts.append((len(others) - 1) * (2 + known * ratio) / (2 + known))
        lost += (parts[-1] * q(found)) ** 2 / (4 + 2 * (len(items) - 1) / (kurtosis(found) - 1))
    t = stats.t.ppf(0.975, (1 + sum(parts) * q(found)) ** 2 / lost)

    def beyond(a: float) -> float:
        return (found - a) ** 2 - t**2 * a * (1 - a) * (1 + sum(parts) * q(a)) / (m * n)

    low = optimize.brentq(beyond, 1e-8, found - 1e-6) if found > 0 else 0.0
    high = optimize.brentq(beyond, found + 1e-6, 1 - 1e-8) if found < 1 else 1.0
    return found, low, high


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("distance", [-1.0, 0.0, 2.0, 9.0])
def test_intervals_are_those_by_definition(distance, ties):
    generator = torch.Generator().manual_seed(1)
    positive = torch.randn(5, 8, generator=generator) + distance
    negative = torch.randn(5, 9, generator=generator)
    if ties:
        positive, negative = positive.round(), negative.round()
    found = areas(positive, negative)
    for row, (high, low) in enumerate(zip(positive.tolist(), negative.tolist(), strict=True)):
        assert [float(each[row]) for each in found] == pytest.approx(
            by_definition(high, low), abs=2e-4
        )  # quantiles are interpolated


def test_ends():
    def of(high, low):
        return [float(each) for each in areas(torch.tensor(high), torch.tensor(low))]

    certain = of([float(n) for n in range(100, 108)], [float(n) for n in range(80)])
    assert certain[0] == 1
    assert certain[2] == pytest.approx(1, abs=1e-9)
    assert 0.7 < certain[1] < 0.95
    high, low = [0.1, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3], [0.0, 0.3, 0.75, 0.85, 0.2, 0.4, 0.5, 0.6, 0.65]
    other = of(low, high)
    assert of(high, low) == pytest.approx([1 - other[0], 1 - other[2], 1 - other[1]])
    for few, many in ((high[1:], low), (high, low[:7])):
        assert of(few, many)[0] > 0.5
        assert all(math.isnan(end) for end in of(few, many)[1:]), "seven of a kind are too few"
    assert all(math.isnan(each) for each in of([], low))
    equal = of([0.0] * 9, [0.0] * 20)
    assert equal[0] == 0.5
    assert 0.2 < equal[1] < 0.4
    assert equal[2] == pytest.approx(1 - equal[1])


@pytest.mark.parametrize("scores", ["normal", "exponential", "normal, positive ones twice as wide"])
@pytest.mark.parametrize("truth", [0.5, 0.95])
def test_intervals_hold_the_true_area(truth, scores):
    """The longer simulation is `python -m benchmarks.verdicts`."""
    for positives, negatives in ((8, 8), (50, 50), (8, 72)):
        assert 0.92 <= area_coverage(scores, truth, positives, negatives, 800) <= 0.98


@pytest.mark.parametrize("truth", [0.7, 0.9])
def test_intervals_of_differences_hold_zero(truth):
    assert 0.92 <= area_difference_coverage(truth, truth, 40, 200) <= 0.98


def test_differences_need_forty_of_a_kind():
    one, other = torch.randn(2, 90, generator=torch.Generator().manual_seed(0))
    found = area_difference(one, other, torch.arange(90) < 39)
    assert found.mean == pytest.approx(float(areas(one[:39], one[39:]).area - areas(other[:39], other[39:]).area))
    assert all(map(math.isnan, (found.low, found.high, found.p)))
    assert not math.isnan(area_difference(one, other, torch.arange(90) < 40).p)


def test_one_interval_of_scores():
    scores = torch.tensor([0.2, 0.1, 0.9, 0.4, 0.6, 0.3, 0.8, 0.5, 0.7, 0.05, 0.95, 0.15, 0.65, 0.25, 0.85, 0.35, 0.45])
    positive = torch.arange(17) % 2 == 0
    found = area(scores, positive)
    assert found.size == 17
    assert tuple(found[:3]) == pytest.approx(
        by_definition(scores[positive].tolist(), scores[~positive].tolist()), abs=2e-4
    )
