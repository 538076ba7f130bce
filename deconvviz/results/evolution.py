"""How features come to be: what a training's checkpoints show of each channel, and when a layer is settled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from deconvviz.results.base import Finding, kind
from deconvviz.results.top_activations import Broken


@kind
@dataclass(frozen=True)
class StrongestUnit:
    """The strongest unit of a channel over a dataset, cut to what it sees.

    image: its number in the dataset. position: in the channel's map. activation: not above zero where the channel fires
        on no image.
    patch, pixels: (C, ...), the image and the projection in the receptive field.
    field: per spatial dimension the first pixel of the receptive field and one past its last, clipped to the image.
    """

    channel: int
    image: int
    position: tuple[int, ...]
    activation: float
    patch: torch.Tensor
    pixels: torch.Tensor
    field: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Evolution(Finding):
    """What each channel reacted to at each of T checkpoints, and how fast that came to rest.

    checkpoints: their names. times: their numbers: as given, or as in the names; else 0, 1, 2 and on.
    grids: per layer one row for each channel shown, of T units, the strongest at each checkpoint.
    images: per layer (channels, T), the number of every channel's strongest image.
    changed: per layer (T - 1,), the share of channels whose strongest image changes from a checkpoint to the next;
        channels that fire at neither are left out, NaN where all are.
    measured: per layer, the channels that the distances are measured on.
    jumps: per layer (measured, T - 1), distance from a picture of the grid to the next one of its row.
    moves: per layer (measured, T - 1), the same on one image and place for all checkpoints.
    remaining: per layer (measured, T), distance of these to the last one.
    settled: per layer, the time from which on the mean of `remaining` stays at most half of what it is at the start;
        NaN where all pictures of the layer are blank, at every checkpoint.
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

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self.grids)

    def table(self) -> list[dict[str, Any]]:
        """One row per layer; "first" and "last" are the first and the last step from a checkpoint to the next."""
        return [
            {
                "layer": layer,
                "channels": len(self.images[layer]),
                "changed, first": float(self.changed[layer][0]),
                "changed, last": float(self.changed[layer][-1]),
                "jump, last": float(self.jumps[layer][:, -1].mean()),
                "move, first": float(self.moves[layer][:, 0].mean()),
                "move, last": float(self.moves[layer][:, -1].mean()),
                "remaining at first": float(self.remaining[layer][:, 0].mean()),
                "settled at": int(at) if (at := self.settled[layer]).is_integer() else at,
            }
            for layer in self.layers
        ]
