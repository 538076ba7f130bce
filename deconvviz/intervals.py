"""Confidence intervals and tests that every verdict uses: means, shares, paired differences, several tests at once.

Student's t for means and paired differences, Wilson's interval and the exact binomial test for shares, Holm's
correction over several tests (areas under ROC curves are in `deconvviz.roc`). NaN stands for a value that could not be
measured and is left out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

CONFIDENCE = 0.95
LEVEL = 1 - CONFIDENCE  # of tests: how often one may find something where there is nothing
STRICT_LEVEL = 0.04  # of tests that suppose normal values, where scores are not: leaves room to 5 %
FEWEST = 8  # measurements (images, channels, questions) below which there is no verdict
COSINES = -1.0, 1.0  # between which cosines and correlations lie
NORMAL_QUANTILE = 1.959963984540054
MODEL_CHANNELS = 0.02  # for which an assumed spread of shares counts, beside the measured one; found by simulation
MODEL_SPREAD = 0.3  # of shares, as a part of that of single trials; likewise


class Interval(NamedTuple):
    """A mean or a share with its 95 % confidence interval; NaN where there is none.

    Attributes:
        mean: The mean or share.
        low: Lower end.
        high: Upper end.
        size: Number of values.
    """

    mean: float
    low: float
    high: float
    size: int


class Difference(NamedTuple):
    """A mean paired difference with its 95 % confidence interval.

    Attributes:
        mean: The mean of the differences.
        low: Lower end.
        high: Upper end.
        size: Number of pairs.
        p: Two-sided probability of a mean so far from zero by chance; NaN for fewer than two pairs.
    """

    mean: float
    low: float
    high: float
    size: int
    p: float


def mean_interval(values: Iterable[float] | Tensor, within: tuple[float, float] = (-math.inf, math.inf)) -> Interval:
    """The mean of independent values and Student's t interval of it.

    Args:
        values: Any number of values; NaN is left out.
        within: Between which numbers values of this kind lie, such as `COSINES`; the interval does not go beyond.

    Returns:
        The interval; without ends for fewer than two values.

    Example:
        >>> mean, low, high, size = mean_interval([0.2, 0.4, 0.6, float("nan")])
        >>> f"{mean:.1f} ({low:.3f} to {high:.3f}) of {size}"
        '0.4 (-0.097 to 0.897) of 3'
        >>> mean_interval([0.5, 1.0], within=COSINES)
        Interval(mean=0.75, low=-1.0, high=1.0, size=2)
    """
    known = _known(values)
    if not known:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = math.fsum(known) / len(known)
    if len(known) < 2:
        return Interval(mean, math.nan, math.nan, 1)
    reach = _standard_error(known, mean) * student_quantile(len(known) - 1)
    low, high = max(within[0], mean - reach), min(within[1], mean + reach)
    return Interval(mean, min(low, mean), max(high, mean), len(known))  # rounding may bring the mean itself beyond


def share_interval(hits: int, count: int) -> Interval:
    """The share of hits and Wilson's interval of it.

    On average over all true shares it covers 95.4, 95.3 and 95.2 % for 8, 16 and 50 trials. As shares of few trials are
    coarse, the coverage of a single one varies: for 8 trials from 83.5 (near 0 and 1) to 99.8 %, for 50 from 85.0 to
    98.8 %. Agresti and Coull's and the mid-P interval cover more on average (96.5 and 97.1 % for 8).

    Args:
        hits: Number of hits.
        count: Number of trials; none gives NaN.

    Example:
        >>> share, low, high, count = share_interval(8, 8)
        >>> f"{share:.0%} ({low:.0%} to {high:.0%}) of {count}"
        '100% (68% to 100%) of 8'
    """
    if not count:
        return Interval(math.nan, math.nan, math.nan, 0)
    return _score_interval(hits / count, count, count, NORMAL_QUANTILE)


def mean_share_interval(shares: Iterable[float] | Tensor, trials: int) -> Interval:
    """The mean of several shares, such as of channels, with Wilson's interval of as many trials as they are worth.

    Shares of p in n channels vary by v, where those of single trials vary by p (1 - p): the mean is as certain as that
    of n p (1 - p) / v single trials. Student's t stands for the normal quantile, since v is measured. Unlike Student's
    interval it stays between 0 and 1, and is wider towards 1/2, as it must be.

    Near 0 and 1 shares say less of how much they vary: eight channels that read nearly always do not show a ninth that
    never does. v / (p (1 - p)) is therefore averaged with 0.3, as of 0.02 channels, while the channels that are
    measured count for (n - 1) (4 p (1 - p))^2. If all shares are the same, which happens by chance where they are few,
    trials count as if they were all of one kind.

    On average over true means from 0.5 to 0.98, it holds the truth for 8, 16 and 50 channels in 94 to 96.5 % of the
    cases (`python -m benchmarks.verdicts`).

    Args:
        shares: Any number of shares; NaN is left out.
        trials: Number of trials in all of them together.

    Returns:
        The interval; without ends for fewer than two shares.

    Example:
        >>> share, low, high, size = mean_share_interval([0.9, 0.7, 0.8, 1.0, 0.6], 50)
        >>> f"{share:.2f} ({low:.2f} to {high:.2f}) of {size}"
        '0.80 (0.55 to 0.93) of 5'
    """
    mean, _, _, size = mean_interval(known := _known(shares))
    if size < 2:
        return Interval(mean, math.nan, math.nan, size)
    error, single = _standard_error(known, mean), mean * (1 - mean)
    spread = size * error**2 / single if error else size / trials
    measured = (size - 1) * (4 * single) ** 2
    spread = (measured * spread + MODEL_CHANNELS * MODEL_SPREAD) / (measured + MODEL_CHANNELS)
    return _score_interval(mean, size / spread, size, student_quantile(size - 1))


def _score_interval(share: float, trials: float, size: int, quantile: float) -> Interval:
    """Wilson's: the shares from which the measured one is not farther than `quantile` standard errors."""
    z = quantile**2 / trials
    middle = (share + z / 2) / (1 + z)
    reach = quantile / (1 + z) * math.sqrt(max(0.0, share * (1 - share)) / trials + z / (4 * trials))
    return Interval(share, max(0.0, middle - reach), min(1.0, middle + reach), size)


