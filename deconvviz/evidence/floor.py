"""The floor of a similarity: how alike pictures are that have neither the unit nor the image in common.

On the images that are judged, a unit's picture is compared with that of another unit, on another image, and of another
unit on another image. A claim is about the distance from the last, not from zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from deconvviz.evidence.methods import Attribution, ChannelPosition, Judged, mean_cosine
from deconvviz.evidence.metrics import cosine
from deconvviz.results.evidence import Floor


class Controls(NamedTuple):
    """Cosines of each image's picture with those of the controls, (images,) each.

    Attributes:
        other_unit: Another unit, same image.
        other_image: Same unit, another image.
        both: Another unit, another image: the floor.
    """

    other_unit: Tensor
    other_image: Tensor
    both: Tensor

    def floor(self) -> Floor:
        """The means over images."""
        return Floor(*map(mean_cosine, self))


def controls(judged: Judged, method: Attribution, own: Sequence[Tensor]) -> Controls:
    """The cosines of pictures with those of the 2 x 2 controls.

    The other unit is the strongest other channel at the same position, the other image the next one. Where there is no
    other channel or image, and where a picture is blank, the cosine is NaN.

    Args:
        judged: The units.
        method: The method.
        own: Its pictures of the units.
    """
    others, next_images = _other_units(judged), judged.x.roll(-1, 0)
    nothing = torch.full((len(own),), math.nan, dtype=torch.float64)
    alone = len(own) < 2
    return Controls(
        nothing if others is None else _cosines(own, judged.pictures(method, places=others)),
        nothing if alone else _cosines(own, judged.pictures(method, x=next_images)),
        nothing if alone or others is None else _cosines(own, judged.pictures(method, x=next_images, places=others)),
    )


def _other_units(judged: Judged) -> list[ChannelPosition] | None:
    """Each image's strongest other channel at the unit's position; None for a layer with one channel."""
    if judged.activations.shape[1] < 2:
        return None
    others: list[ChannelPosition] = []
    for activations, (channel, position) in zip(judged.activations, judged.places, strict=True):
        values = activations.movedim(0, -1)[tuple(position)].clone()
        values[channel] = -math.inf
        others.append((int(values.argmax()), position))
    return others


def _cosines(pictures: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    return torch.tensor([cosine(a, b) for a, b in zip(pictures, others, strict=True)], dtype=torch.float64)


def distance_from_floor(value: float, floor: float) -> float:
    """How far a cosine lies between the floor (0) and equality (1).

    Example:
        >>> distance_from_floor(0.75, 0.5)
        0.5
    """
    return (value - floor) / (1 - floor) if floor < 1 else 0.0
