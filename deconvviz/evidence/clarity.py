"""Clarity by depth: how well a layer's full reconstruction shows the image, with trained and with random weights.

Random weights are drawn several times. The trained network shows more or less only if it lies outside of where one more
draw would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deconvviz.arguments import FLAG, NET, RANDOM_STATE, takes, whole_from
from deconvviz.evidence.limits import too_few
from deconvviz.evidence.methods import mean_cosine
from deconvviz.evidence.metrics import enough
from deconvviz.evidence.randomisation import SEED_STRIDE, with_random_weights
from deconvviz.intervals import FEWEST, STRICT_LEVEL, Difference, difference_from_draws, paired_difference
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.net import DeconvNet
from deconvviz.recording.layer_names import Layers, layer_names, layers_of_kind
from deconvviz.results.evidence import Clarity
from deconvviz.results.words import agreeing, counted

LEVEL_OF_EACH = STRICT_LEVEL / 2  # of two questions: clearer than the first layer, and than random weights?


@takes(net=NET, seeds=whole_from(1), random_state=RANDOM_STATE, progress=FLAG)
@on_the_cpu
def clarity(
    net: DeconvNet, inputs: Any, *, layers: Layers = None, seeds: int = 5, random_state: int = 0, progress: bool = True
) -> Clarity:
    """The Pearson correlation between each layer's reconstruction and the image, over its pixels and channels.

    Constant images and constant reconstructions have no correlation; they are left out and counted.

    Args:
        net: The network.
        inputs: Images, as for `DeconvNet.trace`.
        layers: Layer names; None for all convolutions.
        seeds: Number of times that random weights are drawn.
        random_state: Seed of the first ones.
        progress: Whether to show a progress bar.

    Returns:
        A `deconvviz.results.Clarity`. There is no verdict on fewer than 8 images.

    Raises:
        InputError: If the network has no convolutions and no layers are named.
    """
    asked = layer_names(layers, net.model)
    trace = net.trace(inputs, asked)
    names = asked or layers_of_kind(trace.tape, net.model)
    images = trace.call.first
    rows: list[Tensor] = []
    by_seed: list[Tensor] = []
    with progress_bar(total=(1 + seeds) * len(names), unit="layer", desc="clarity", shown=progress) as bar:
        for name in names:
            rows.append(_correlation(net.reconstruct(trace, name).pixels, images))
            bar.update()
        for seed in range(seeds):
            other = with_random_weights(net, random_state + SEED_STRIDE * seed)
            random = other.trace(trace.call, names)
            pixels = []
            for name in names:
                pixels.append(_correlation(other.reconstruct(random, name).pixels, images))
                bar.update()
            by_seed.append(torch.stack(pixels))
    correlations, chances = torch.stack(rows), torch.stack(by_seed)
    trained, by_chance = (
        {name: mean_cosine(by_image) for name, by_image in zip(names, values, strict=True)}
        for values in (correlations, chances.nanmean(0))
    )
    return Clarity(
        layers=tuple(names),
        style=net.style.name,
        trained=correlations,
        random=chances.nanmean(0),
        trained_scores=trained,
        random_scores=by_chance,
        verdict=_verdict(names, correlations, chances),
    )


def _correlation(pixels: Tensor, images: Tensor) -> Tensor:
    """The correlation of each sample, (N,); NaN if its pixels or its image are constant."""
    a, b = _centred(pixels), _centred(images)
    correlation: Tensor = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return correlation


def _centred(values: Tensor) -> Tensor:
    """Each sample's values without their mean, the largest of them 1; zero where they differ by rounding alone."""
    flat = values.flatten(1).cpu().double()
    centred = flat - flat.mean(1, keepdim=True)
    centred[centred.abs().amax(1) <= 1e-6 * flat.abs().amax(1)] = 0
    return centred / centred.abs().amax(1, keepdim=True)  # so that squares of small numbers do not vanish


def _verdict(names: Sequence[str], trained: Tensor, random: Tensor) -> str:
    """What the correlations say; both differences together count at 5 %.

    Args:
        names: The layers.
        trained: (layers, images).
        random: (seeds, layers, images).
    """
    images = trained.shape[1]
    known = ~(trained[0] + trained[-1]).isnan()
    judged = int(known.sum())
    if not enough(judged, images):
        return (
            f"On {images - judged} of {counted(images, 'image')}, the image or its reconstruction from {names[0]} or "
            f"{names[-1]} is constant and has no correlation: too many for a verdict."
        )
    first, last = trained[0][known], trained[-1][known]
    said = f"The reconstruction from {names[-1]} correlates with the image by {float(last.mean()):.2f}"
    drawn = random[:, -1][:, known]
    chance = float(drawn.nanmean())
    if judged < FEWEST:
        beside = "" if len(names) == 1 else f", the one from {names[0]} by {float(first.mean()):.2f}"
        weights = "" if drawn.isnan().all() else f", with random weights by {chance:.2f}"
        return f"{said}{beside}{weights}: {too_few(judged)}."
    if len(names) > 1:
        how = {-1: "less clear than", 0: "about as clear as", 1: "clearer than"}[_sign(paired_difference(last, first))]
        said += f" and is {how} the one from {names[0]} ({float(first.mean()):.2f})"
    if drawn.isnan().all():
        said += "; with random weights the reconstruction is constant"
    else:
        beyond = difference_from_draws(float(last.abs().mean()), drawn.abs().nanmean(1))
        what = {-1: "less", 0: "no more", 1: "more"}[_sign(beyond)]
        draws = counted(len(drawn), "draw")
        said += f"; with random weights it is {chance:.2f} ({draws}), so the trained network shows {what} of the image"
    others = agreeing(images - judged, "the other has", "the others have")
    left = "" if judged == images else f" Scored on {judged} of {counted(images, 'image')}; {others} no correlation."
    return f"{said}.{left}"


def _sign(difference: Difference) -> int:
    """1, -1 or 0: whether a difference lies above zero, below it, or cannot be told from it."""
    return 0 if not difference.p <= LEVEL_OF_EACH else 1 if difference.mean > 0 else -1
