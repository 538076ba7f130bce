"""Areas under ROC curves, with intervals that keep their width near 1, and of two scores on the same items.

The area (AUC) is the mean over pairs of a positive and a negative item of 1, 1/2 for a tie, or 0. Its variance has a
part for each kind of item: how much positive items differ in their share of negatives that lie below them, and negative
items in their share of positives that lie above them (DeLong, DeLong and Clarke-Pearson 1988).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from deconvviz.intervals import FEWEST, Difference, Interval, student_quantile, student_quantiles, student_tail

FEWEST_COMPARED = 40  # items of either kind below which a difference of areas has no interval; found by simulation
MODEL_ITEMS = 2  # items that models of the variance count for, beside those that are measured; found by simulation
MODEL_FREEDOM = 4  # degrees of freedom that they count for; likewise
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
    variance, as near an area of 1, the more the models count. Degrees of freedom follow by Satterthwaite's formula
    from those of either variance, 2 (items - 1) / (k - 1) by the kurtosis k of Hanley and McNeil's model, and those of
    the models: near an area of 1, most items are alike, and few that are not make the variance.

    `python -m benchmarks.verdicts` measures how often the intervals hold the truth.

    Args:
        positive: Scores of items that should have high ones, (..., m).
        negative: Scores of the others, (..., n).

    Returns:
        Areas (...); NaN without positive or negative items, and without ends for fewer than 8 of either.

    Example:
        >>> found = areas(torch.arange(8.0) + 4, torch.arange(9.0))
        >>> " ".join(f"{float(each):.2f}" for each in found)
        '0.83 0.56 0.94'
    """
    sizes = positive.shape[-1], negative.shape[-1]
    kinds = torch.arange(sum(sizes), device=positive.device) < sizes[0]
    values = torch.cat([positive, negative], -1)
    return Ordered.of(values).measured(kinds.expand_as(values)).areas()


class Measured(NamedTuple):
    """Areas and what their intervals need; see `areas`.

    Attributes:
        area: (...).
        pairs: Number of pairs of items, (...).
        shared: How often two pairs that share an item differ together, as a multiple of q(A), (...): (n - 1) a +
            (m - 1) b. NaN for fewer than 8 items of either kind.
        freedom: Degrees of freedom, (...).
    """

    area: Tensor
    pairs: Tensor
    shared: Tensor
    freedom: Tensor

    def areas(self) -> Areas:
        """The areas with their intervals."""
        area, known = self.area, ~self.shared.isnan()
        scale = student_quantiles(self.freedom).square() / self.pairs
        near, far = torch.stack([area, area]), torch.stack([torch.zeros_like(area), torch.ones_like(area)])
        for _ in range(HALVINGS):
            middle = (near + far) / 2
            variance = middle * (1 - middle) * (1 + self.shared * _shared(middle))
            holds = (area - middle).square() <= scale * variance
            near, far = torch.where(holds, middle, near), torch.where(holds, far, middle)
        low, high = ((near + far) / 2).masked_fill(~known, math.nan)
        return Areas(area, low, high)


