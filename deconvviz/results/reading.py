"""The result of a test of reading: scores per observer and condition, and questions as a person would see them."""

from __future__ import annotations

import functools
import importlib
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from deconvviz.arguments import PATH, takes
from deconvviz.intervals import (
    COSINES,
    FEWEST,
    LEVEL,
    Difference,
    Interval,
    binomial_tail,
    holm,
    mean_interval,
    mean_share_interval,
    paired_difference,
    share_interval,
)
from deconvviz.results.base import Finding, kind, plain
from deconvviz.results.top_activations import Broken
from deconvviz.results.words import counted

PATCHES, ANOTHER, RANDOM = "patches", "another channel", "random images"
CHANCE_SCORE = 0.5
AS_WELL = 0.1  # another channel scores as well if its own cannot be better by this much


@kind
@dataclass(frozen=True, kw_only=True)
class ReadingQuestion:
    """One question of a test of reading: which of two pieces of unseen images fires the channel?

    Attributes:
        channel: The channel.
        pictures: Per condition (references, C, h, w), bytes, what the channel's pictures are. Signed pictures have zero
            at 128.
        choices: (2, C, h, w), bytes, the two pieces, with the same contrast.
        answer: 0 or 1, the piece that fires the channel.
        names: The names of the two images.
        activations: The channel's activation at the two pieces.
        right: Per observer and condition, 1 for a right answer, 0.5 for a tie and 0 for a wrong one.
    """

    channel: int
    pictures: dict[str, torch.Tensor]
    choices: torch.Tensor
    answer: int
    names: tuple[str, str]
    activations: tuple[float, float]
    right: dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class ReadingTest(Finding):
    """How well a channel's pictures tell which of two unseen images fires it, per observer and condition.

    Attributes:
        layer: The layer's name.
        style: The network's style.
        channels: The channels that were tested.
        untested: Channels that fire on too few images, or tell no images apart.
        conditions: What stands for a channel: "patches", projections by style, and so on.
        signed: Those of the conditions whose pictures are signed.
        right: Per observer (conditions, channels, questions): 1 for a right answer, 0.5 for a tie, 0 for a wrong one,
            NaN for no question. All conditions answer the same questions.
        images: (channels, questions, 2), numbers of the image that fires the channel and of the other one among the
            held-out images; -1 for none.
        activations: (channels, questions, 2), the channel's activations at the two pieces.
        contrasts: (channels, questions, 2), standard deviations of the two pieces before they were made equal.
        mining: Number of images among which the pictures were found.
        held_out: Number of held-out images.
        strongest: Number of held-out images, the strongest of each channel, of which a question takes one.
        examples: Some of the questions, with their pictures.
        stability: (channels, 2), how alike the mean of a channel's pictures in the network's style is to that of its
            strongest units among the held-out images, each picture on its own scale: the cosine, and the mean cosine
            with those of the other tested channels. NaN where the channel fires on too few held-out images, or pictures
            in the network's style were not tested; empty in files of earlier versions.
        broken: Items that could not be read.
    """

    drawn_by = "deconvviz.figures.reading"

    layer: str
    style: str
    channels: tuple[int, ...]
    untested: tuple[int, ...]
    conditions: tuple[str, ...]
    signed: tuple[str, ...]
    right: dict[str, torch.Tensor]
    images: torch.Tensor
    activations: torch.Tensor
    contrasts: torch.Tensor
    mining: int
    held_out: int
    strongest: int
    examples: tuple[ReadingQuestion, ...]
    stability: torch.Tensor = field(default_factory=lambda: torch.zeros(0, 2, dtype=torch.float64, device="cpu"))
    broken: tuple[Broken, ...] = ()

    @property
    def observers(self) -> tuple[str, ...]:
        return tuple(self.right)

    def by_channel(self, observer: str, condition: str) -> torch.Tensor:
        """(channels,), the share of right answers; NaN for a channel without questions."""
        return self._answers(observer, condition).nanmean(1)

    def score(self, observer: str, condition: str) -> Interval:
        """The mean share of right answers over channels, with its interval; over questions if there is one channel.

        The interval is Wilson's with the spread of channels (`deconvviz.intervals.mean_share_interval`), or over the
        questions of a single channel. It has no ends for 2 to 7 channels.
        """
        answers = self._answers(observer, condition)
        known = answers[~answers.isnan()]
        if len(self.channels) == 1:
            return share_interval(round(float(known.sum())), len(known))
        found = mean_share_interval(self.by_channel(observer, condition), len(known))
        return found if found.size >= FEWEST else found._replace(low=math.nan, high=math.nan)

    def difference(self, observer: str, condition: str, other: str = PATCHES) -> Difference:
        """How much better one condition is than another, on the same questions: paired over channels, or questions."""
        if len(self.channels) == 1:
            pair = self._answers(observer, condition)[0], self._answers(observer, other)[0]
        else:
            pair = self.by_channel(observer, condition), self.by_channel(observer, other)
        found = paired_difference(*pair)
        few = found.size < FEWEST
        return found._replace(low=math.nan, high=math.nan, p=math.nan) if few else found

    def channel_scores(self, observer: str | None = None, condition: str | None = None) -> list[dict[str, Any]]:
        """One row per channel: its score with Wilson's interval over its questions, and whether that is above chance.

        Args:
            observer: One of `observers`; None for the first.
            condition: One of `conditions`; None for projections in the network's own style, or else the first.

        Returns:
            Rows with "channel", "score", "low", "high", "questions", "p" (Holm over the channels), "reads" (True,
            False, or None for fewer than 8 questions), and the channel's two numbers of `stability`, "stability" and
            "stability of others".
        """
        answers = self._answers(observer or self.observers[0], condition or self.main)
        shares = [share_interval(int(row.nansum()), int((~row.isnan()).sum())) for row in answers]
        tails = [
            binomial_tail(int(row.nansum()), one.size, CHANCE_SCORE) if one.size >= FEWEST else math.nan
            for row, one in zip(answers, shares, strict=True)
        ]
        return [
            {
                "channel": channel,
                "score": one.mean,
                "low": one.low,
                "high": one.high,
                "questions": one.size,
                "p": p,
                "reads": None if math.isnan(p) else p <= LEVEL,
                "stability": own,
                "stability of others": others,
            }
            for channel, one, p, (own, others) in zip(
                self.channels, shares, holm(tails), self._stability().tolist(), strict=True
            )
        ]

    @property
    def main(self) -> str:
        """The condition of which the verdict speaks: projections in the network's style, if they were tested."""
        return self.style if self.style in self.conditions else self.conditions[0]

    def table(self) -> list[dict[str, Any]]:
        """One row per observer and condition; p is that of the difference from patches, by Holm over the conditions."""
        rows: list[dict[str, Any]] = []
        for observer in self.observers:
            others = [name for name in self.conditions if name != PATCHES and PATCHES in self.conditions]
            differences = {name: self.difference(observer, name) for name in others}
            adjusted = dict(zip(others, holm([differences[name].p for name in others]), strict=True))
            for condition in self.conditions:
                score, than = self.score(observer, condition), differences.get(condition)
                rows.append(
                    {
                        "observer": observer,
                        "pictures": condition,
                        "score": score.mean,
                        "low": score.low,
                        "high": score.high,
                        "minus patches": than.mean if than else math.nan,
                        "p": adjusted.get(condition, math.nan),
                    }
                )
        return rows

    def as_json(self) -> dict[str, Any]:
        facts = {"channels": plain(self.channel_scores()) if self.channels else [], "untested": list(self.untested)}
        return {**super().as_json(), "layer": self.layer, **facts}

    @functools.cached_property
    def verdict(self) -> str:  # type: ignore[override]
        """What the scores mean, in words."""
        observers = self.observers if self.channels else ()
        return " ".join([*self._cautions(), *map(self._verdict_of, observers), *self._stability_said()])

    def _cautions(self) -> list[str]:
        if not self.channels:
            return [f"No channel of {self.layer} could be tested: each fires on too few images, or alike on all."]
        asked = int((~next(iter(self.right.values()))[0].isnan()).sum())
        return [f"{counted(asked, 'question')} about {counted(len(self.channels), 'channel')} of {self.layer}."]

    def _verdict_of(self, observer: str) -> str:
        main, score = self.main, self.score(observer, self.main)
        said = f"{observer}: {main} {'pictures ' if main != PATCHES else ''}score {score.mean:.2f}"
        if score.size < FEWEST or math.isnan(score.low):
            return f"{said}; too few channels or questions to say more."
        said += f" ({score.low:.2f} to {score.high:.2f}), "
        said += "above chance (0.50)" if score.low > CHANCE_SCORE else "which is not above chance (0.50)"
        own = PATCHES if PATCHES in self.conditions else main
        clauses = [self._compared(observer, main, PATCHES)] if PATCHES in self.conditions and main != PATCHES else []
        clauses += [self._against_another(observer, own)] if ANOTHER in self.conditions else []
        return "; ".join([said, *filter(None, clauses)]) + "."

    def _stability(self) -> torch.Tensor:
        """(channels, 2); NaN if it was not measured."""
        known = len(self.stability) == len(self.channels)
        return self.stability if known else torch.full((len(self.channels), 2), math.nan, device="cpu")

    def _stability_said(self) -> list[str]:
        own, others = (mean_interval(values, COSINES) for values in self._stability().unbind(1))
        if not own.size:
            return []
        ends = own.size >= FEWEST
        said = f"Mean {self.style} pictures from the two halves of the images have a cosine of {_spread(own, ends)}"
        if others.size:
            said += f", those of different channels {_spread(others, ends)}"
        if not ends:
            return [f"{said}; too few channels to say more."]
        found = paired_difference(*self._stability().unbind(1))
        shown = found.p <= LEVEL and found.mean > 0
        return [f"{said}." if shown else f"{said}; that a channel's own are more alike is not shown."]

    def _compared(self, observer: str, condition: str, other: str) -> str:
        found = self.difference(observer, condition, other)
        if math.isnan(found.p):
            return ""
        row = next(r for r in self.table() if r["observer"] == observer and r["pictures"] == condition)
        spread = f"{found.mean:+.2f}, {found.low:+.2f} to {found.high:+.2f}"
        if row["p"] > LEVEL:
            return f"no difference from {other} is shown ({spread})"
        return f"{'more' if found.mean > 0 else 'less'} than {other} ({spread})"

    def _against_another(self, observer: str, own: str) -> str:
        found = self.difference(observer, own, ANOTHER)
        if math.isnan(found.p):
            return ""
        spread = f"{found.mean:+.2f}, {found.low:+.2f} to {found.high:+.2f}"
        if found.p <= LEVEL and found.mean > 0:
            return f"the channel's own {own} score more than another channel's ({spread})"
        if found.high < AS_WELL and self.score(observer, ANOTHER).low > CHANCE_SCORE:
            return (
                f"another channel's patches score as well, so the pictures are not particular to the channel ({spread})"
            )
        return f"that the channel's own {own} score more than another channel's is not shown ({spread})"

    @takes(path=PATH)
    def write_page(self, path: str | os.PathLike[str], *, condition: str | None = None) -> Path:
        """Write a page on which a person answers the questions in `examples`, with the keys 1 and 2, and sees a score.

        The page is one file and sends nothing anywhere.

        Args:
            path: The file to write. An existing file is replaced.
            condition: Which pictures stand for the channel; None as for `channel_scores`.

        Raises:
            InputError: If there is no such condition, or no question.
        """
        written: Path = importlib.import_module("deconvviz.figures.reading_page").write(self, path, condition)
        return written

    def _answers(self, observer: str, condition: str) -> torch.Tensor:
        """(channels, questions)."""
        return self.right[observer][self.conditions.index(condition)]


def _spread(found: Interval, ends: bool) -> str:
    return f"{found.mean:.2f} ({found.low:.2f} to {found.high:.2f})" if ends else f"{found.mean:.2f}"
