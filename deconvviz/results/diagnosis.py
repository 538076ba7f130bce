"""Problems of a network's channels and filters, and their remedies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from deconvviz.results.base import Finding, kind
from deconvviz.results.top_activations import Broken

REMEDIES = {
    "dead": "use a warm-up or a lower learning rate, and clip dominating filters (deconvviz.models.clip_filter_rms_); "
    "in the first layer, Zeiler and Fergus had fewer dead features with a smaller stride and smaller filters",
    "always on": "the rectifier does nothing for these channels: check their biases, or use fewer channels",
    "duplicate": "use fewer channels, or dropout and a lower learning rate",
    "RMS": "clip the filters after each step (deconvviz.models.clip_filter_rms_), as Zeiler and Fergus did",
    "frequencies": "use smaller filters in the first layer: Zeiler and Fergus went from 11 x 11 to 7 x 7",
    "aliasing": "use a smaller stride: Zeiler and Fergus went from 4 to 2",
}
CHANNELS_NAMED = 6  # channels per layer that a line of text lists


@kind
@dataclass(frozen=True)
class Flag:
    """A problem of a channel or layer.

    Attributes:
        problem: A key of `REMEDIES`.
        layer: The layer's name.
        channel: The channel; None if the flag applies to the whole layer.
        value: The measured value.
        other: The channel that a duplicate resembles.
    """

    problem: str
    layer: str
    channel: int | None
    value: float
    other: int | None = None

    def __str__(self) -> str:
        if self.channel is None:
            return self.layer
        return f"{self.channel}" + ("" if self.other is None else f" (like {self.other})")


@kind
@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """The measurements of one layer; tensors are (channels,), with NaN where there is nothing to measure.

    Attributes:
        layer: The layer's name.
        seen_at: The layer at whose output the channels were measured, after normalisation and rectifier.
        rectified: Whether there is a rectifier.
        stride: The convolution's stride.
        active: The share of positions of all images with a value above zero.
        correlation: The highest correlation with another channel that varies.
        cosine: The highest cosine similarity with another filter of the group.
        rms: The filter's root mean square.
        bands: (channels, 3), shares of the filter's energy in low, middle and high frequencies.
        aliasing: For a strided convolution, the share of its response that the stride cannot represent.
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


@dataclass(frozen=True, kw_only=True)
class Diagnosis(Finding):
    """Measurements of channels and filters over a dataset, and the problems found.

    Attributes:
        layers: Measurements per layer, in the order in which the layers run.
        flags: The problems.
        first: The name of the first convolution.
        filters: Its weights, (out, in, ...).
        count: Number of images read.
        broken: Items that could not be read.
        verdict: A summary in one sentence.
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
        """The flags for one problem, of one layer or of all."""
        return tuple(flag for flag in self.flags if flag.problem == problem and layer in (None, flag.layer))

    def table(self) -> list[dict[str, Any]]:
        """One row per layer: the number of channels with each problem, and averages of the measurements."""
        rows = []
        for facts in self.layers:
            problems = ("dead", "always on", "duplicate", "RMS")
            rows.append(
                {
                    "layer": facts.layer,
                    "channels": len(facts.rms),
                    **{problem: len(self.flagged(problem, facts.layer)) for problem in problems},
                    "active": float(facts.active.median()),
                    "median RMS": float(facts.rms.median()),
                    "largest RMS": float(facts.rms.max()),
                    "mid frequencies": float(facts.bands[:, 1].nanmean()),
                    "aliasing": float(facts.aliasing.nanmean()),
                }
            )
        return rows

    def remarks(self) -> list[str]:
        """One line per problem: the channels and a remedy."""
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
    for layer, of_layer in layers.items():
        named = [str(flag) for flag in of_layer if flag.channel is not None]
        more = f" and {len(named) - CHANNELS_NAMED} more" if len(named) > CHANNELS_NAMED else ""
        lines.append(f"{layer} {', '.join(named[:CHANNELS_NAMED])}{more}".strip())
    return lines
