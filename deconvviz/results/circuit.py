"""The result of following what feeds a unit: its feeders, what each adds, and what the unit loses without them."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deconvviz.arguments import PATH, takes
from deconvviz.errors import InputError
from deconvviz.intervals import FEWEST, LEVEL, Interval, mean_interval, paired_difference
from deconvviz.results.base import Finding, kind, plain
from deconvviz.results.top_activations import Broken
from deconvviz.results.words import agreeing, counted, listing, percent

NAMED = 3  # feeders in the verdict
LEAST_SAID = 0.01  # of the activation, from which feeders are named


@kind
@dataclass(frozen=True, kw_only=True)
class CircuitFeeder:
    """A channel that feeds another one.

    Attributes:
        layer: Its layer, or "input" for the pixels.
        channel: Its number.
        shares: (images,), what it adds to the fed channel's activation, as a share of it; negative if it takes away.
        lost: (other images,), the share of the activation that is lost if this channel alone is zero; empty for pixels.
    """

    layer: str
    channel: int
    shares: torch.Tensor
    lost: torch.Tensor

    @property
    def share(self) -> Interval:
        """The mean share that it adds, with its interval over images."""
        return mean_interval(self.shares)

    @property
    def loss(self) -> Interval:
        """The mean share that is lost without it, with its interval over images."""
        return mean_interval(self.lost)


@kind
@dataclass(frozen=True, kw_only=True)
class CircuitUnit:
    """A channel of a circuit, on the images that fire it most.

    Attributes:
        layer: Its layer.
        channel: Its number.
        followed: Whether its feeders were looked for.
        activations: (images,), the activations of its strongest units on the images that rank its feeders.
        feeders: The channels that add or take most, strongest first.
        biases: (images,), the share of the activation that no channel adds: biases, and what was held as it was.
        candidates: Number of channels among which the feeders were found.
        counts: How many feeders were removed together: the first so many of those that add.
        lost_first: (other images, counts), the share of the activation that is lost without them.
        lost_random: (other images, counts), the same without as many random channels, on average over draws.
        patches: (units, C, h, w), bytes, what its strongest units see; without pictures (0, 1, 1, 1).
        projections: (units, C, h, w), bytes with zero at 128, what fired them.
        names: The names of their images.
    """

    layer: str
    channel: int
    followed: bool
    activations: torch.Tensor
    feeders: tuple[CircuitFeeder, ...]
    biases: torch.Tensor
    candidates: int
    counts: tuple[int, ...]
    lost_first: torch.Tensor
    lost_random: torch.Tensor
    patches: torch.Tensor
    projections: torch.Tensor
    names: tuple[str, ...]

    @property
    def adding(self) -> tuple[CircuitFeeder, ...]:
        """The feeders that add to the activation, strongest first."""
        return tuple(feeder for feeder in self.feeders if feeder.share.mean > 0)


@dataclass(frozen=True, kw_only=True)
class Circuit(Finding):
    """What feeds a channel, and what feeds its feeders, checked by removing channels.

    Attributes:
        units: The channels; first the one that was asked for, then its feeders, and so on down.
        style: The style of the projections.
        sources: The layers whose channels count as feeders.
        images: Number of the strongest images; one half ranks feeders, on the other half they are removed.
        draws: Number of draws of random channels.
        broken: Items that could not be read.
    """

    drawn_by = "deconvviz.figures.circuit"

    units: tuple[CircuitUnit, ...]
    style: str
    sources: tuple[str, ...]
    images: int
    draws: int
    broken: tuple[Broken, ...] = ()

    @property
    def layer(self) -> str:
        """The layer of the channel that was asked for."""
        return self.units[0].layer

    @property
    def channel(self) -> int:
        """The channel that was asked for."""
        return self.units[0].channel

    def unit(self, layer: str, channel: int) -> CircuitUnit:
        """A channel of the circuit. Raises InputError if there is no such channel in it."""
        for unit in self.units:
            if (unit.layer, unit.channel) == (layer, channel):
                return unit
        raise InputError(
            f"the circuit has no channel {channel!r} of {layer!r}; it has {counted(len(self.units), 'channel')}"
        )

    def table(self) -> list[dict[str, Any]]:
        """One row per channel and feeder, strongest first."""
        return [
            {
                "channel": f"{unit.layer} {unit.channel}",
                "feeder": f"{feeder.layer} {feeder.channel}",
                "adds": feeder.share.mean,
                "adds from": feeder.share.low,
                "adds to": feeder.share.high,
                "lost without it": feeder.loss.mean,
                "lost from": feeder.loss.low,
                "lost to": feeder.loss.high,
            }
            for unit in self.units
            for feeder in unit.feeders
        ]

    def as_json(self) -> dict[str, Any]:
        """Table and verdict, and the channels with their feeders and the losses without them."""
        return {**super().as_json(), "style": self.style, "units": [_as_json(unit) for unit in self.units]}

    @property
    def verdict(self) -> str:  # type: ignore[override]
        """What feeds the channel, and whether removing its feeders agrees, in words."""
        unit = self.units[0]
        named = f"Channel {unit.channel} of {unit.layer}"
        if not len(unit.activations):
            return f"{named} is above zero on none of these images, so nothing feeds it."
        if not unit.adding:
            return f"{named} is fired by its biases; no channel adds to it."
        if sum(feeder.share.mean for feeder in unit.adding) < LEAST_SAID:
            return f"{named} is fired by its biases; the channels that add most to it bring less than 1% together."
        first = unit.adding[:NAMED]
        words = listing([f"{feeder.layer} {feeder.channel}" for feeder in first])
        brought = sum(feeder.share.mean for feeder in first)
        bring = agreeing(len(first), "brings", "bring")
        fed = f"{named} is fed most by {words}, which {bring} {percent(brought)} of its activation"
        return f"{fed}. {self._checked(unit)}"

    def _checked(self, unit: CircuitUnit) -> str:
        if not unit.counts:
            return "It fires on no other image, so this is not checked by removing channels."
        count, images = unit.counts[-1], len(unit.lost_first)
        if images < FEWEST:
            other, are = counted(images, "other image"), agreeing(images, "is", "are")
            return f"{other} on which it fires {are} too few to check this by removing channels."
        lost, random = mean_interval(unit.lost_first[:, -1]), mean_interval(unit.lost_random[:, -1])
        together = "it" if count == 1 else f"the first {count}"
        drawn = "a random channel" if count == 1 else f"{count} random channels"
        found = (
            f"Without {together} it loses {_shown_share(lost)} of it on other images, "
            f"without {drawn} {_shown_share(random)}"
        )
        more = paired_difference(unit.lost_first[:, -1], unit.lost_random[:, -1])
        agrees = more.p <= LEVEL and more.mean > 0
        return f"{found}: removal {'confirms the ranking' if agrees else 'does not confirm the ranking'}."

    @takes(path=PATH)
    def write_page(self, path: str | os.PathLike[str]) -> Path:
        """Write a page on which the circuit can be walked: one HTML file that asks for nothing from anywhere.

        Args:
            path: The file to write. An existing file is replaced.
        """
        page: Path = importlib.import_module("deconvviz.figures.circuit_page").write(self, path)
        return page


def _shown_share(share: Interval) -> str:
    return f"{percent(share.mean)} ({percent(share.low)} to {percent(share.high)})"


def _as_json(unit: CircuitUnit) -> dict[str, Any]:
    curve = [
        {"removed": count, "lost": _interval(unit.lost_first[:, at]), "random": _interval(unit.lost_random[:, at])}
        for at, count in enumerate(unit.counts)
    ]
    feeders = [
        {
            "layer": feeder.layer,
            "channel": feeder.channel,
            "adds": _interval(feeder.shares),
            "lost without it": _interval(feeder.lost),
        }
        for feeder in unit.feeders
    ]
    facts = {
        "layer": unit.layer,
        "channel": unit.channel,
        "followed": unit.followed,
        "activation": _interval(unit.activations),
        "biases": _interval(unit.biases),
        "candidates": unit.candidates,
        "feeders": feeders,
        "removal": curve,
        "images": list(unit.names),
    }
    shown: dict[str, Any] = plain(facts)
    return shown


def _interval(values: torch.Tensor) -> dict[str, float]:
    found = mean_interval(values)
    return {"mean": found.mean, "low": found.low, "high": found.high, "images": found.size}
