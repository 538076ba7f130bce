"""Intervals of correlations: against leaving out images one by one, and by how often they hold the true correlation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks.intervals import correlation_coverage
from deconvviz.pairs.correlation import correlation_interval, correlations_without_each


def values(images: int, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(images)
    one = random.exponential(size=(images, pairs)) + 100
    return one, one + random.exponential(size=(images, pairs)) * np.linspace(0.1, 5, pairs)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def test_images_are_left_out_one_by_one() -> None:
    one, other = values(9, 4)
    found = correlations_without_each(torch.from_numpy(one), torch.from_numpy(other))
    for image in range(9):
        kept = np.arange(9) != image
        wanted = [correlation(one[kept, pair], other[kept, pair]) for pair in range(4)]
        assert found[image].tolist() == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("count", [12, 120])  # the values may be of a part of the images
def test_the_interval_is_that_of_the_jackknife(count: int) -> None:
    """Student's t with as many degrees of freedom as the kurtosis leaves."""
    one, other = values(12, 3)
    r = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    low, high = correlation_interval(torch.from_numpy(one), torch.from_numpy(other), r, count)
    freedoms: list[float] = []
    for pair in range(3):
        kept = [np.arange(12) != image for image in range(12)]
        z = np.arctanh([correlation(one[part, pair], other[part, pair]) for part in kept])
        error = math.sqrt(z.var() * 11) * math.sqrt(12 / count)
        freedom = min(11, 2 * 11 / (stats.kurtosis(z, fisher=False) - 1))
        freedoms.append(freedom)
        reach = stats.t.ppf(0.975, freedom) * error
        middle = math.atanh(float(r[pair]))
        assert float(low[pair]) == pytest.approx(math.tanh(middle - reach), abs=2e-3)  # quantiles are interpolated
        assert float(high[pair]) == pytest.approx(math.tanh(middle + reach), abs=2e-3)
    assert min(freedoms) < 6


def test_equal_and_constant_channels_and_those_of_one_image() -> None:
    one = torch.rand(20, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ends = correlation_interval(one, 3 * one, torch.ones(1, dtype=torch.float64), 20)
    assert min(map(float, ends)) > 1 - 1e-9
    assert all(map(torch.isnan, correlation_interval(one, torch.ones_like(one), torch.tensor([0.3]), 20)))
    alone = torch.zeros_like(one)
    alone[3] = 1  # it is all that the two have in common
    low, high = correlation_interval(one + 100 * alone, one.flip(0) + 100 * alone, torch.tensor([0.99]), 20)
    assert float(low) < 0 < float(high)
    assert all(map(torch.isnan, correlation_interval(one[:3], one[:3], torch.tensor([0.9]), 3)))


def test_channels_that_are_silent_on_most_images() -> None:
    """Below 16 active images there is no interval; never active together, they are no surer than unrelated channels."""
    generator = torch.Generator().manual_seed(0)
    one, other = torch.zeros(2, 200, 1, dtype=torch.float64)
    one[:16], other[16:32] = 1 + torch.rand(2, 16, 1, dtype=torch.float64, generator=generator)
    r = torch.tensor([-0.08], dtype=torch.float64)
    low, high = correlation_interval(one, other, r, 200)
    reach = stats.t.ppf(0.975, 199) / math.sqrt(197)
    assert float(high) >= math.tanh(math.atanh(-0.08) + reach) - 1e-3
    assert float(low) <= math.tanh(math.atanh(-0.08) - reach) + 1e-3
    one[3:] = 0
    copy = correlation_interval(one, 2 * one, torch.ones(1, dtype=torch.float64), 200)
    assert min(map(float, copy)) > 1 - 1e-9, "three images are enough for a copy"
    one[:16] = 1 + torch.rand(16, 1, dtype=torch.float64, generator=generator)
    other[16] = 0  # 15 are left
    assert all(map(torch.isnan, correlation_interval(one, other, r, 200)))


def test_the_more_images_activate_both_channels_the_less_they_count_as_unrelated() -> None:
    """Twenty of 100: the variance is at least half that of unrelated channels."""
    one, other = torch.zeros(2, 100, 1, dtype=torch.float64)
    one[:40, 0] = torch.linspace(1, 0.02, 40, dtype=torch.float64)
    other[20:60, 0] = torch.linspace(0.02, 1, 40, dtype=torch.float64)
    r = torch.tensor([0.1], dtype=torch.float64)
    reach = [math.atanh(float(end)) - math.atanh(0.1) for end in correlation_interval(one, other, r, 100)]
    quantile = max(reach) / math.sqrt(10 / 20 / 97)
    assert stats.t.ppf(0.975, 99) - 1e-3 <= quantile
    z = np.arctanh(correlations_without_each(one, other)[:, 0].numpy())
    freedom = 2 * 99 / (stats.kurtosis(z, fisher=False) - 1)
    assert quantile == pytest.approx(stats.t.ppf(0.975, min(99, freedom)), rel=2e-3)
    assert z.var() * 99 < 10 / 20 / 97, "the images alone would seem to say more"


@pytest.mark.parametrize("count", [8, 16, 50])
@pytest.mark.parametrize("level", [0.0, 0.8])
def test_intervals_hold_the_true_correlation(level: float, count: int) -> None:
    """The longer simulation is `python -m benchmarks.verdicts`."""
    for kind in ("normal", "uniform"):
        assert 0.925 <= correlation_coverage(kind, level, count, 1000) <= 0.975
