"""What is wrong with a network's channels and filters, by name, and what helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from deconvviz.results.base import Finding, kind
from deconvviz.results.top_activations import Broken

REMEDIES = {
    "dead": "warm up or lower the learning rate, and clip filters that dominate (deconvviz.models.clip_filter_rms_); "
    "in the first layer Zeiler and Fergus got fewer dead features from a smaller stride and smaller filters",
    "always on": "behind a rectifier such a channel is linear: look at its bias, or fewer channels will do",
    "duplicate": "fewer channels will do, or dropout and a lower learning rate make them differ",
    "RMS": "clip filters behind each step (deconvviz.models.clip_filter_rms_), as Zeiler and Fergus did",
    "frequencies": "smaller filters in the first layer: Zeiler and Fergus went from 11 x 11 to 7 x 7",
    "aliasing": "a smaller stride: Zeiler and Fergus went from 4 to 2",
}
NAMED = 6  # channels of a layer that a line of text names


@kind
@dataclass(frozen=True)
class Flag:
    """Something wrong: which of `REMEDIES`, where, and the number that says so.

    channel: None where it is the whole layer. other: of a duplicate, the channel that it is like.
    """

    problem: str
    layer: str
    channel: int | None
    value: float
    other: int | None = None

    def __str__(self) -> str:
        if self.channel is None:
            return self.layer
        return f"{self.channel}" + ("" if self.other is None else f" (as {self.other})")


@kind
@dataclass(frozen=True)
class LayerFacts:
    """What was measured of one layer; tensors are (channels,), NaN where there is nothing to measure.

    seen_at: the layer at whose output its channels were watched, behind its norm and rectifier. rectified: whether
        there is one.
    active: share of all positions of all images with a value above zero.
    correlation: the highest with another channel that varies. cosine: of the filter with another of its group.
    rms: of the filter. bands: (channels, 3), shares of its energy in low, mid and high frequencies.
    aliasing: of a convolution with a stride, the share of its response that the stride cannot carry.
    """

    layer: str
    seen_at: str
    rectified: bool
    stride: tuple[int, ...]
    active: torch.Tensor
    correlation: torch.Tensor
    cosine: torch.Tensor
    rms: torch.Tensor
    bands: torch.Tensor
    aliasing: torch.Tensor


@dataclass(frozen=True)
class Diagnosis(Finding):
    """What channels and filters do over a dataset, and what is wrong with them.

    layers: in the order in which they run. flags: what is wrong. first: the first convolution.
    filters: its weights, (out, in, ...).
    count: images that were read. broken: those that could not be.
    """

    drawn_by = "deconvviz.figures.diagnosis"

    layers: tuple[LayerFacts, ...]
    flags: tuple[Flag, ...]
    first: str
    filters: torch.Tensor
    count: int
    broken: tuple[Broken, ...]
    verdict: str

    def flagged(self, problem: str, layer: str | None = None) -> tuple[Flag, ...]:
        """The flags of one problem, of one layer or of all."""
        return tuple(flag for flag in self.flags if flag.problem == problem and layer in (None, flag.layer))

    def table(self) -> list[dict[str, Any]]:
        """One row per layer: how many channels have each problem, and the middle of what was measured."""
        rows = []
        for one in self.layers:
            problems = ("dead", "always on", "duplicate", "RMS")
            rows.append(
                {
                    "layer": one.layer,
                    "channels": len(one.rms),
                    **{problem: len(self.flagged(problem, one.layer)) for problem in problems},
                    "active": float(one.active.median()),
                    "median RMS": float(one.rms.median()),
                    "largest RMS": float(one.rms.max()),
                    "mid frequencies": float(one.bands[:, 1].nanmean()),
                    "aliasing": float(one.aliasing.nanmean()),
                }
            )
        return rows

    def remarks(self) -> list[str]:
        """A line for each problem found: which channels, and what helps."""
        lines = []
        for problem, remedy in REMEDIES.items():
            if flags := self.flagged(problem):
                lines.append(f"{problem}: {'; '.join(_by_layer(flags))}. Remedy: {remedy}.")
        return lines

    def as_json(self) -> dict[str, Any]:
        flags = [{"problem": f.problem, "layer": f.layer, "channel": f.channel, "value": f.value} for f in self.flags]
        return {**super().as_json(), "flags": flags}

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *self.remarks()])


def _by_layer(flags: Sequence[Flag]) -> list[str]:
    layers: dict[str, list[Flag]] = {}
    for flag in flags:
        layers.setdefault(flag.layer, []).append(flag)
    lines = []
    for layer, found in layers.items():
        named = [str(flag) for flag in found if flag.channel is not None]
        more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
        lines.append(f"{layer} {', '.join(named[:NAMED])}{more}".strip())
    return lines
