"""Statistics of each channel over a dataset: exact, mergeable, in memory that does not grow with the dataset.

They do not depend on the order in which images arrive, to the last bit: sums are kept as integers per binary exponent,
over the whole range of float64, and histograms are counts.
"""

from __future__ import annotations

import torch
from torch import Tensor

LOWEST, OCTAVES, PER_OCTAVE = -20, 48, 4  # the histogram: 2^-21 to 2^27, four bins to an octave, either sign
BINS = 2 * OCTAVES * PER_OCTAVE + 1  # negative from large to small, zero, positive from small to large
PIECE = 16  # bits of a mantissa that are summed together, in groups of as many exponents: 2^32 images fit an integer
PIECES = {torch.float64: 4, torch.float32: 2}  # that a mantissa fills; 1 for the others
SHIFT = 1073 + PIECES[torch.float64] * PIECE  # float64's least exponent, of a mantissa's last piece, becomes zero
GROUPS = (SHIFT + 1024) // PIECE + 1


class RunningStatistics:
    """Statistics of the strongest unit of each image, per channel of a layer.

    Attributes:
        fired: Number of images on which it is above zero, (channels,).
        maximum: Its maximum, (channels,).
        sums: Its sum, as integers per group of exponents, (channels, groups).
        histogram: Number of images per bin, (channels, bins); see `bin_edges`.
    """

    def __init__(self, channels: int, device: torch.device | None = None) -> None:
        self.fired = torch.zeros(channels, dtype=torch.long, device=device)
        self.maximum = torch.full((channels,), -torch.inf, dtype=torch.float64, device=device)
        self.sums = torch.zeros(channels, GROUPS, dtype=torch.long, device=device)
        self.histogram = torch.zeros(channels, BINS, dtype=torch.int32, device=device)

    def add(self, maxima: Tensor) -> None:
        """Add images by the activation of their strongest unit, (channels, images), without a read by the host."""
        values = maxima.double()
        self.fired += (values > 0).sum(1)
        self.maximum.copy_(torch.maximum(self.maximum, values.amax(1)))
        mantissa, exponent = torch.frexp(values)
        exponent = exponent.long()
        self._add_to_sums(mantissa, exponent, PIECES.get(maxima.dtype, 1))
        bins = _bins(values, mantissa, exponent)
        self.histogram.scatter_add_(1, bins, torch.ones_like(bins, dtype=torch.int32))

    def _add_to_sums(self, mantissa: Tensor, exponent: Tensor, pieces: int) -> None:
        rest, place = mantissa, exponent + SHIFT
        for _ in range(pieces):
            piece = (rest * 2**PIECE).trunc()
            self.sums.scatter_add_(1, place // PIECE, piece.long() << place % PIECE)
            rest, place = rest * 2**PIECE - piece, place - PIECE

    def merge(self, other: RunningStatistics) -> None:
        """Add the statistics of other images."""
        self.fired += other.fired
        self.sums += other.sums
        self.histogram += other.histogram
        self.maximum.copy_(torch.maximum(self.maximum, other.maximum))

    def mean(self, count: int) -> Tensor:
        """The mean over `count` images, (channels,), exact before it is rounded once."""
        totals = [0] * len(self.sums)
        occupied = self.sums.nonzero()
        for (channel, group), total in zip(occupied.tolist(), self.sums[tuple(occupied.T)].tolist(), strict=True):
            totals[channel] += total << group * PIECE
        divisor = max(1, count) << SHIFT + PIECE
        return torch.tensor([total / divisor for total in totals], dtype=torch.float64)


def _bins(values: Tensor, mantissa: Tensor, exponent: Tensor) -> Tensor:
    """The histogram's bin of each value."""
    octave = (exponent - LOWEST).clamp(0, OCTAVES - 1)
    fine = octave * PER_OCTAVE + ((mantissa.abs() * 2 - 1) * PER_OCTAVE).long().clamp(0, PER_OCTAVE - 1)
    signed = torch.where(values > 0, OCTAVES * PER_OCTAVE + 1 + fine, OCTAVES * PER_OCTAVE - 1 - fine)
    return torch.where(exponent < LOWEST, OCTAVES * PER_OCTAVE, signed)


def bin_edges() -> Tensor:
    """The edges of the bins, (BINS + 1,), rising; zero and the numbers next to it lie in the middle bin."""
    fine = torch.arange(OCTAVES * PER_OCTAVE, dtype=torch.float64)
    sizes = 2.0 ** (LOWEST + torch.floor(fine / PER_OCTAVE) - 1) * (1 + (fine % PER_OCTAVE) / PER_OCTAVE)
    end = torch.tensor([torch.inf], dtype=torch.float64)
    return torch.cat([-end, -sizes.flip(0), sizes, end])
