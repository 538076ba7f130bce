"""Is a channel's projection specific to the channel? One verdict, from pictures of its strongest units.

Each picture is compared by signed cosine with three controls: the picture of another unit on the same image, of the
same unit on another image, and of another unit on another image. The last is the floor: how alike pictures are that
share neither. A test of reading says whether the pictures predict what fires the channel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from deconvviz.evidence.floor import Controls, distance_from_floor
from deconvviz.evidence.limits import ALIKE, NOT_JUDGED, NOT_SPECIFIC, PARTLY, SPECIFIC
from deconvviz.evidence.metrics import cosine, mean_of_known
from deconvviz.intervals import FEWEST, LEVEL, paired_difference

UNMEASURED = math.nan


class Reading(NamedTuple):
    """How a channel's pictures did in a test of reading.

    Attributes:
        score: Share of questions that an observer answered rightly from the channel's own pictures.
        other: The same from another channel's pictures; NaN if there is none.
        random: The same from pictures of the channel with random weights; NaN if there are none.
        questions: Number of questions.
        p: Probability of such a score by chance, corrected for the number of observers and of channels.
        able: Whether a perfect score would be above chance, corrected in the same way.
    """

    score: float
    other: float
    random: float
    questions: int
    p: float
    able: bool = True


@dataclass(frozen=True, kw_only=True)
class Specificity:
    """What is known of a channel's projections; NaN where nothing could be measured.

    Attributes:
        verdict: "specific", "partly", "not" or "none" (not judged).
        images: Images on which the picture could be compared with that of another unit.
        other_unit: Mean cosine with another unit's picture on the same image.
        other_image: Mean cosine with the unit's picture on another image.
        floor: Mean cosine with another unit's picture on another image.
        random: Mean cosine with the picture of the same unit with random weights.
        reading: The test of reading, if there were enough other images.
    """

    verdict: str = NOT_JUDGED
    images: int = 0
    other_unit: float = UNMEASURED
    other_image: float = UNMEASURED
    floor: float = UNMEASURED
    random: float = UNMEASURED
    reading: Reading | None = None

    @property
    def share(self) -> float:
        """How far the cosine with another unit's picture lies between the floor (0) and equality (1)."""
        return UNMEASURED if math.isnan(self.floor) else distance_from_floor(self.other_unit, self.floor)


def specificity(
    own: Sequence[Tensor],
    neighbours: Sequence[Tensor | None],
    random: Sequence[Tensor | None],
    reading: Reading | None = None,
) -> Specificity:
    """Judge a channel's projections.

    Projections are *not specific* if they are nearer to the pictures of other units on the same images than the second
    limit of `ALIKE`, counted from the floor, or if the floor itself is above that limit, since then all pictures are
    alike. They are *partly* specific if nearer than the first limit. Otherwise they are *specific* if the test of
    reading is passed; where that test is missing, or could not be passed, if they recur on other images; else *partly*.
    There is no verdict on fewer than 8 images.

    Args:
        own: The signed pictures of the channel's units, (C, h, w) each, on one image each and of one shape.
        neighbours: Those of another unit on the same images; None where there is none.
        random: Those of the same units with random weights.
        reading: The test of reading.

    Example:
        >>> pictures = torch.eye(9).view(9, 1, 3, 3)
        >>> specificity(pictures, 2 * pictures, [None] * 9).verdict
        'not'
    """
    found = controls(own, neighbours)
    known = Specificity(
        images=int((~found.other_unit.isnan()).sum()),
        other_unit=mean_of_known(found.other_unit.tolist()),
        other_image=mean_of_known(found.other_image.tolist()),
        floor=mean_of_known(found.both.tolist()),
        random=mean_of_known(_cosines(own, random).tolist()),
        reading=reading,
    )
    return Specificity(**{**vars(known), "verdict": _verdict(found, known)})


def controls(own: Sequence[Tensor], neighbours: Sequence[Tensor | None]) -> Controls:
    """The cosines of each picture with its controls; the other image is the next one."""
    further = [*range(1, len(own)), 0] if len(own) > 1 else []
    nothing = torch.full((len(own),), UNMEASURED, dtype=torch.float64)
    return Controls(
        _cosines(own, neighbours),
        _cosines(own, [own[n] for n in further]) if further else nothing,
        _cosines(own, [neighbours[n] for n in further]) if further else nothing,
    )


def _cosines(own: Sequence[Tensor], others: Sequence[Tensor | None]) -> Tensor:
    found = [UNMEASURED if other is None else cosine(one, other) for one, other in zip(own, others, strict=True)]
    return torch.tensor(found, dtype=torch.float64, device="cpu")


def _verdict(found: Controls, known: Specificity) -> str:
    shared = paired_difference(found.other_unit, found.both)
    if shared.size < FEWEST:
        return NOT_JUDGED
    if known.floor > ALIKE.limits[1]:
        return NOT_SPECIFIC
    if shared.mean > 0 and shared.p <= LEVEL and known.share > ALIKE.limits[0]:
        return NOT_SPECIFIC if known.share > ALIKE.limits[1] else PARTLY
    if known.reading is not None and known.reading.able:
        return SPECIFIC if known.reading.p <= LEVEL else PARTLY
    recurs = paired_difference(found.other_image, found.both)
    return SPECIFIC if recurs.mean > 0 and recurs.p <= LEVEL else PARTLY
