"""The test of reading in an atlas: do a channel's projections tell which of two images it has not shown fires it?

Images for the questions are drawn once for the whole atlas and scanned together. Of a channel, those are left out that
are among its strongest. One test of a channel takes no further run of the network.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Subset

from deconvviz import images
from deconvviz.atlas.progress import tell
from deconvviz.evidence.specificity import Reading
from deconvviz.intervals import FEWEST, LEVEL, binomial_tail, holm
from deconvviz.io.progress_bar import on_a_terminal
from deconvviz.mining.dataset_pictures import DatasetPictures
from deconvviz.mining.scan import scan
from deconvviz.net import DeconvNet
from deconvviz.reading.observers import OBSERVERS
from deconvviz.reading.pieces import UnitWindows, brightness_range
from deconvviz.reading.questions import QuestionSource
from deconvviz.results import TopActivations

IMAGES = 512  # for questions, at most
HELD_BYTES = 2**28  # of images in memory, one byte a value, at most
QUESTIONS = 20  # about a channel, at most
SAMPLED_IMAGES = 16  # images by which the range of brightness is known
PER_QUESTION = 5  # images at least, so that one of the strongest fifth stands against one of the lower half
EVEN_CHANCE = 0.5
NO_SHARE = float("nan")


class AskedChannel(NamedTuple):
    """A channel about which questions are asked.

    Attributes:
        layer: Name of its layer.
        channel: Its number.
        listed: Numbers of the images that its pictures are of.
    """

    layer: str
    channel: int
    listed: set[int]


class ChannelAnswers(NamedTuple):
    """Right answers of each observer about a channel, from several kinds of its pictures.

    Attributes:
        questions: Number of questions.
        right: Per observer and kind, how many answers were right; half of one for a tie.
    """

    questions: int
    right: dict[str, dict[str, float]]


class HeldOut:
    """Images of the dataset for questions about an atlas's channels."""

    def __init__(
        self,
        net: DeconvNet,
        data: Any,
        top: TopActivations,
        layers: Sequence[str],
        *,
        batch_size: int,
        progress: bool = False,
    ) -> None:
        """Draw and scan images.

        Args:
            net: The network.
            data: The dataset that was scanned, with items by number.
            top: What was found.
            layers: The layers of the atlas.
            batch_size: Number of images in a batch.
            progress: Say that images are scanned.
        """
        broken = {item.image for item in top.broken}
        drawn = torch.randperm(len(data), generator=torch.Generator("cpu").manual_seed(0), device="cpu").tolist()
        able = [number for number in drawn if number not in broken]
        pictures = DatasetPictures(net, data)
        size = pictures.load(able[0])[0].numel()
        self.numbers = able[: min(IMAGES, max(1, HELD_BYTES // size))]
        self._pictures, self._preprocess = DatasetPictures(net, Subset(data, self.numbers)), net.preprocess
        self._loading = threading.Lock()  # several threads ask
        self.found: TopActivations | None = None
        if layers and len(self.numbers) >= FEWEST * PER_QUESTION:
            part, count = Subset(data, self.numbers), len(self.numbers)
            bar = progress and on_a_terminal()
            if progress and not bar:
                tell(f"scanning {count} images for the test of reading")
            self.found = scan(
                net, part, layers=list(layers), k=count, batch_size=batch_size, workers=0, labels=False, progress=bar
            )

    @functools.cached_property
    def _range(self) -> tuple[float, float]:
        step = -(-len(self.numbers) // SAMPLED_IMAGES)
        return brightness_range([self._displayed(number) for number in range(0, len(self.numbers), step)])

    def _displayed(self, number: int) -> Tensor:
        return images.displayed(self._pictures.load(number)[0][None], self._preprocess)[0].float().cpu()

    @functools.cached_property
    def _seen(self) -> list[Tensor]:
        """All images as people see them, (C, H, W), bytes."""
        low, high = self._range
        shares = (((self._displayed(number) - low) / (high - low)).clamp(0, 1) for number in range(len(self.numbers)))
        return [(share * 255 + 0.5).to(torch.uint8) for share in shares]

    def picture(self, number: int) -> Tensor:
        """An image as people see it, (C, H, W) in [0, 1]."""
        with self._loading:
            seen = self._seen
        return seen[number].float() / 255

    def ask(
        self, asked: AskedChannel, windows: UnitWindows, dims: tuple[int, ...], pictures: Mapping[str, Tensor]
    ) -> ChannelAnswers | None:
        """Ask about a channel; None if there are too few images.

        Args:
            asked: The channel.
            windows: What the layer's units see.
            dims: The size of its maps.
            pictures: Pictures of each kind, (k, C, h, w) in [0, 1].
        """
        if self.found is None:
            return None
        kept = [place for place, number in enumerate(self.numbers) if number not in asked.listed]
        count = min(QUESTIONS, len(kept) // PER_QUESTION)
        if count < FEWEST:
            return None
        name, channel = asked.layer, asked.channel
        chosen = torch.isin(self.found.images[name][channel], torch.tensor(kept, device="cpu"))
        lists: dict[str, Any] = {k: {name: getattr(self.found, k)[name][channel, chosen][None]} for k in _LISTS}
        source = QuestionSource(
            found=dataclasses.replace(self.found, count=len(kept), **lists),
            layer=name,
            dims=dims,
            windows=windows,
            picture=self.picture,
            count=count,
            strongest=max(-(-len(kept) // 100), count),
        )
        questions = source.questions(0, torch.Generator("cpu").manual_seed(channel))
        if len(questions) < FEWEST:
            return None
        pieces = torch.cat([question.shown for question in questions])
        right: dict[str, dict[str, float]] = {}
        for observer, observe in OBSERVERS.items():
            likeness_with = observe(pieces)
            likeness = {kind: likeness_with(shown).view(-1, 2) for kind, shown in pictures.items()}
            picked = {kind: 0.5 + 0.5 * (each[:, 0] - each[:, 1]).sign() for kind, each in likeness.items()}
            right[observer] = {kind: float(each.sum()) for kind, each in picked.items()}
        return ChannelAnswers(len(questions), right)


_LISTS = ("values", "images", "positions")
FROM_OWN, FROM_OTHER, FROM_RANDOM = "own", "other", "random"


def readings(answers: Sequence[ChannelAnswers | None]) -> list[Reading | None]:
    """What the answers about a layer's channels say; the observer that did best on the whole layer speaks for all.

    Args:
        answers: Per channel the right answers from its own pictures ("own"), from another channel's ("other") and from
            those of random weights ("random"), where there are such.

    Returns:
        Per channel its reading, with probabilities corrected by Holm over channels and for the choice of an observer.
    """
    known = [one for one in answers if one is not None]
    if not known:
        return [None] * len(answers)
    best = max(OBSERVERS, key=lambda name: sum(one.right[name][FROM_OWN] / one.questions for one in known))
    adjusted = holm([NO_SHARE if one is None else _tail(one, best) for one in answers])
    pairs = zip(answers, adjusted, strict=True)
    return [None if one is None else _reading(one, best, p, len(known)) for one, p in pairs]


def _tail(one: ChannelAnswers, observer: str) -> float:
    """The probability of a channel's score by chance, corrected for the choice of the observer."""
    return min(1.0, len(OBSERVERS) * binomial_tail(int(one.right[observer][FROM_OWN]), one.questions, EVEN_CHANCE))


def _reading(one: ChannelAnswers, observer: str, p: float, channels: int) -> Reading:
    shares = {kind: count / one.questions for kind, count in one.right[observer].items()}
    perfect = len(OBSERVERS) * channels * EVEN_CHANCE**one.questions
    return Reading(
        score=shares[FROM_OWN],
        other=shares.get(FROM_OTHER, NO_SHARE),
        random=shares.get(FROM_RANDOM, NO_SHARE),
        questions=one.questions,
        p=p,
        able=perfect <= LEVEL,
    )
