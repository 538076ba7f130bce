"""Questions of a test of reading: pairs of pieces of held-out images, one of which fires the channel.

They are chosen from the channel's activations and the contrast of the pieces alone. Which pictures a reader will see
is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from deconvviz.reading.pieces import BLANK, UnitWindows, contrast, equalised, small
from deconvviz.results import TopActivations

CANDIDATES = 8  # pieces of the lower half, per question, among which one of like contrast is looked for


class Piece(NamedTuple):
    """A piece of an image: the image's number, the unit's position, and the channel's activation there."""

    image: int
    position: tuple[int, ...]
    activation: float


class AskedQuestion(NamedTuple):
    """A pair of pieces, first the one that fires the channel.

    Attributes:
        pieces: Where they are.
        shown: (2, C, h, w), what they look like, with equal contrast.
        contrasts: Their contrasts before.
    """

    pieces: tuple[Piece, Piece]
    shown: Tensor
    contrasts: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class QuestionSource:
    """Where questions come from.

    Attributes:
        found: A scan of all held-out images, with every image in each channel's list.
        layer: The layer.
        dims: The size of a map.
        windows: What the layer's units see.
        picture: The held-out image of a number, as people see it, (C, H, W).
        count: Number of questions per channel.
        strongest: Number of images, the strongest of a channel, that may fire it in a question.
    """

    found: TopActivations
    layer: str
    dims: tuple[int, ...]
    windows: UnitWindows
    picture: Callable[[int], Tensor]
    count: int
    strongest: int

    def questions(self, channel: int, generator: torch.Generator) -> list[AskedQuestion]:
        """A channel's questions, no image twice; fewer where contrasts cannot be matched."""
        strong, weak = self._strong(channel, generator), self._weak(channel, generator)
        shown = {piece: self._shown(piece) for piece in (*strong, *weak)}
        contrasts = {piece: float(contrast(picture[None])) for piece, picture in shown.items()}
        left, found = [piece for piece in weak if contrasts[piece] > BLANK], []
        for piece in strong:
            weaker = [other for other in left if other.activation < piece.activation]
            if not weaker or contrasts[piece] <= BLANK:
                continue
            other = min(weaker, key=lambda one: abs(contrasts[one] - contrasts[piece]))
            left.remove(other)
            pair = torch.stack(equalised(shown[piece], shown[other]))
            found.append(AskedQuestion((piece, other), pair, (contrasts[piece], contrasts[other])))
        return found

    def _strong(self, channel: int, generator: torch.Generator) -> list[Piece]:
        """Some of the strongest images, each where it fires the channel most."""
        ranks = torch.randperm(self.strongest, generator=generator)[: self.count].tolist()
        return [piece for piece in (self._piece(channel, rank) for rank in ranks) if piece.activation > 0]

    def _weak(self, channel: int, generator: torch.Generator) -> list[Piece]:
        """Some of the lower half of the images, each where it fires the channel most.

        A map that is zero everywhere has no such place: then it is a random one.
        """
        images = self.found.count
        ranks = torch.randperm(images // 2, generator=generator)[: CANDIDATES * self.count] + images - images // 2
        pieces = [self._piece(channel, rank) for rank in ranks.tolist()]
        return [
            piece._replace(position=self._anywhere(generator)) if piece.activation == 0 else piece for piece in pieces
        ]

    def _anywhere(self, generator: torch.Generator) -> tuple[int, ...]:
        return anywhere(self.dims, generator)

    def _piece(self, channel: int, rank: int) -> Piece:
        image, position = self.found.images[self.layer][channel, rank], self.found.positions[self.layer][channel, rank]
        value = self.found.values[self.layer][channel, rank]
        return Piece(int(image), tuple(position.tolist()), float(value))

    def _shown(self, piece: Piece) -> Tensor:
        return small(self.windows.cut(self.picture(piece.image), piece.position)[None])[0]


def anywhere(dims: Sequence[int], generator: torch.Generator) -> tuple[int, ...]:
    """A random position in a map."""
    return tuple(int(torch.randint(size, (1,), generator=generator)) for size in dims)
