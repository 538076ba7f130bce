"""Negative controls of deletion: what a method gains where it has nothing to show.

- *untrained network*: every layer up to the unit's has random weights; the units are those that the same arguments
  choose there.
- *lower layers kept*: only the upper half of these layers has random weights.
- *another image*: the method's picture of the unit on the next image ranks the pixels of this one.

A method that gains as much in an untrained network says nothing about what training taught.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deconvviz.errors import InputError
from deconvviz.evidence.curves import Curves
from deconvviz.evidence.methods import Attribution, Judged, mean_score, noise
from deconvviz.evidence.metrics import heatmap
from deconvviz.evidence.randomisation import SEED_STRIDE, copy_with_random_weights, weighted_layers
from deconvviz.intervals import Difference, difference_from_draws, paired_difference
from deconvviz.io.progress_bar import progress_bar
from deconvviz.results.evidence import Score

UNTRAINED, LOWER_KEPT, ANOTHER_IMAGE = "untrained network", "lower layers kept", "another image"
IMAGES_OF_CONTROLS = 8  # on which random weights are measured, at most, since each draw is a whole measurement


@dataclass(frozen=True)
class Control:
    """What methods gain over a random ranking in a control.

    Attributes:
        rows: The images on which it was measured.
        gains: Per method (draws, rows).
    """

    rows: list[int]
    gains: dict[str, Tensor]

    def scores(self) -> dict[str, Score]:
        """Per method the mean gain, with its interval over images."""
        return {name: mean_score(values.nanmean(0)) for name, values in self.gains.items()}

    def difference(self, name: str, gains: Tensor) -> Difference:
        """How far the gains (images,) of a method lie above those of the control.

        Draws of random weights are compared by the median over images: units that an image hardly activates more than
        the blank one have areas of any size.
        """
        own, values = gains[self.rows], self.gains[name]
        if len(values) == 1:
            return paired_difference(own, values[0])
        return difference_from_draws(float(own.nanmedian()), values.nanmedian(1).values)


def controls_of(
    judged: Judged, methods: Mapping[str, Attribution], curves: Curves, *, seeds: int, random_state: int, progress: bool
) -> dict[str, Control]:
    """The controls that can be measured, by name.

    Args:
        judged: The units.
        methods: The methods, without baselines.
        curves: How curves are measured.
        seeds: Number of draws of random weights.
        random_state: Seed of the first.
        progress: Whether to show a progress bar.
    """
    names = weighted_layers(judged.net, judged.x[:1], judged.layer)[::-1] if seeds else []
    upper = names[: -(-len(names) // 2)] if len(names) > 1 else []
    drawn = {UNTRAINED: names, LOWER_KEPT: upper}
    drawn = {name: layers for name, layers in drawn.items() if layers}
    images = len(judged.x)
    rows = sorted({n * images // IMAGES_OF_CONTROLS for n in range(IMAGES_OF_CONTROLS)}) if images else []
    found: dict[str, Control] = {}
    with progress_bar(total=len(drawn) * seeds + (images > 1), unit="control", desc="controls", shown=progress) as bar:
        for name, layers in drawn.items():
            draws = []
            for seed in range(seeds):
                drawn_from = random_state + SEED_STRIDE * seed
                draws.append(_with_random(judged, methods, curves, layers, random_state=drawn_from, rows=rows))
                bar.update()
            known = [draw for draw in draws if draw is not None]
            if known:
                found[name] = Control(rows, {method: torch.stack([d[method] for d in known]) for method in methods})
        if images > 1:
            found[ANOTHER_IMAGE] = _of_another_image(judged, methods, curves)
            bar.update()
    return found


def _with_random(
    judged: Judged,
    methods: Mapping[str, Attribution],
    curves: Curves,
    layers: Sequence[str],
    *,
    random_state: int,
    rows: list[int],
) -> dict[str, Tensor] | None:
    """Each method's gains (rows,) with random weights in some layers; None if they make the numbers overflow."""
    model = copy_with_random_weights(judged.net.model, random_state, layers)
    try:
        other = judged.again(model, rows)
    except InputError:  # activations that are not finite; the network itself has been run on these images
        return None
    return _gains(other, {name: other.pictures(method) for name, method in methods.items()}, curves, rows)


def _of_another_image(judged: Judged, methods: Mapping[str, Attribution], curves: Curves) -> Control:
    rows = list(range(len(judged.x)))
    pictures = {name: judged.pictures(method, x=judged.x.roll(-1, 0)) for name, method in methods.items()}
    return Control(rows, {name: gains[None] for name, gains in _gains(judged, pictures, curves, rows).items()})


def _gains(
    judged: Judged, pictures: Mapping[str, Sequence[Tensor]], curves: Curves, rows: Sequence[int]
) -> dict[str, Tensor]:
    """Insertion areas above those of a random ranking, (images,) per method."""
    own = replace(curves, blank=curves.blank[list(rows)])
    chance = own.insertion_areas(judged, judged.heatmaps(noise))
    heats = {name: [heatmap(picture[None])[0] for picture in each] for name, each in pictures.items()}
    return {name: own.insertion_areas(judged, each) - chance for name, each in heats.items()}
