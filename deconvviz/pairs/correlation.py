"""Correlations between all channels of two networks over a dataset, in memory that does not grow with it.

A channel's value on an image is that of its strongest unit, as for `scan`: networks with maps of other sizes can be
compared, and the values of different images are independent.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deconvviz.intervals import student_quantiles

KEPT_IMAGES = 4096  # images whose values are kept for the intervals, evenly spaced
FLAT = 1e-6  # of the largest value: a channel whose values differ less is constant
ALONE = 1e-12  # of a channel's sum of squares: if leaving out an image leaves less, that image was all there was
FEWEST_ACTIVE = 16  # images that activate a channel, below which its correlations have no interval
FEW_TOGETHER = 32  # images that activate both channels, below which images hardly say how much a correlation varies
SURE_TOGETHER = 10  # up to so many, it varies at least as that of unrelated channels; found by simulation
COPIES = 0.9999  # a correlation from which channels are taken for copies, of which few active images suffice
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
    """The ends of 95 % confidence intervals of correlations: Student's t on Fisher's z, with the jackknife's error.

    Each image is left out in turn. The spread of these correlations on Fisher's z is the standard error, whatever the
    distribution of activations is (Efron and Stein 1981). The more it is due to a few images, the less certain it is:
    degrees of freedom are 2 (n - 1) / (k - 1) by the kurtosis k of what images contribute (Satterthwaite), from 2 to
    n - 1.

    A channel that is silent on many images, which all have its least value, says less: there is no interval if fewer
    than 16 images activate it, except of copies (0.9999). Where m images activate both channels, fewer than 32 and less
    than half, the variance is at least min(1, 10 / m) times that of channels which have nothing to do with each other,
    1 / (n - 3): otherwise two channels that are never active together would seem to be known best.
    `python -m benchmarks.verdicts` measures how often the intervals hold the truth.

    Args:
        a: (images, n), the values of one channel of each pair; they may be a part of the images.
        b: The same for the other.
        correlations: (n,), over all images.
        count: Number of images.

    Returns:
        The lower and upper ends, (n,); NaN for fewer than four images, and where a channel is constant on these, or
        hardly active.
    """
    nothing = torch.full_like(correlations, math.nan)
    if count < 4:
        return nothing, nothing
    found = correlations_without_each(a.double(), b.double())
    by_one_image = found.isnan() & ~found.isnan().all(0)  # without that image there is no correlation to be seen
    without = fisher_z(found.masked_fill(by_one_image, 0))
    kept = len(without)
    squares = (without - without.mean(0)).square()
    variance = squares.sum(0) * (kept - 1) / count  # of `kept` images, and from these of all
    kurtosis = squares.square().mean(0) / squares.mean(0).square()
    freedom = (2 * (kept - 1) / (kurtosis - 1)).nan_to_num(nan=math.inf).clamp(2, kept - 1)
    active = [_active(each) for each in (a, b)]
    together = (active[0] & active[1]).sum(0)
    few = (together < FEW_TOGETHER) & (2 * together < kept)
    least = (SURE_TOGETHER / together.clamp(min=SURE_TOGETHER)) / (count - 3)
    variance = torch.where(few, torch.maximum(variance, least), variance)
    middle, reach = fisher_z(correlations), student_quantiles(freedom) * variance.sqrt()
    known = torch.minimum(active[0].sum(0), active[1].sum(0)) >= min(FEWEST_ACTIVE, kept)
    known |= correlations >= COPIES
    return tuple(torch.where(known, torch.tanh(end), nothing) for end in (middle - reach, middle + reach))  # type: ignore[return-value]


def _active(values: Tensor) -> Tensor:
    """Which images activate each channel, (images, n): all, unless several have its least value."""
    least = values == values.amin(0)
    return ~(least & (least.sum(0) > 1))


def correlations_without_each(a: Tensor, b: Tensor) -> Tensor:
    """The correlations of pairs of channels when one image is left out, (images, n); NaN if that leaves a constant.

    Args:
        a: (images, n), the values of one channel of each pair.
        b: The same for the other.
    """
    x, y = a - a.mean(0), b - b.mean(0)
    share = len(a) / (len(a) - 1)  # leaving x out of values with mean zero changes their sum of squares by share * x^2
    xx, yy, xy = (left * right for left, right in ((x, x), (y, y), (x, y)))
    squares_x, squares_y, products = (each.sum(0) - share * each for each in (xx, yy, xy))
    alone = (squares_x <= ALONE * xx.sum(0)) | (squares_y <= ALONE * yy.sum(0))
    scale = (squares_x.clamp(min=0) * squares_y.clamp(min=0)).sqrt()
    return (products / scale).clamp(-1, 1).masked_fill(alone, math.nan)