def paired_difference(a: Iterable[float] | Tensor, b: Iterable[float] | Tensor | None = None) -> Difference:
    """The mean of a - b, pair by pair, with Student's t interval and test.

    Args:
        a: One value per image, channel or seed.
        b: As many values, measured on the same; None if `a` holds the differences already.

    Example:
        >>> found = paired_difference([0.9, 0.8, 0.9, 0.7], [0.5, 0.5, 0.4, 0.4])
        >>> f"{found.mean:+.3f}, p = {found.p:.3f}"
        '+0.375, p = 0.004'
    """
    first = list(map(float, a))
    differences = _known(first if b is None else [x - y for x, y in zip(first, map(float, b), strict=True)])
    mean, low, high, size = mean_interval(differences)
    if size < 2:
        return Difference(mean, low, high, size, math.nan)
    error = _standard_error(differences, mean)
    if error == 0:
        return Difference(mean, low, high, size, 0.0 if mean else 1.0)
    return Difference(mean, low, high, size, min(1.0, 2 * student_tail(abs(mean) / error, size - 1)))


def difference_from_draws(value: float, draws: Iterable[float] | Tensor) -> Difference:
    """Whether a value is unlike draws of the same kind, such as a trained network unlike random weights.

    The interval and the test are those of one more draw (the prediction interval): their variance is that of the draws
    and of their mean.

    Args:
        value: The value.
        draws: The same quantity for each draw.

    Returns:
        The value minus the mean of the draws; without ends for fewer than two draws.

    Example:
        >>> found = difference_from_draws(0.9, [0.3, 0.35, 0.2, 0.3, 0.25])
        >>> f"{found.mean:+.2f} ({found.low:.2f} to {found.high:.2f}), p = {found.p:.4f}"
        '+0.62 (0.45 to 0.79), p = 0.0006'
    """
    known = _known(draws)
    if len(known) < 2 or math.isnan(value):
        mean = value - known[0] if known else math.nan
        return Difference(mean, math.nan, math.nan, len(known), math.nan)
    middle = math.fsum(known) / len(known)
    error = _standard_error(known, middle) * math.sqrt(len(known) + 1)
    difference, reach = value - middle, error * student_quantile(len(known) - 1)
    p = 2 * student_tail(abs(difference) / error, len(known) - 1) if error else float(not difference)
    return Difference(difference, difference - reach, difference + reach, len(known), p)


