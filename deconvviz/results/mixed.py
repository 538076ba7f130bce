"""Channels that respond to two things: how clearly the pictures of their strongest units fall into two groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from deconvviz.intervals import LEVEL
from deconvviz.results.base import Finding, kind
from deconvviz.results.top_activations import Broken
from deconvviz.results.words import agreeing, counted

FEWEST_PICTURES = 24  # fewer may be as far apart as can be without a gap
OUTLIERS = 0.1  # of the units: a group of fewer is no second thing


@kind
@dataclass(frozen=True, kw_only=True)
class PictureGroups:
    """The two groups of one channel, strongest units first.

    Attributes:
        channel: The channel.
        pictures: Per group (units, C, h, w), guided projections by how much each rectifier fired, bytes with
            zero at 128.
        patches: Per group (units, C, h, w), the patches, bytes.
        names: Per group, the names of the images.
    """

    channel: int
    pictures: tuple[torch.Tensor, torch.Tensor]
    patches: tuple[torch.Tensor, torch.Tensor]
    names: tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class MixedChannels(Finding):
    """How clearly the guided pictures of each channel's strongest units fall into two groups.

    Attributes:
        layer: The layer's name.
        channels: The channels that were tested.
        untested: Channels that fire on too few images; copies of an image count once.
        separations: (channels,), how far the groups are apart: what share of its group is nearer to a picture than all
            of the other group; 1 for groups that are farther apart than either is wide.
        expected: (channels,), the mean of the same of as many places on a line, without a gap.
        p: (channels,), how likely these are to be so far apart, by Holm over the channels.
        groups: (channels, units), 0 for the larger group and 1 for the other one.
        examples: The channels with the clearest groups, clearest first, with their pictures.
        broken: Items that could not be read.
    """

    drawn_by = "deconvviz.figures.mixed"

    layer: str
    channels: tuple[int, ...]
    untested: tuple[int, ...]
    separations: torch.Tensor
    expected: torch.Tensor
    p: torch.Tensor
    groups: torch.Tensor
    examples: tuple[PictureGroups, ...]
    broken: tuple[Broken, ...] = ()

    @property
    def mixed(self) -> tuple[int, ...]:
        """The channels whose groups are farther apart than without a gap, at 5 % over all channels."""
        return tuple(channel for channel, p in zip(self.channels, self.p.tolist(), strict=True) if p <= LEVEL)

    def table(self) -> list[dict[str, Any]]:
        """One row per channel, clearest groups first, outliers last."""
        rows = [
            {
                "channel": channel,
                "separation": float(self.separations[row]),
                "without a gap": float(self.expected[row]),
                "p": float(self.p[row]),
                "smaller group": float(self.groups[row].float().mean()),
            }
            for row, channel in enumerate(self.channels)
        ]
        return sorted(rows, key=lambda row: (row["p"], row["smaller group"] < OUTLIERS, -row["separation"]))

    @property
    def verdict(self) -> str:  # type: ignore[override]
        """What was found, in words."""
        if not self.channels:
            images = f"{self.groups.shape[1]} images of which at least {FEWEST_PICTURES} differ"
            return f"No channel of {self.layer} fires on {images}."
        found, tested = self.mixed, counted(len(self.channels), "channel")
        if not found:
            return f"None of {tested} of {self.layer} is shown to respond to two things."
        listed = ", ".join(map(str, found[:20])) + (" and others" if len(found) > 20 else "")
        respond = agreeing(len(found), "responds", "respond")
        return f"{len(found)} of {tested} of {self.layer} {respond} to two things: {listed}."
