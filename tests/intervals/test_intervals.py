"""Intervals and tests by values, against SciPy, and by coverage in simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

import deconvviz as dv
from benchmarks.intervals import DISTRIBUTIONS, SKEWED, mean_coverage, reading_coverage, share_coverage
from deconvviz.data import mnist_test
from deconvviz.intervals import (
    COSINES,
    binomial_tail,
    holm,
    mean_interval,
    mean_share_interval,
    paired_difference,
    share_interval,
    student_quantile,
    student_quantiles,
    student_tail,
)
from deconvviz.models import mnist_cnn


@pytest.mark.parametrize("freedom", [1, 2, 3, 7, 15, 49, 1000])
def test_students_t_is_scipys(freedom):
    assert student_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)
    assert student_quantile(freedom, 0.9) == pytest.approx(stats.t.ppf(0.95, freedom), rel=1e-9)
    for t in (0, 0.1, 1, 2.3, 5, 40):
        assert student_tail(t, freedom) == pytest.approx(stats.t.sf(t, freedom), rel=1e-9, abs=1e-14)


def test_mean_interval_is_scipys():
    values = np.random.default_rng(0).normal(2, 3, 9)
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    found = mean_interval([*values, math.nan])
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.mean, found.size) == (pytest.approx(values.mean()), 9)


def test_few_and_equal_values():
    assert math.isnan(mean_interval([]).mean)
    assert mean_interval([]).size == 0
    assert mean_interval([0.5])[0] == 0.5
    assert math.isnan(mean_interval([0.5]).low)
    assert mean_interval([0.1] * 9)[:3] == pytest.approx((0.1, 0.1, 0.1))
    assert paired_difference([0.1] * 9).p == 0
    assert paired_difference([0.0] * 9).p == 1
    assert math.isnan(paired_difference([1.0]).p)


@pytest.mark.parametrize(("hits", "count"), [(0, 8), (8, 8), (3, 16), (49, 50)])
def test_share_interval_is_scipys(hits, count):
    expected = stats.binomtest(hits, count).proportion_ci(method="wilson")
    assert share_interval(hits, count)[1:3] == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_no_trials_have_no_share():
    assert math.isnan(share_interval(0, 0).mean)


def test_paired_difference_is_scipys():
    random = np.random.default_rng(1)
    a, b = random.normal(0.3, 1, 12), random.normal(0, 1, 12)
    expected = stats.ttest_rel(a, b)
    found = paired_difference([*a, math.nan], [*b, 1.0])
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert paired_difference(a - b) == pytest.approx(paired_difference(a, b))


@pytest.mark.parametrize(("hits", "count", "chance"), [(0, 8, 0.3), (7, 8, 0.5), (20, 100, 0.11)])
def test_binomial_tail_is_scipys(hits, count, chance):
    assert binomial_tail(hits, count, chance) == pytest.approx(stats.binom.sf(hits - 1, count, chance))


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.5: times 4, 3, 2, 1, and never falling.
    assert holm([0.03, 0.5, 0.01, math.nan, 0.02])[:3] == pytest.approx([0.06, 0.5, 0.04])
    assert holm([0.03, 0.5, 0.01, math.nan, 0.02])[4] == pytest.approx(0.06)
    assert math.isnan(holm([math.nan])[0])


def test_holm_finds_nothing_too_often():
    random = np.random.default_rng(2)
    found = [min(holm(random.random(10).tolist())) <= 0.05 for _ in range(2000)]
    assert np.mean(found) <= 0.065


@pytest.mark.parametrize("count", [8, 16, 50])
@pytest.mark.parametrize("distribution", list(DISTRIBUTIONS))
def test_mean_intervals_cover(distribution, count):
    assert mean_coverage(distribution, count, 4000) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(("count", "least"), [(8, 0.87), (16, 0.90), (50, 0.925)])
@pytest.mark.parametrize("distribution", list(SKEWED))
def test_mean_intervals_of_skewed_values_cover_less(distribution, count, least):
    """As docs/evidence.md says."""
    assert least <= mean_coverage(distribution, count, 4000) <= 0.95


@pytest.mark.parametrize("count", [8, 16, 50])
def test_share_intervals_cover(count):
    assert share_coverage(count) == pytest.approx(0.95, abs=0.015)


def test_the_bootstrap_does_not_cover():
    """The interval that these replaced, so that the simulation is known to be able to fail."""
    random = np.random.default_rng(3)
    hits = 0
    for _ in range(600):
        values = random.normal(size=5)
        resampled = random.choice(values, (400, 5)).mean(1)
        low, high = np.quantile(resampled, [0.025, 0.975])
        hits += low <= 0 <= high
    assert hits / 600 < 0.88


def test_an_interval_of_values_with_a_range_does_not_leave_it():
    """Two images have a t of 12.7, so that cosines of 0.5 and 0.9 had an interval up to 3.24."""
    free, within = mean_interval([0.5, 0.9]), mean_interval([0.5, 0.9], within=COSINES)
    assert free.high == pytest.approx(0.7 + 12.7062 * 0.2, abs=1e-4)
    assert within == (free.mean, -1, 1, 2)
    assert mean_interval([0.5, 0.6, 0.7], COSINES) == mean_interval([0.5, 0.6, 0.7])
    beyond = mean_interval([1.0000001, 1.0000001], COSINES)  # by rounding
    assert beyond.low == beyond.mean == beyond.high


def test_cosines_of_two_images_have_intervals_of_cosines():
    images = mnist_test()[0][:2]
    net = dv.DeconvNet(mnist_cnn())
    found = dv.evidence.selectivity(net, images, "conv2", count=2, methods=["deconvnet"], progress=False)
    scores = [score for floor in found.floors.values() for score in vars(floor).values()]
    scores += [*found.spearman.values(), *found.ssim.values()]
    scores += dv.evidence.clarity(net, images, layers="conv2", seeds=2, progress=False).trained_scores.values()
    ends = [score.low for score in scores] + [score.high for score in scores]
    assert sum(end in (-1, 1) for end in ends) > 2
    assert all(-1 <= end <= 1 for end in ends if not math.isnan(end))


def test_the_mean_of_shares_has_the_interval_of_as_many_trials_as_they_are_worth():
    shares = [0.9, 0.7, 0.85, 0.95, 0.6, 0.8, 1.0, math.nan, 0.75]
    mean, low, high, size = mean_share_interval(shares, 160)
    assert size == 8
    known = [share for share in shares if not math.isnan(share)]
    assert mean == pytest.approx(sum(known) / 8)
    assert ends_of(np.var(known, ddof=1), mean, 8, (low, high)) == pytest.approx([abs(mean - low), abs(mean - high)])
    _, low, high, _ = mean_share_interval([0.5] * 9, 90)  # as if all answers were of one kind
    assert ends_of(0.25 / 10, 0.5, 9, (low, high)) == pytest.approx([0.5 - low, high - 0.5])
    assert math.isnan(mean_share_interval([0.5], 10).low)


def ends_of(variance: float, mean: float, size: int, ends: tuple[float, float]) -> list[float]:
    """How many t standard errors are from each end, where these change as p (1 - p), with the assumed spread."""
    single = mean * (1 - mean)
    measured = (size - 1) * (4 * single) ** 2
    spread = (measured * variance / single + 0.02 * 0.3) / (measured + 0.02)
    return [stats.t.ppf(0.975, size - 1) * math.sqrt(spread * end * (1 - end) / size) for end in ends]


def test_channels_that_all_read_do_not_rule_out_one_that_does_not():
    """Eight of eight channels: nothing is known of how much they vary, so trials do not count as 80."""
    mean, low, high, _ = mean_share_interval([1.0] * 8, 80)
    quantile = stats.t.ppf(0.975, 7) ** 2 / (8 / 0.3)
    assert (mean, low, high) == pytest.approx((1.0, 1 / (1 + quantile), 1.0))
    assert low < 0.9 < share_interval(80, 80).low


@pytest.mark.parametrize(
    ("channels", "mean", "count"), [("all alike", 0.7, 8), ("some at chance, others 0.98", 0.9, 8)]
)
def test_intervals_hold_the_mean_of_shares(channels: str, mean: float, count: int):
    """One reader in six guesses: in a quarter of the tests of eight, none does. (Wilson's alone holds 75 %.)"""
    assert 0.93 <= reading_coverage(channels, mean, count, 1000) <= 0.98


def test_quantiles_between_whole_degrees_of_freedom():
    freedom = torch.tensor([2.0, 2.2, 2.7, 3.5, 4.0, 5.5, 9.0, 25.0, 400.0], dtype=torch.float64)
    assert student_quantiles(freedom).tolist() == pytest.approx(stats.t.ppf(0.975, freedom.numpy()).tolist(), rel=6e-3)
    assert student_quantiles(freedom[4:]).tolist() == pytest.approx(
        stats.t.ppf(0.975, freedom[4:].numpy()).tolist(), rel=1e-3
    )
