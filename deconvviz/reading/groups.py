"""Whether pictures fall into two groups, or are strung out without a gap.

Two-means splits any pictures, and a split of what varies without a gap, such as strokes of every length, looks clear.
So the question is whether anything lies between: a unit at the edge of its group is near some of the other group. The
separation compares ranks of distances only, so it means the same in any number of dimensions.

A unit above a pooling layer answers to one thing wherever it lies in the pooled square, and its pictures show it at as
many places, with none between. So pictures are compared at the shift at which they are most alike.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from deconvviz.results.mixed import OUTLIERS

TWO_MEANS_STEPS = 20  # of two-means, at most
FEWEST_DRAWN = 4000  # strings of places without a gap
DRAWN_PER_CHANNEL = 40  # so that one of so many channels can be beyond chance after Holm's correction
SHARED_LENGTH = 0.75  # of a picture's, which lies at least in what overlaps
ROUNDED = 6  # decimals of cosines, beyond which they are the same
LOOK_SAME = 0.99  # the cosine from which pictures look the same
DENSITY = 0.6  # both parameters of the beta distribution of places without a gap; found by simulation
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


def two_groups(likeness: Tensor, *, channels: int = 1, random_state: int = 0) -> Groups:
    """Split pictures by how alike they are, and say whether the groups are farther apart than without a gap.

    Args:
        likeness: (n, n), their cosines, as `likenesses` finds them.
        channels: Among how many channels p will be corrected.
        random_state: Seed of the places without a gap.
    """
    labels = _two_means(likeness)
    count = len(labels)
    separation = float(separations(likeness.clamp(max=LOOK_SAME)[None], labels[None])[0])
    drawn = strung_out(count, max(FEWEST_DRAWN, DRAWN_PER_CHANNEL * channels), random_state)
    own = labels if int(labels.sum()) * 2 <= count else 1 - labels
    p = float(1 + (drawn >= separation).sum()) / (1 + len(drawn))
    few = int(own.sum()) < OUTLIERS * count
    return Groups(own, separation, float(drawn.mean()), 1.0 if few else p)


def likenesses(pictures: Tensor, reach: tuple[int, int] = (0, 0)) -> Tensor:
    """The cosines of pictures, each pair at the shift at which they are most alike.

    Of shifted pictures only what overlaps is compared, and only if it has three quarters of either's length.

    Args:
        pictures: (n, C, h, w); their lengths do not count.
        reach: By how many pixels they are shifted at most, down and across; less than their sides.

    Returns:
        (n, n), float64.
    """
    height, width = pictures.shape[-2:]
    down, right = reach
    flat = pictures.double().flatten(1)
    given = (flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-12)).view(pictures.shape)
    best: Tensor = given.flatten(1) @ given.flatten(1).T
    for top in range(down + 1):  # a shift the other way is the same of the pair in the other order
        for left in range(-right, right + 1):
            one = given[..., top:, max(0, left) : width + min(0, left)].flatten(1)
            other = given[..., : height - top, max(0, -left) : width + min(0, -left)].flatten(1)
            lengths = one.norm(dim=1)[:, None], other.norm(dim=1)
            alike = one @ other.T / (lengths[0] * lengths[1]).clamp(min=1e-12)
            alike = alike.where(torch.minimum(*lengths) >= SHARED_LENGTH, -1.0)
            best = torch.maximum(best, torch.maximum(alike, alike.T))
    return best


def separations(likeness: Tensor, labels: Tensor) -> Tensor:
    """How far two groups are apart: what share of its group is nearer to a point than all of the other group.

    The mean over the points: 1 if each is nearer to all of its own group than to any of the other one. A point that is
    alone in its group counts as 0, as do all points if there is one group only.

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
    nearer = ((likeness > nearest) & same & ~itself & nearest.isfinite()).sum(2)
    return torch.where(others > 0, nearer / others.clamp(min=1), 0.0).double().mean(1)


@functools.lru_cache(maxsize=8)
def strung_out(count: int, sets: int, seed: int) -> Tensor:
    """Separations, (sets,), of `count` places on a line without a gap, split by two-means.

    The places have a beta distribution, Beta(0.6, 0.6): somewhat denser at the ends, as pictures are of things that
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


def _two_means(likeness: Tensor) -> Tensor:
    """Two-means on directions, from the two furthest; of their cosines (n, n) alone, labels (n,).

    The cosine of a point with a centre, which is the mean direction of its points, is the sum of its cosines with
    these, over the length of the sum of them.
    """
    count = len(likeness)
    furthest = int(likeness.argmin())
    labels = likeness[:, [furthest // count, furthest % count]].argmax(1)
    for _ in range(TWO_MEANS_STEPS):
        member = torch.nn.functional.one_hot(labels, 2).to(likeness)
        sums = likeness @ member
        lengths = (member.T @ sums).diagonal().clamp(min=1e-12).sqrt()
        labels = (sums / lengths).argmax(1)
    return labels
