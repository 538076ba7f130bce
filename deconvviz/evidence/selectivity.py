"""Selectivity: do pictures of different units on the same image differ (Mahendran and Vedaldi, ECCV 2016)?

On each image, several channels at one position are compared, so that all units see the same pixels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from deconvviz.arguments import FLAG, METHODS_OR_FUNCTIONS, NET, WHOLE, takes
from deconvviz.errors import InputError
from deconvviz.evidence.limits import ALIKE
from deconvviz.evidence.methods import Attribution, Judged, chosen_methods, mean_score, noise
from deconvviz.evidence.metrics import enough, mean_of_known, spearman, ssim
from deconvviz.io.progress_bar import progress_bar
from deconvviz.net import DeconvNet
from deconvviz.recording.layer_names import LayerName
from deconvviz.results.evidence import Score, Selectivity
from deconvviz.results.words import agreeing, counted


@takes(net=NET, count=WHOLE, methods=METHODS_OR_FUNCTIONS, progress=FLAG)
def selectivity(
    net: DeconvNet,
    inputs: Any,
    layer: LayerName,
    *,
    count: int = 6,
    methods: Sequence[str] | Mapping[str, Attribution] | None = None,
    progress: bool = True,
) -> Selectivity:
    """How similar the pictures of different units of a layer are on the same image.

    On each image, the units are the most active channels at the layer's strongest position. Pairs with a blank picture,
    as of silent units, are left out and counted. A random picture is added as a baseline.

    Args:
        net: The network.
        inputs: Images (N, C, H, W), as for `DeconvNet.trace`.
        layer: The units' layer.
        count: Units per image.
        methods: As for `deletion`.
        progress: Whether to show a progress bar.

    Returns:
        A `deconvviz.results.Selectivity`.

    Raises:
        InputError: If an argument does not fit.
        UnknownLayerError: If the layer does not exist.
    """
    if not isinstance(count, int) or count < 2:
        raise InputError(f"count must be at least 2, to compare units, not {count!r}")
    strongest = Judged(net, inputs, layer)
    if strongest.activations.shape[1] < 2:
        raise InputError(f"layer {strongest.layer!r} has one channel, so there are no two units to compare")
    compared = [_at_one_place(strongest, n, count) for n in range(len(strongest.x))]
    ranks: dict[str, Score] = {}
    structures: dict[str, Score] = {}
    left_out: dict[str, int] = {}
    count_of_pairs = 0
    asked = {**chosen_methods(methods), "random": noise}
    for name, method in progress_bar(asked.items(), unit="method", desc="selectivity", shown=progress):
        pairs = [list(itertools.combinations(judged.heatmaps(method), 2)) for judged in compared]
        correlations = [[spearman(a, b) for a, b in each] for each in pairs]
        ranks[name] = mean_score(list(map(mean_of_known, correlations)))
        structures[name] = mean_score([mean_of_known([ssim(a, b) for a, b in each]) for each in pairs])
        left_out[name] = sum(math.isnan(correlation) for each in correlations for correlation in each)
        count_of_pairs = sum(map(len, correlations))
    units = tuple(replace(unit, sample=n) for n, judged in enumerate(compared) for unit in judged.units)
    verdict = _verdict(ranks, left_out, count_of_pairs)
    return Selectivity(
        units=units, spearman=ranks, ssim=structures, verdict=verdict, pairs=count_of_pairs, blank=left_out
    )


def _at_one_place(strongest: Judged, n: int, count: int) -> Judged:
    """The most active channels at image n's strongest position."""
    _, position = strongest.places[n]
    channels = strongest_at(strongest.activations[n], position, count)
    x = strongest.x[n : n + 1].expand(len(channels), -1, -1, -1)
    judged = Judged(strongest.net, x, strongest.layer, channels, position)
    # Behind joined branches channels see windows of different sizes; all are compared on what any of them sees.
    judged.boxes[..., 0], judged.boxes[..., 1] = judged.boxes[..., 0].amin(0), judged.boxes[..., 1].amax(0)
    return judged


def strongest_at(activations: Tensor, position: Sequence[int], count: int) -> list[int]:
    """The most active channels at one position of one image's activations (C, *positions)."""
    values = activations.movedim(0, -1)[tuple(position)]
    return [int(channel) for channel in values.topk(min(count, len(values))).indices]


def likeness(heat: Tensor, others: Sequence[Tensor]) -> float:
    """The mean rank correlation between a unit's heatmap and those of others that are not blank.

    NaN if fewer than half of them are not blank, or if the heatmap itself is blank.
    """
    known = [value for value in (spearman(heat, other) for other in others) if not math.isnan(value)]
    return sum(known) / len(known) if enough(len(known), len(others)) else float("nan")


def _verdict(alike: Mapping[str, Score], blank: Mapping[str, int], pairs: int) -> str:
    said = []
    for name, score in alike.items():
        if name == "random":
            continue
        include = agreeing(blank[name], "includes a blank one", "include a blank one")
        left_out = f"{blank[name]} of {counted(pairs, 'pair')} of {name} pictures {include}"
        if not enough(pairs - blank[name], pairs):
            said.append(f"{left_out}, and too few are left for a verdict")
            continue
        means = f"it {ALIKE.said(score.mean)}"
        without = f" ({left_out} and {agreeing(blank[name], 'is', 'are')} left out)" if blank[name] else ""
        said.append(f"{name} pictures of different units have a rank correlation of {score}: {means}{without}")
    return f"{'; '.join(said)}."
