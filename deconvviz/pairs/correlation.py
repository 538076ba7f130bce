"""Correlations between all channels of two networks over a dataset, in memory that does not grow with it.

A channel's value on an image is that of its strongest unit, as for `scan`: networks with maps of other sizes can be
compared, and the values of different images are independent.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deconvviz.intervals import NORMAL_QUANTILE

KEPT_IMAGES = 4096  # images whose values are kept for the intervals, evenly spaced
FLAT = 1e-6  # of the largest value: a channel whose values differ less is constant
SMALL_SAMPLE = 10  # images; by simulation, see the tests
ROUNDED = 1e-5  # one minus a squared correlation, below which moments are rounding errors
NEAREST = 1 - 1e-12  # the largest correlation that has a finite Fisher z


class RunningCorrelation:
    """Sums from which the correlations of two sets of channels follow.

    Attributes:
        count: Number of images.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sums: list[Tensor] = []  # of a, b, a squared, b squared, and a times b
        self._shifts: list[Tensor] = []
        self._ends: list[Tensor] = []  # least and greatest values of a, then of b
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._every = 1  # of the images, one of so many is kept

    def add(self, a: Tensor, b: Tensor) -> None:
        """Add images, by their values (N, channels) in each network."""
        a, b = a.cpu().double(), b.cpu().double()
        if not self.count:
            self._shifts = [a.mean(0), b.mean(0)]  # so that sums of squares lose no digits
            self._sums = [torch.zeros(())] * 5
            self._ends = [a[0], a[0], b[0], b[0]]
        self._ends = [
            *(torch.minimum(self._ends[0], a.amin(0)), torch.maximum(self._ends[1], a.amax(0))),
            *(torch.minimum(self._ends[2], b.amin(0)), torch.maximum(self._ends[3], b.amax(0))),
        ]
        self._keep(a, b)
        x, y = a - self._shifts[0], b - self._shifts[1]
        new = (x.sum(0), y.sum(0), x.square().sum(0), y.square().sum(0), x.T @ y)
        self._sums = [total + part for total, part in zip(self._sums, new, strict=True)]
        self.count += len(a)

    def _keep(self, a: Tensor, b: Tensor) -> None:
        """Keep the values of images with numbers that `_every` divides, of so many that memory stays bounded."""
        own = slice(-self.count % self._every, None, self._every)
        self._kept.append((a[own].clone(), b[own].clone()))
        while sum(len(part) for part, _ in self._kept) > KEPT_IMAGES:
            whole = torch.cat([part for part, _ in self._kept]), torch.cat([part for _, part in self._kept])
            self._kept, self._every = [(whole[0][::2].clone(), whole[1][::2].clone())], 2 * self._every

    @property
    def constant(self) -> tuple[Tensor, Tensor]:
        """Which channels of each network have the same value on all images."""
        low_a, high_a, low_b, high_b = self._ends
        return _is_flat(low_a, high_a), _is_flat(low_b, high_b)

    def deviations(self) -> tuple[Tensor, Tensor]:
        """The standard deviation of each channel, in each network."""
        a, b, aa, bb, _ = self._sums
        return self._deviation(a, aa), self._deviation(b, bb)

    def _deviation(self, total: Tensor, squares: Tensor) -> Tensor:
        return (squares / self.count - (total / self.count) ** 2).clamp(min=0).sqrt()

    def correlations(self) -> Tensor:
        """(channels of a, channels of b), Pearson's correlations; NaN for constant channels."""
        a, b, _, _, products = self._sums
        spread_a, spread_b = self.deviations()
        covariance = products / self.count - (a / self.count)[:, None] * (b / self.count)
        found: Tensor = (covariance / (spread_a[:, None] * spread_b)).clamp(-1, 1)
        constant_a, constant_b = self.constant
        return found.masked_fill(constant_a[:, None] | constant_b, math.nan)

    def intervals(self, rows: Tensor, columns: Tensor, correlations: Tensor) -> tuple[Tensor, Tensor]:
        """The ends of the 95 % confidence intervals of some pairs' correlations.

        Args:
            rows: Channels of a, (n,).
            columns: Channels of b, (n,).
            correlations: (n,).
        """
        a, b = (torch.cat(parts) for parts in zip(*self._kept, strict=True))
        return correlation_interval(a[:, rows], b[:, columns], correlations, self.count)


def _is_flat(low: Tensor, high: Tensor) -> Tensor:
    return high - low <= FLAT * torch.maximum(high.abs(), low.abs())


def fisher_z(correlations: Tensor) -> Tensor:
    """The inverse hyperbolic tangent, whose spread hardly depends on the correlation."""
    return torch.atanh(correlations.double().clamp(-NEAREST, NEAREST))


def correlation_interval(a: Tensor, b: Tensor, correlations: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ends of 95 % confidence intervals of correlations, on Fisher's z.

    The standard error is the larger one of Fisher's, for normal values, and of the one that follows from the values'
    own fourth moments, as activations are far from normal. It is widened for few images, on which these moments are
    too small: so the intervals of rectified normal values cover, too.

    Args:
        a: (images, n), the values of one channel of each pair; they may be a part of the images.
        b: The same for the other.
        correlations: (n,), over all images.
        count: Number of images.

    Returns:
        The lower and upper ends, (n,); NaN for fewer than four images.
    """
    if count < 4:
        nothing = torch.full_like(correlations, math.nan)
        return nothing, nothing
    x, y = (values - values.mean(0) for values in (a.double(), b.double()))
    x, y = (values / values.square().mean(0).sqrt().clamp(min=1e-300) for values in (x, y))
    r = (x * y).mean(0)
    squares = (x.square() * y.square()).mean(0)
    fourth = x.pow(4).mean(0) + y.pow(4).mean(0)
    mixed = (x.pow(3) * y).mean(0) + (x * y.pow(3)).mean(0)
    variance = (1 + r.square() / 2) * squares + r.square() / 4 * fourth - r * mixed
    rest = 1 - r.square()
    on_z = torch.where(rest > ROUNDED, variance.clamp(min=0) / rest.clamp(min=ROUNDED).square(), 0.0)
    error = torch.maximum((on_z / count).sqrt(), torch.full_like(on_z, 1 / math.sqrt(count - 3)))
    error = error * (1 + SMALL_SAMPLE / count)
    middle = fisher_z(correlations)
    return torch.tanh(middle - NORMAL_QUANTILE * error), torch.tanh(middle + NORMAL_QUANTILE * error)
