"""Areas under ROC curves, with intervals that keep their width near 1, and of two scores on the same items.

The area (AUC) is the mean over pairs of a positive and a negative item of 1, 1/2 for a tie, or 0. Its variance has a
part for each kind of item: how much positive items differ in their share of negatives that lie below them, and negative
items in their share of positives that lie above them (DeLong, DeLong and Clarke-Pearson 1988).
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from deconvviz.intervals import Difference, Interval, student_quantile, student_tail

MODEL_ITEMS = 2  # items that models of the variance count for, beside those that are measured; found by simulation
FREEDOM = 2  # degrees of freedom of the variance of shares per item; likewise
PAIRS_AT_ONCE = 2**22  # of items, which are compared together
NO_ERROR = 1e-12  # a standard error or a difference of areas by rounding


def _owen() -> tuple[Tensor, Tensor]:
    """Factors 1 + x^2 of the exponent, and weights, of the integral over x up to 1 / sqrt(3) in Owen's T."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    factors = 1 + ((1 + nodes) / math.sqrt(12)) ** 2
    weights = weights / (math.sqrt(12) * 2 * math.pi * factors)
    return torch.tensor(factors, device="cpu"), torch.tensor(weights, device="cpu")


OWEN = _owen()
HALVINGS = 40  # of the distance to an end of an interval


class Areas(NamedTuple):
    """Areas under ROC curves with their 95 % confidence intervals; NaN where there is none.

    Attributes:
        area: The areas.
        low: Lower ends.
        high: Upper ends.
    """

    area: Tensor
    low: Tensor
    high: Tensor


def areas(positive: Tensor, negative: Tensor) -> Areas:
    """Areas under ROC curves with score intervals, as Newcombe's method 5 (2006), of which the variance is measured.

    An interval holds the areas from which the measured one is not farther than t standard errors. The variance of an
    area A with m positive and n negative items is A (1 - A) (1 + (n - 1) a q(A) + (m - 1) b q(A)) / (m n). Here q(A) is
    the correlation of two pairs that share an item by models: the mean of Hanley and McNeil's for exponential scores,
    ((1 - A) / (2 - A) + A / (1 + A)) / 2, and that for normal scores of equal width. With these, a = b = 1; here they
    are the ratios of DeLong's variances, without their bias, to the models', averaged with 1: the less items say of the
    variance, as near an area of 1, the more the models count. Degrees of freedom follow by Satterthwaite's formula,
    twice as many as for normal values, as shares are bounded.

    `python -m benchmarks.verdicts` measures how often the intervals hold the truth.

    Args:
        positive: Scores of items that should have high ones, (..., m).
        negative: Scores of the others, (..., n).

    Returns:
        Areas (...); NaN without positive or negative items, and without ends for a single one of either.

    Example:
        >>> found = areas(torch.tensor([0.7, 0.8, 0.4, 0.9]), torch.tensor([0.1, 0.5, 0.3, 0.2]))
        >>> " ".join(f"{float(each):.2f}" for each in found)
        '0.94 0.54 0.99'
    """
    return measured(positive, negative).areas()


class Measured(NamedTuple):
    """Areas and what their intervals need; see `areas`.

    Attributes:
        area: (...).
        pairs: Number of pairs of items, (...).
        shared: How often two pairs that share an item differ together, as a multiple of q(A), (...): (n - 1) a +
            (m - 1) b. NaN for a single item of either kind.
        freedom: Degrees of freedom, (...).
    """

    area: Tensor
    pairs: Tensor
    shared: Tensor
    freedom: Tensor

    def areas(self) -> Areas:
        """The areas with their intervals."""
        area, known = self.area, ~self.shared.isnan()
        quantile = torch.as_tensor(np.interp(1 / self.freedom.nan_to_num(nan=1.0).numpy(), *_quantiles()))
        scale = quantile.square() / self.pairs
        near, far = torch.stack([area, area]), torch.stack([torch.zeros_like(area), torch.ones_like(area)])
        for _ in range(HALVINGS):
            middle = (near + far) / 2
            variance = middle * (1 - middle) * (1 + self.shared * _shared(middle))
            holds = (area - middle).square() <= scale * variance
            near, far = torch.where(holds, middle, near), torch.where(holds, far, middle)
        low, high = ((near + far) / 2).masked_fill(~known, math.nan)
        return Areas(area, low, high)


def measured(positive: Tensor, negative: Tensor) -> Measured:
    """Areas and what their intervals need, for `areas` and for intervals of several labels at once.

    Args:
        positive: (..., m).
        negative: (..., n).
    """
    m, n = positive.shape[-1], negative.shape[-1]
    above, below = _Placed.of(positive, negative), _Placed.of(negative, positive)
    area = above.shares.mean(-1)
    nothing = torch.full_like(area, math.nan)
    pairs = torch.full_like(area, m * n)
    if min(m, n) < 2:
        return Measured(area if min(m, n) else nothing, pairs, nothing, nothing)
    inside = (area > 0) & (area < 1)
    together = _shared(area)
    by_model = torch.where(inside, area * (1 - area) * together, 1.0)
    parts, lost = [], torch.zeros_like(area)
    for placed, others in ((above, n), (below, m)):
        known = (placed.shares.shape[-1] - 1) * 4 * area * (1 - area)
        ratio = torch.where(inside, placed.variance() / by_model, 1.0)
        parts.append((others - 1) * (MODEL_ITEMS + known * ratio) / (MODEL_ITEMS + known))
        lost += (parts[-1] * together).square() / (FREEDOM * (MODEL_ITEMS + known))
    shared = parts[0] + parts[1]
    return Measured(area, pairs, shared, (1 + shared * together).square() / lost)