class Ordered(NamedTuple):
    """The order of the values in each row, from which ranks and areas follow without sorting again.

    Attributes:
        order: Places in the row by ascending value, (..., items).
        below: How many values of the row are less than each of these, (..., items).
        upto: How many are not greater, itself included, (..., items).
    """

    order: Tensor
    below: Tensor
    upto: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Ordered:
        """Of values (..., items)."""
        if values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64):
            order = torch.from_numpy(np.argsort(values.numpy()))  # with vector instructions, unlike torch's
        else:
            order = values.argsort(-1)
        ordered, count = values.gather(-1, order), values.shape[-1]
        differs = torch.ones(*values.shape[:-1], count + 1, dtype=torch.bool, device=values.device)
        differs[..., 1:-1] = ordered[..., 1:] != ordered[..., :-1]
        places = torch.arange(count + 1, device=values.device)
        below = torch.where(differs[..., :-1], places[:-1], 0).cummax(-1).values
        upto = torch.where(differs[..., 1:], places[1:], count).flip(-1).cummin(-1).values.flip(-1)
        return cls(order, below, upto)

    @property
    def ranks(self) -> Tensor:
        """Twice the rank of each value in its row, from 1, in the order of the values; equal ones share their mean.

        >>> found = Ordered.of(torch.tensor([[0.5, 0.0, 0.0, 2.0]]))
        >>> found.ranks, found.ranks.scatter(1, found.order, found.ranks)
        (tensor([[3, 3, 6, 8]]), tensor([[6, 3, 3, 8]]))
        """
        return self.below + self.upto + 1

    def measured(self, positive: Tensor) -> Measured:
        """Areas and what their intervals need.

        Args:
            positive: Which items are positive, (..., items); another number in each row, if need be.
        """
        kind = positive.gather(-1, self.order)
        before = torch.nn.functional.pad(kind.cumsum(-1), (1, 0))  # positive items among the first
        m = before[..., -1]
        n = kind.shape[-1] - m
        below, upto = before.gather(-1, self.below), before.gather(-1, self.upto)
        # Of the items of the other kind.
        below, upto = torch.where(kind, self.below - below, below), torch.where(kind, self.upto - upto, upto)
        others = torch.where(kind, n[..., None], m[..., None]).clamp(min=1)
        shares = (below + upto).double() / (2 * others)
        squares = (3 * below + upto).double() / (4 * others)  # the mean of 1, 1/4 for a tie, or 0
        noise = (squares - shares.square()) / (others - 1).clamp(min=1)  # that comparing with few others adds
        area = torch.where(kind, below + upto, 0).sum(-1).double() / (2 * m * n)  # NaN without either
        inside = (area > 0) & (area < 1)
        together = _shared(area.nan_to_num(nan=0.5))
        by_model = torch.where(inside, area * (1 - area) * together, 1.0)
        shared, lost = torch.zeros_like(area), torch.zeros_like(area)
        for own, items, rest, mean in ((kind, m, n, area), (~kind, n, m, 1 - area)):
            spread = torch.where(own, (shares - mean[..., None]).square(), 0).sum(-1) / (items - 1)
            variance = (spread - torch.where(own, noise, 0).sum(-1) / items).clamp(min=0)  # among infinitely many
            known = (items - 1) * 4 * area * (1 - area)
            ratio = torch.where(inside, variance / by_model, 1.0)
            part = (rest - 1) * (MODEL_ITEMS + known * ratio) / (MODEL_ITEMS + known)
            shared += part
            lost += (part * together).square() / (MODEL_FREEDOM + 2 * (items - 1) / (_kurtosis(area) - 1))
        few = torch.minimum(m, n) < FEWEST
        freedom = ((1 + shared * together).square() / lost).masked_fill(few, math.nan)
        return Measured(area, (m * n).double(), shared.masked_fill(few, math.nan), freedom)


def area(scores: Tensor, positive: Tensor) -> Interval:
    """The area under one ROC curve, with its interval.

    Args:
        scores: (N,).
        positive: (N,), which items are positive.

    Returns:
        The interval; NaN without positives or without negatives, and no ends with fewer than 8 of either.

    Example:
        >>> found = area(torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5]), torch.tensor([False, False, True, False, True]))
        >>> round(found.mean, 4)
        0.8333
    """
    mean, low, high = map(float, areas(scores[positive], scores[~positive]))
    return Interval(mean, low, high, len(scores))


def area_difference(first: Tensor, second: Tensor, positive: Tensor) -> Difference:
    """The area of the first scores minus that of the second on the same items, with Student's t interval and test.

    The variance is DeLong's without its bias; degrees of freedom follow by Satterthwaite's formula. Few items, which
    both scores order rightly but for one or two, say hardly how much the areas vary: there is no interval and no test
    with fewer than 40 positive or 40 negative ones.

    Args:
        first: (N,).
        second: (N,).
        positive: (N,), which items are positive.
    """
    apart = _Apart.of(first, second, positive)
    m, n = len(apart.rows), len(apart.columns)
    mean = float(apart.rows.mean()) if min(m, n) else math.nan
    if min(m, n) < FEWEST_COMPARED:
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


def _kurtosis(area: Tensor) -> Tensor:
    """That of the share of other items below an item, if scores are exponential: of a power of a uniform number.

    Its mean is 1 - A of an area A from 1/2, and the mean of its n-th power 1 / (1 + n A / (1 - A)).
    """
    odds = torch.maximum(area, 1 - area).nan_to_num(nan=0.5).clamp(max=1 - 1e-6)
    mean, second, third, fourth = (1 / (1 + power * odds / (1 - odds)) for power in range(1, 5))
    variance = second - mean.square()
    return (fourth - 4 * mean * third + 6 * mean.square() * second - 3 * mean**4) / variance.square()


def _shared(area: Tensor) -> Tensor:
    """By models, the correlation of two pairs that share an item: its mean over the two kinds of items.

    For normal scores, it follows from the probability that two normal values which correlate by 1/2 are both below the
    same limit. That is the area, less twice Owen's T of the limit and 1 / sqrt(3).
    """
    area = area.clamp(1e-9, 1 - 1e-9)
    limits = torch.special.ndtri(area).square()[..., None]
    factors, weights = (part.to(area.device) for part in OWEN)
    owen = torch.exp(-limits * (factors / 2)) @ weights
    normal = 1 - 2 * owen / (area * (1 - area))
    return ((1 - area) / (2 - area) + area / (1 + area)) / 4 + normal / 2
