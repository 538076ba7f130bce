"""Synthetic pictures of channels, and how much they excite them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from deconvviz.results.base import Finding
from deconvviz.results.projections import Provenance
from deconvviz.results.words import agreeing, counted, in_digits


@dataclass(frozen=True, kw_only=True)
class SyntheticPictures(Finding):
    """Pictures that were made to excite channels of one layer.

    Attributes:
        channels: The channels.
        pictures: (channels, variants, C, H, W), the pictures, for display.
        activations: (channels, variants), the highest activation of the channel in its picture, or that at `position`.
        started: The same for the pictures from which these were made, faint noise.
        best: (channels,), the highest activation in any image of a data set; None without one.
        position: "all" if the pictures excite the channel at all positions, or the one position that they excite.
        steps: Number of steps.
        random_state: The seed of the random numbers.
        provenance: Model, layer and settings of torch. It has no style.
    """

    drawn_by = "deconvviz.figures.synthetic"

    channels: tuple[int, ...]
    pictures: torch.Tensor
    activations: torch.Tensor
    started: torch.Tensor
    best: torch.Tensor | None
    position: str | tuple[int, ...]
    steps: int
    random_state: int
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.channels)

    @property
    def layer(self) -> str:
        return self.provenance.layer

    @property
    def times(self) -> torch.Tensor:
        """(channels, variants), the activation as a multiple of the best of the data set; NaN if that is not known."""
        if self.best is None:
            return torch.full_like(self.activations, math.nan)
        best = self.best[:, None].to(self.activations)
        return torch.where(best > 0, self.activations / best, math.nan)

    @property
    def silent(self) -> tuple[int, ...]:
        """The channels that no picture excites: their activation is not above zero and not above that of the noise."""
        lifted = (self.activations > 0) | (self.activations > self.started)
        return tuple(channel for channel, any_ in zip(self.channels, lifted.any(1).tolist(), strict=True) if not any_)

    def table(self) -> list[dict[str, Any]]:
        """One row per picture."""
        times = self.times
        return [
            {
                "channel": channel,
                "variant": variant,
                "activation": float(self.activations[row, variant]),
                "noise": float(self.started[row, variant]),
                "best of the data": math.nan if self.best is None else float(self.best[row]),
                "times": float(times[row, variant]),
            }
            for row, channel in enumerate(self.channels)
            for variant in range(self.activations.shape[1])
        ]

    def as_json(self) -> dict[str, Any]:
        return {**super().as_json(), "layer": self.layer, "silent": list(self.silent)}

    @property
    def verdict(self) -> str:  # type: ignore[override]
        """How the activations compare with those of real images, in words."""
        said = []
        times = self.times.amax(1)
        known = times[~times.isnan()]
        if len(known):
            above = int((known > 1).sum())
            said.append(
                f"{above} of {counted(len(known), 'channel')} of {self.layer} "
                f"{agreeing(above, 'is', 'are')} excited more by "
                f"{agreeing(above, 'its picture', 'their pictures')} than by any image of the data set "
                f"(median {in_digits(float(known.median()), 2)} times as much)."
            )
        elif self.best is None:
            said.append("How much images of a data set excite these channels is not known; give a scan as top.")
        else:
            said.append("No image of the data set excites these channels.")
        if silent := self.silent:
            listed = ", ".join(map(str, silent[:20])) + (" and others" if len(silent) > 20 else "")
            said.append(
                f"No picture excites {agreeing(len(silent), 'channel', 'channels')} {listed}: all that was tried "
                f"leaves {agreeing(len(silent), 'it', 'them')} silent."
            )
        return " ".join(said)