def binomial_tail(hits: int, count: int, chance: float) -> float:
    """The probability of at least `hits` hits in `count` trials, each a hit with probability `chance`.

    Example:
        >>> round(binomial_tail(8, 10, 0.5), 4)
        0.0547
    """
    return min(
        1.0, math.fsum(math.comb(count, k) * chance**k * (1 - chance) ** (count - k) for k in range(hits, count + 1))
    )


def holm(probabilities: Sequence[float]) -> list[float]:
    """Holm's adjusted probabilities of several tests: those up to 0.05 hold together at that level.

    Args:
        probabilities: One per test; NaN stays NaN and does not count as a test.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    adjusted = [math.nan] * len(probabilities)
    order = sorted((p, place) for place, p in enumerate(probabilities) if not math.isnan(p))
    largest = 0.0
    for rank, (p, place) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - rank)))
        adjusted[place] = largest
    return adjusted


@functools.cache
def student_quantile(freedom: float, confidence: float = CONFIDENCE) -> float:
    """The half width, in standard errors, of a two-sided interval by Student's t with `freedom` degrees of freedom.

    Example:
        >>> round(student_quantile(7), 4)
        2.3646
    """
    low, high = 0.0, 1.0
    while 2 * student_tail(high, freedom) > 1 - confidence:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if 2 * student_tail(middle, freedom) > 1 - confidence else (low, middle)
    return (low + high) / 2


def student_quantiles(freedom: Tensor) -> Tensor:
    """`student_quantile` of any degrees of freedom from 2, by interpolation: to 0.1 % above 4, and to 0.6 % below.

    Args:
        freedom: (...); NaN counts as 2.
    """
    inverse, quantiles = _quantiles()
    return torch.as_tensor(np.interp(1 / freedom.nan_to_num(nan=2.0).numpy(), inverse, quantiles))


@functools.cache
def _quantiles() -> tuple[list[float], list[float]]:
    """Quantiles by one over the degrees of freedom, between which they are nearly linear."""
    freedoms = (1e6, 60, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4, 3, 2.5, 2)
    return [1 / freedom for freedom in freedoms], [student_quantile(freedom) for freedom in freedoms]


def student_tail(t: float, freedom: float) -> float:
    """The probability of a value above `t` >= 0 by Student's t.

    Example:
        >>> round(student_tail(2.3646, 7), 4)
        0.025
    """
    return _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t)) / 2


def _known(values: Iterable[float] | Tensor) -> list[float]:
    return [value for value in map(float, values) if not math.isnan(value)]


def _standard_error(values: Sequence[float], mean: float) -> float:
    """That of the mean; zero where the values differ by rounding alone."""
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    error = math.sqrt(variance / len(values))
    return error if error > 1e-12 * max(abs(value) for value in values) else 0.0


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Abramowitz and Stegun, 26.5.8)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    fraction, c, d = 1.0, 1.0, 0.0  # evaluated from the front (modified Lentz)
    for step in range(1000):
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / _away_from_zero(1 + term * d)
        c = _away_from_zero(1 + term / c)
        fraction *= c * d
        if step and abs(c * d - 1) < 1e-15:
            break
    return front * (fraction - 1)


def _away_from_zero(value: float) -> float:
    return value if abs(value) > 1e-300 else 1e-300
