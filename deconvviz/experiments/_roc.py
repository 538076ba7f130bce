"""Areas under ROC curves with the intervals of DeLong, DeLong and Clarke-Pearson (1988), also of two on the same items.

The area is the mean over pairs of a positive and a negative item of 1, 1/2 for a tie, or 0. Its variance is that of two
independent means: over positives, of each one's share of negatives that lie below it, and over negatives, of each one's
share of positives that lie above it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deconvviz.intervals import Difference, Interval, student_quantile, student_tail


def area(scores: Tensor, positive: Tensor) -> Interval:
    """The area under the ROC curve, with its interval cut off at 0 and 1.

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
    mean, error, freedom = _mean_and_error(*_shares(scores, positive))
    if math.isnan(error):
        return Interval(mean, math.nan, math.nan, len(scores))
    reach = error * student_quantile(freedom)
    return Interval(mean, max(0.0, mean - reach), min(1.0, mean + reach), len(scores))


def area_difference(first: Tensor, second: Tensor, positive: Tensor) -> Difference:
    """The area of the first scores minus that of the second on the same items, with its interval and test.

    Args:
        first: (N,).
        second: (N,).
        positive: (N,), which items are positive.
    """
    both = (_shares(first, positive), _shares(second, positive))
    above, below = (a - b for a, b in zip(*both, strict=True))
    mean, error, freedom = _mean_and_error(above, below)
    if math.isnan(error):
        return Difference(mean, math.nan, math.nan, len(first), math.nan)
    reach = error * student_quantile(freedom)
    p = 2 * student_tail(abs(mean) / error, freedom) if error else float(not mean)
    return Difference(mean, mean - reach, mean + reach, len(first), min(1.0, p))


def _shares(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Of each positive item the share of negative ones below it, of each negative one that of positive ones above."""
    high, low = scores[positive].double(), scores[~positive].double()
    return _below(high, low), 1 - _below(low, high)


def _below(items: Tensor, others: Tensor) -> Tensor:
    """The share of the others that lies below each item, ties counted half."""
    order = others.sort().values
    counts = torch.searchsorted(order, items) + torch.searchsorted(order, items, right=True)
    return counts.double() / (2 * len(others))


def _mean_and_error(above: Tensor, below: Tensor) -> tuple[float, float, int]:
    """The mean, its standard error and the degrees of freedom, of the smaller of the two groups."""
    fewest = min(len(above), len(below))
    if fewest < 2:
        return float(above.mean()) if fewest else math.nan, math.nan, 0
    variance = sum(float(shares.var()) / len(shares) for shares in (above, below))
    return float(above.mean()), math.sqrt(variance), fewest - 1
