"""How much of the image a linear decoder recovers from each layer, with trained and with random weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from deconvviz.intervals import FEWEST, LEVEL, Interval, difference_from_draws, holm, mean_interval
from deconvviz.results.base import Finding
from deconvviz.results.top_activations import Broken
from deconvviz.results.words import counted, listing, percent


@dataclass(frozen=True, kw_only=True)
class Decoding(Finding):
    """Linear decoding of held-out images from the maps of layers.

    Attributes:
        layers: The layers, from the first to the last.
        shapes: Per layer, the shape of its maps for one image.
        errors: (layers, held-out images), the sum of squared errors of each decoded image.
        totals: (held-out images,), the same for the mean image of those that the decoder was fitted on.
        random_errors: (seeds, layers, held-out images), errors with random weights.
        likeness: (layers, held-out images), the mean over channels of the absolute correlation of map and image; NaN
            for layers without maps.
        random_likeness: (seeds, layers, held-out images), the same with random weights.
        fitted: Number of images on which the decoders were fitted.
        originals: (examples, C, H, W), held-out images.
        decoded: (layers, examples, C, H, W), what the decoders make of their maps.
        random_decoded: The same with random weights, of the first seed.
        maps: Per layer (examples, h, w), the strongest map; empty for layers without maps.
        broken: Items that could not be read.
    """

    drawn_by = "deconvviz.figures.decoding"

    layers: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    errors: torch.Tensor
    totals: torch.Tensor
    random_errors: torch.Tensor
    likeness: torch.Tensor
    random_likeness: torch.Tensor
    fitted: int
    originals: torch.Tensor
    decoded: torch.Tensor
    random_decoded: torch.Tensor
    maps: tuple[torch.Tensor, ...]
    broken: tuple[Broken, ...] = ()

    def recovered(self, layer: str) -> Interval:
        """R squared of the decoded held-out images, with its interval over images: 1 is all, 0 is the mean image.

        Args:
            layer: The layer.
        """
        return _r_squared(self.errors[self.layers.index(layer)], self.totals)

    def recovered_at_random(self, layer: str) -> list[float]:
        """R squared with random weights, one per seed."""
        place = self.layers.index(layer)
        return [_r_squared(errors[place], self.totals).mean for errors in self.random_errors]

    def table(self) -> list[dict[str, Any]]:
        """One row per layer."""
        rows = []
        for place, layer in enumerate(self.layers):
            found, random = self.recovered(layer), mean_interval(self.recovered_at_random(layer))
            rows.append(
                {
                    "layer": layer,
                    "numbers": torch.Size(self.shapes[place]).numel(),
                    "recovered": found.mean,
                    "from": found.low,
                    "to": found.high,
                    "random weights": random.mean,
                    "random from": random.low,
                    "random to": random.high,
                    "map and image": mean_interval(self.likeness[place]).mean,
                    "random map and image": mean_interval(self.random_likeness[:, place].flatten()).mean,
                }
            )
        return rows

    @property
    def verdict(self) -> str:  # type: ignore[override]
        """What the numbers mean, in words."""
        images = len(self.totals)
        if not float(self.totals.sum()):
            return "All held-out images are the same, so there is nothing to recover."
        first, last = self.layers[0], self.layers[-1]
        ends = [f"{percent(self.recovered(name).mean)} from {name}" for name in dict.fromkeys((first, last))]
        between = counted(images, "held-out image")
        said = f"A linear decoder recovers {listing(ends)} of what differs between {between}"
        if images < FEWEST:
            return f"{said}: too few to say more."
        differences = [
            difference_from_draws(self.recovered(name).mean, self.recovered_at_random(name)) for name in self.layers
        ]
        sure = [p <= LEVEL for p in holm([one.p for one in differences])]
        judged = zip(self.layers, differences, sure, strict=True)
        changed = [(name, one.mean) for name, one, is_sure in judged if is_sure]
        less, more = ([name for name, mean in changed if sign * mean > 0] for sign in (-1, 1))
        parts = [f"{word} from {listing(names)}" for word, names in (("less", less), ("more", more)) if names]
        change = f"it recovers {' and '.join(parts)}" if parts else "a difference is shown for no layer"
        return f"{said}. Compared with random weights, {change}."


def _r_squared(errors: torch.Tensor, totals: torch.Tensor) -> Interval:
    """One minus the sum of errors over the sum of totals; the interval is that of a ratio of means over images."""
    whole = float(totals.mean())
    if not whole:
        return mean_interval([])
    share = float(errors.mean()) / whole
    return mean_interval(1 - share - (errors - share * totals) / whole, within=(-math.inf, 1))
