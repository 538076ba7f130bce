"""How features develop during training: each channel at every checkpoint, and when a layer has settled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from deconvviz.results.base import Finding, kind
from deconvviz.results.top_activations import Broken


@kind
@dataclass(frozen=True, kw_only=True)
class StrongestUnit:
    """The strongest unit of a channel over a dataset, cropped to its receptive field.

    Attributes:
        channel: The channel.
        image: The image's index in the dataset.
        position: The position in the channel's feature map.
        activation: The activation; zero or negative if the channel fires on no image.
        patch: (C, ...), the image in the receptive field.
        pixels: (C, ...), the projection in the receptive field.
        field: Per spatial dimension, the first pixel of the receptive field and one past the last, clipped to the
            image.
    """

    channel: int
    image: int
    position: tuple[int, ...]
    activation: float
    patch: torch.Tensor
    pixels: torch.Tensor
    field: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Evolution(Finding):
    """What each channel responds to at each of T checkpoints, and how fast it settles.

    Attributes:
        checkpoints: Names of the checkpoints.
        times: Numbers of the checkpoints: as given, or from the names; otherwise 0, 1, 2, ...
        grids: Per layer one row per channel shown, with T units: the strongest at each checkpoint.
        images: Per layer (channels, T), the index of each channel's strongest image.
        changed: Per layer (T - 1,), the share of channels whose strongest image changes between two checkpoints,
            without channels that fire at neither; NaN if none fires.
        measured: Per layer, the channels for which the distances are measured.
        jumps: Per layer (measured, T - 1), the distance between consecutive pictures of a row of the grid.
        moves: Per layer (measured, T - 1), the same for one fixed image and position.
        remaining: Per layer (measured, T), the distance from these to the last one.
        settled: Per layer, the first time after which the mean of `remaining` is at most half of its initial value;
            NaN if all pictures of the layer are blank at every checkpoint.
        alone: Per layer (measured, T), the distance to the final pictures with only this layer's weights from each
            checkpoint; layers without weights of their own are missing.
        lockstep: The same with weights that all layers change at one common rate, as the control.
        half_times: Per layer (runs, 2), when half of the distance is left: alone, and in lock-step.
        count: Number of images read.
        broken: Items that could not be read.
        verdict: What the numbers mean, in one sentence.
    """

    drawn_by = "deconvviz.figures.evolution"

    checkpoints: tuple[str, ...]
    times: tuple[float, ...]
    grids: dict[str, tuple[tuple[StrongestUnit, ...], ...]]
    images: dict[str, torch.Tensor]
    changed: dict[str, torch.Tensor]
    measured: dict[str, tuple[int, ...]]
    jumps: dict[str, torch.Tensor]
    moves: dict[str, torch.Tensor]
    remaining: dict[str, torch.Tensor]
    settled: dict[str, float]
    count: int
    broken: tuple[Broken, ...]
    verdict: str
    alone: dict[str, torch.Tensor] = field(default_factory=dict)
    lockstep: dict[str, torch.Tensor] = field(default_factory=dict)
    half_times: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self.grids)

    def table(self) -> list[dict[str, Any]]:
        """One row per layer; "first" and "last" are the first and the last interval between checkpoints."""
        return [
            {
                "layer": layer,
                "channels": len(self.images[layer]),
                "changed, first": float(self.changed[layer][0]),
                "changed, last": float(self.changed[layer][-1]),
                "jump, last": float(self.jumps[layer][:, -1].mean()),
                "move, first": float(self.moves[layer][:, 0].mean()),
                "move, last": float(self.moves[layer][:, -1].mean()),
                "remaining, first": float(self.remaining[layer][:, 0].mean()),
                "settled at": int(at) if (at := self.settled[layer]).is_integer() else at,
                "half left, alone": self._half_time(layer, 0),
                "half left, lock-step": self._half_time(layer, 1),
            }
            for layer in self.layers
        ]

    def _half_time(self, layer: str, which: int) -> float | None:
        """The mean over runs; None for a layer without weights of its own."""
        return float(self.half_times[layer][:, which].mean()) if layer in self.half_times else None