def area(scores: Tensor, positive: Tensor) -> Interval:
    """The area under one ROC curve, with its interval.

    Args:
        scores: (N,).
        positive: (N,), which items are positive.

    Returns:
        The interval; NaN without positives or without negatives, and no ends with one of either.

    Example:
        >>> found = area(torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5]), torch.tensor([False, False, True, False, True]))
        >>> round(found.mean, 4)
        0.8333
    """
    mean, low, high = map(float, areas(scores[positive], scores[~positive]))
    return Interval(mean, low, high, len(scores))


def area_difference(first: Tensor, second: Tensor, positive: Tensor) -> Difference:
    """The area of the first scores minus that of the second on the same items, with Student's t interval and test.

    The variance is DeLong's without its bias; degrees of freedom follow by Satterthwaite's formula.

    Args:
        first: (N,).
        second: (N,).
        positive: (N,), which items are positive.
    """
    apart = _Apart.of(first, second, positive)
    m, n = len(apart.rows), len(apart.columns)
    mean = float(apart.rows.mean()) if min(m, n) else math.nan
    if min(m, n) < 2:
        return Difference(mean, math.nan, math.nan, len(first), math.nan)
    by_row, by_column = (float(values.var()) for values in (apart.rows, apart.columns))
    noise = float(apart.squares - apart.rows.square().mean()), float(apart.squares - apart.columns.square().mean())
    parts = max(0.0, by_row - noise[0] / (n - 1)), max(0.0, by_column - noise[1] / (m - 1))
    error = math.sqrt(((n - 1) * parts[0] + (m - 1) * parts[1] + float(apart.squares) - mean**2) / (m * n))
    if error < NO_ERROR:
        return Difference(mean, mean, mean, len(first), float(abs(mean) < NO_ERROR))
    one, other = by_row / m, by_column / n
    freedom = int((one + other) ** 2 / (one**2 / (m - 1) + other**2 / (n - 1)))
    reach = error * student_quantile(freedom)
    p = 2 * student_tail(abs(mean) / error, freedom)
    return Difference(mean, mean - reach, mean + reach, len(first), min(1.0, p))


class _Apart(NamedTuple):
    """Over pairs of a positive and a negative item, by how much more first scores order it rightly than second ones.

    Attributes:
        rows: The mean for each positive item, (m,).
        columns: The mean for each negative item, (n,).
        squares: The mean of the squares, ().
    """

    rows: Tensor
    columns: Tensor
    squares: Tensor

    @classmethod
    def of(cls, first: Tensor, second: Tensor, positive: Tensor) -> _Apart:
        (high, other_high), (low, other_low) = (
            (first[kind].double(), second[kind].double()) for kind in (positive, ~positive)
        )
        rows, columns, squares = torch.zeros_like(high), torch.zeros_like(low), high.new_zeros(())
        step = max(1, PAIRS_AT_ONCE // max(1, len(low)))
        for start in range(0, len(high), step):
            part = slice(start, start + step)
            right = torch.sign(high[part, None] - low)
            apart = (right - torch.sign(other_high[part, None] - other_low)) / 2
            rows[part] = apart.mean(1)
            columns += apart.sum(0)
            squares += apart.square().sum()
        return cls(rows, columns / max(1, len(high)), squares / max(1, len(high) * len(low)))


@functools.cache
def _quantiles() -> tuple[list[float], list[float]]:
    """Quantiles of Student's t by one over the degrees of freedom, between which they are nearly linear."""
    freedoms = (10**6, 60, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4)
    return [1 / freedom for freedom in freedoms], [student_quantile(freedom) for freedom in freedoms]


def _shared(area: Tensor) -> Tensor:
    """By models, the correlation of two pairs that share an item: its mean over the two kinds of items.

    For normal scores, it follows from the probability that two normal values which correlate by 1/2 are both below the
    same limit. That is the area, less twice Owen's T of the limit and 1 / sqrt(3).
    """
    area = area.clamp(1e-9, 1 - 1e-9)
    limits = torch.special.ndtri(area).square()[..., None]
    owen = torch.exp(-limits * (OWEN[0] / 2)) @ OWEN[1]
    normal = 1 - 2 * owen / (area * (1 - area))
    return ((1 - area) / (2 - area) + area / (1 + area)) / 4 + normal / 2


class _Placed(NamedTuple):
    """Where items lie among others.

    Attributes:
        shares: The share of others below each item, ties counted half, (..., items).
        noise: What comparing with few others adds to the variance of the shares, (..., items).
    """

    shares: Tensor
    noise: Tensor

    @classmethod
    def of(cls, items: Tensor, others: Tensor) -> _Placed:
        order, count = others.sort(-1).values, others.shape[-1]
        items = items.contiguous()
        below = torch.searchsorted(order, items).double()
        upto = torch.searchsorted(order, items, right=True).double()
        shares = (below + upto) / (2 * count)
        squares = (3 * below + upto) / (4 * count)  # the mean of 1, 1/4 for a tie, or 0
        return cls(shares, (squares - shares.square()) / max(1, count - 1))

    def variance(self) -> Tensor:
        """How much items differ, (...): the variance of shares among infinitely many others."""
        return (self.shares.var(-1) - self.noise.mean(-1)).clamp(min=0)
