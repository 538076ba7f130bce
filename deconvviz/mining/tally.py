"""What a scan keeps of one layer, in memory that does not grow with the dataset.

Every number here is exact and independent of the order in which images arrive, so that ranks and interrupted runs
can be merged to the same bits: the strongest images are ordered by value and then by number, sums of values are kept
as integers per binary exponent, over the whole range of float64, and histograms are counts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deconvviz.recording.restoring import Restored

LOWEST, OCTAVES, PER_OCTAVE = -20, 48, 4  # the histogram: 2^-21 to 2^27, four bins to an octave, either sign
BINS = 2 * OCTAVES * PER_OCTAVE + 1  # negative from large to small, zero, positive from small to large
PIECE = 16  # bits of a mantissa that are summed together, in groups of as many exponents: 2^32 images fit an integer
PIECES = 4  # of the 53 bits of a float64
SHIFT = 1073 + 4 * PIECE  # float64's least exponent, of a mantissa's last piece, becomes zero
GROUPS = (SHIFT + 1024) // PIECE + 1
NAMES = ("values", "images", "positions", "fired", "sums", "histogram", "maximum", "dimensions")


class Tally:
    """The k strongest units of each channel, and statistics over the strongest unit of each image.

    values, images, positions: (channels, k): activation, number of the image (-1 for none), position as one number.
    dimensions: of a position, () long.
    fired: (channels,), on how many images the strongest unit was above zero. maximum: (channels,).
    sums: (channels, exponent groups) and histogram: (channels, bins), of the strongest unit of each image.
    """

    def __init__(self, channels: int, k: int, dimensions: int) -> None:
        self.k = k
        self.dimensions = torch.tensor(dimensions)
        self.values = torch.full((channels, k), -torch.inf, dtype=torch.float64)
        self.images = torch.full((channels, k), -1, dtype=torch.long)
        self.positions = torch.full((channels, k), -1, dtype=torch.long)
        self.fired = torch.zeros(channels, dtype=torch.long)
        self.maximum = torch.full((channels,), -torch.inf, dtype=torch.float64)
        self.sums = torch.zeros(channels, GROUPS, dtype=torch.long)
        self.histogram = torch.zeros(channels, BINS, dtype=torch.int32)

    def may_enter(self, values: Tensor, images: Tensor) -> Tensor:
        """Which of the values (N, channels), of images (N,) or (N, channels), would be among the strongest."""
        images = images[:, None] if images.ndim == 1 else images
        lowest, last = self.values[:, -1], self.images[:, -1]
        return (values > lowest) | ((values == lowest) & ((images < last) | (last < 0)))

    def enter(self, values: Tensor, images: Tensor, positions: Tensor) -> None:
        """Candidates for the strongest: values (n, channels), of images (n,) or (n, channels), at positions."""
        touched = self.may_enter(values, images).any(0)
        given = (values, images[:, None].expand_as(values) if images.ndim == 1 else images, positions)
        kept = (self.values, self.images, self.positions)
        both = [
            torch.cat([mine[touched], theirs.T[touched].to(mine)], 1) for mine, theirs in zip(kept, given, strict=True)
        ]
        order = both[1].argsort(dim=1, stable=True)  # by number, then by value: ties go to the lower number
        order = order.gather(1, both[0].gather(1, order).argsort(dim=1, descending=True, stable=True))[:, : self.k]
        for mine, candidates in zip(kept, both, strict=True):
            mine[touched] = candidates.gather(1, order)

    def count(self, values: Tensor) -> None:
        """Statistics of the strongest unit of each image, (N, channels)."""
        values = values.double().T
        self.fired += (values > 0).sum(1)
        self.maximum = torch.maximum(self.maximum, values.amax(1))
        mantissa, exponent = torch.frexp(values)
        exponent = exponent.long()
        rest, place = mantissa, exponent + SHIFT
        for _ in range(PIECES):  # float32's 24 bits fill the first two
            piece = (rest * 2**PIECE).trunc()
            self.sums.scatter_add_(1, place // PIECE, piece.long() << place % PIECE)
            rest, place = rest * 2**PIECE - piece, place - PIECE
            if not rest.any():
                break
        octave = (exponent - LOWEST).clamp(0, OCTAVES - 1)
        fine = octave * PER_OCTAVE + ((mantissa.abs() * 2 - 1) * PER_OCTAVE).long().clamp(0, PER_OCTAVE - 1)
        side = torch.where(values > 0, OCTAVES * PER_OCTAVE + 1 + fine, OCTAVES * PER_OCTAVE - 1 - fine)
        bins = torch.where(exponent < LOWEST, OCTAVES * PER_OCTAVE, side)
        self.histogram.scatter_add_(1, bins, torch.ones_like(bins, dtype=torch.int32))

    def merge(self, other: Tally) -> None:
        """Add what another tally, of other images, has seen."""
        self.enter(other.values.T, other.images.T, other.positions.T)
        self.fired += other.fired
        self.sums += other.sums
        self.histogram += other.histogram
        self.maximum = torch.maximum(self.maximum, other.maximum)

    def mean(self, count: int) -> Tensor:
        """The mean of the strongest unit over `count` images, (channels,), rounded once."""
        totals = [0] * len(self.sums)
        occupied = self.sums.nonzero()
        for (channel, group), held in zip(occupied.tolist(), self.sums[tuple(occupied.T)].tolist(), strict=True):
            totals[channel] += held << group * PIECE
        whole = max(1, count) << SHIFT + PIECE
        return torch.tensor([total / whole for total in totals], dtype=torch.float64)

    def tensors(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in NAMES}

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> Tally:
        """What `tensors` gave. Raises ValueError for tensors that no tally has."""
        channels, k = tensors["values"].shape
        with Restored(torch.device("meta")):  # shapes and types, and no memory: the tensors may be anybody's
            expected = cls(channels, k, 0).tensors()
        for name, like in expected.items():
            if (tensors[name].shape, tensors[name].dtype) != (like.shape, like.dtype):
                raise ValueError(f"{name} is {tuple(tensors[name].shape)} of {tensors[name].dtype}")
        dimensions = int(tensors["dimensions"])
        if k < 1 or not 0 <= dimensions < 63:
            raise ValueError(f"lists of {k}, positions of {dimensions} dimensions")
        tally = cls(0, k, dimensions)
        for name in NAMES:
            setattr(tally, name, tensors[name].clone())
        return tally


def bin_edges() -> Tensor:
    """The edges of the bins, (BINS + 1,), rising; zero and what is next to it lie in the middle one."""
    fine = torch.arange(OCTAVES * PER_OCTAVE, dtype=torch.float64)
    sizes = 2.0 ** (LOWEST + torch.floor(fine / PER_OCTAVE) - 1) * (1 + (fine % PER_OCTAVE) / PER_OCTAVE)
    end = torch.tensor([torch.inf], dtype=torch.float64)
    return torch.cat([-end, -sizes.flip(0), sizes, end])
