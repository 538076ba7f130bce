"""Whether vectors fall into two groups, or are strung out without a gap.

Two-means splits any vectors, and a split of what varies without a gap, such as strokes of every length, looks clear.
So the question is whether anything lies between: a unit at the edge of its group is near some of the other group. The
separation compares ranks of distances only, so it means the same in any number of dimensions.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

TWO_MEANS_STEPS = 20  # of two-means, at most
FEWEST_SHARE = 0.1  # of the vectors, in the smaller group; fewer are outliers
FEWEST_DRAWN = 4000  # strings of places without a gap
DRAWN_PER_CHANNEL = 40  # so that one of so many channels can be beyond chance after Holm's correction
ROUNDED = 6  # decimals of cosines, beyond which they are the same
DENSITY = 0.7  # both parameters of the beta distribution of places without a gap; found by simulation
PLACES_AT_ONCE = 2**22  # pairs of places, in which distances are compared


class Groups(NamedTuple):
    """A split into two groups.

    Attributes:
        labels: (n,), 0 for the larger group and 1 for the other one.
        separation: How far the groups are apart; see `separations`.
        expected: The mean of the same of places that are strung out without a gap.
        p: How likely these are to be so far apart; 1 if the smaller group has less than a tenth of the vectors.
    """

    labels: Tensor
    separation: float
    expected: float
    p: float


def two_groups(vectors: Tensor, *, channels: int = 1, random_state: int = 0) -> Groups:
    """Split vectors by their directions, and say whether the groups are farther apart than without a gap.

    Args:
        vectors: (n, d); their lengths do not count.
        channels: Among how many channels p will be corrected.
        random_state: Seed of the places without a gap.
    """
    points = _directions(vectors.double())
    labels, likeness = _two_means(points[None])
    separation = float(separations(likeness, labels)[0])
    drawn = strung_out(len(points), max(FEWEST_DRAWN, DRAWN_PER_CHANNEL * channels), random_state)
    own = labels[0] if int(labels[0].sum()) * 2 <= len(points) else 1 - labels[0]
    p = float(1 + (drawn >= separation).sum()) / (1 + len(drawn))
    few = int(own.sum()) < FEWEST_SHARE * len(points)
    return Groups(own, separation, float(drawn.mean()), 1.0 if few else p)


def separations(likeness: Tensor, labels: Tensor) -> Tensor:
    """How far two groups are apart: what share of its group is nearer to a point than all of the other group.

    The mean over the points: 1 if each is nearer to all of its own group than to any of the other one. A point that is
    alone in its group counts as 0.

    Args:
        likeness: (sets, n, n), cosines, or any numbers that fall with the distance.
        labels: (sets, n), 0 or 1.

    Returns:
        (sets,).
    """
    likeness = likeness.round(decimals=ROUNDED)
    same = labels[:, :, None] == labels[:, None]
    itself = torch.eye(labels.shape[1], dtype=torch.bool, device=labels.device)
    nearest = likeness.masked_fill(same, -torch.inf).amax(2, keepdim=True)
    others = (same & ~itself).sum(2)
    nearer = ((likeness > nearest) & same & ~itself).sum(2)
    return torch.where(others > 0, nearer / others.clamp(min=1), 0.0).double().mean(1)


@functools.lru_cache(maxsize=8)
def strung_out(count: int, sets: int, seed: int) -> Tensor:
    """Separations, (sets,), of `count` places on a line without a gap, split by two-means.

    The places have a beta distribution, Beta(0.7, 0.7): somewhat denser at the ends, as pictures are of things that
    turn or grow. `python -m benchmarks.verdicts` measures how often what varies without a gap is separated more.
    """
    random = np.random.default_rng(seed)
    found = []
    step = max(1, PLACES_AT_ONCE // count**2)
    for start in range(0, sets, step):
        places = torch.from_numpy(random.beta(DENSITY, DENSITY, (min(step, sets - start), count)))
        distance = (places[:, :, None] - places[:, None]).abs()
        centres = torch.stack([places.amin(1), places.amax(1)], 1)
        for _ in range(TWO_MEANS_STEPS):
            high = places > centres.mean(1, keepdim=True)
            both = torch.stack([~high, high], 2).double()
            centres = (both * places[:, :, None]).sum(1) / both.sum(1)
        found.append(separations(-distance, high.long()))
    return torch.cat(found)


def _directions(vectors: Tensor) -> Tensor:
    lengths: Tensor = vectors.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return vectors / lengths


def _two_means(points: Tensor) -> tuple[Tensor, Tensor]:
    """Two-means on directions (sets, n, d), from the two furthest points; labels (sets, n), cosines (sets, n, n)."""
    likeness = points @ points.mT
    count = points.shape[1]
    furthest = likeness.flatten(1).argmin(1)
    pair = torch.stack([furthest // count, furthest % count], 1)
    centres = points.gather(1, pair[..., None].expand(-1, -1, points.shape[2]))
    for _ in range(TWO_MEANS_STEPS):
        labels = (points @ centres.mT).argmax(2)
        member = torch.nn.functional.one_hot(labels, 2).double()
        centres = _directions(member.mT @ points)
    return labels, likeness
