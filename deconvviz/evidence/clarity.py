"""Clarity by depth: how well a layer's full reconstruction shows the image, with trained and with random weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deconvviz.arguments import FLAG, NET, RANDOM_STATE, takes
from deconvviz.evidence.methods import mean_score
from deconvviz.evidence.metrics import enough, interval
from deconvviz.evidence.randomisation import randomise
from deconvviz.io.progress_bar import progress_bar
from deconvviz.net import DeconvNet
from deconvviz.recording.layer_names import Layers, layer_names, layers_of_kind
from deconvviz.results.evidence import Clarity
from deconvviz.results.words import agreeing, counted

ALONE = 0.05  # smallest difference of correlations that counts on a single image


@takes(net=NET, random_state=RANDOM_STATE, progress=FLAG)
def clarity(
    net: DeconvNet, inputs: Any, *, layers: Layers = None, random_state: int = 0, progress: bool = True
) -> Clarity:
    """The Pearson correlation between each layer's reconstruction and the image, over its pixels and channels.

    Constant images and constant reconstructions have no correlation; they are left out and counted.

    Args:
        net: The network.
        inputs: Images, as for `DeconvNet.trace`.
        layers: Layer names; None for all convolutions.
        random_state: Seed of the random weights.
        progress: Whether to show a progress bar.

    Returns:
        A `deconvviz.results.Clarity`.

    Raises:
        InputError: If the network has no convolutions and no layers are named.
    """
    asked = layer_names(layers, net.model)
    trace = net.trace(inputs)
    names = asked or layers_of_kind(trace.tape, net.model)
    model = copy.deepcopy(net.model)
    weighted = [name for name, module in model.named_modules() if list(module.parameters(recurse=False))]
    randomise(model, weighted, random_state)
    images = trace.call.first
    other = DeconvNet(model, net.style, preprocess=net.preprocess)
    random = other.trace(trace.call, names)
    rows: list[tuple[Tensor, Tensor]] = []
    for name in progress_bar(names, unit="layer", desc="clarity", shown=progress):
        both = net.reconstruct(trace, name).pixels, other.reconstruct(random, name).pixels
        rows.append((_correlation(both[0], images), _correlation(both[1], images)))
    correlations, chance = (torch.stack(each) for each in zip(*rows, strict=True))
    trained, by_chance = (
        {name: mean_score(by_image) for name, by_image in zip(names, values, strict=True)}
        for values in (correlations, chance)
    )
    verdict = _verdict(names, correlations, chance)
    return Clarity(
        layers=tuple(names),
        style=net.style.name,
        trained=correlations,
        random=chance,
        trained_scores=trained,
        random_scores=by_chance,
        verdict=verdict,
    )


def _correlation(pixels: Tensor, images: Tensor) -> Tensor:
    """The correlation of each sample, (N,); NaN if its pixels or its image are constant."""
    a, b = _centred(pixels), _centred(images)
    correlation: Tensor = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return correlation


def _centred(values: Tensor) -> Tensor:
    """Each sample's values without their mean, the largest of them 1; zero where they differ by rounding alone."""
    flat = values.flatten(1).double().cpu()
    centred = flat - flat.mean(1, keepdim=True)
    centred[centred.abs().amax(1) <= 1e-6 * flat.abs().amax(1)] = 0
    return centred / centred.abs().amax(1, keepdim=True)  # so that squares of small numbers do not vanish


def _verdict(names: Sequence[str], trained: Tensor, random: Tensor) -> str:
    """A difference counts only if its interval excludes zero. trained, random: (layers, images)."""
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
    if len(names) > 1:
        how = {-1: "less clear than", 0: "about as clear as", 1: "clearer than"}[_sign(last - first)]
        said += f" and is {how} the one from {names[0]} ({float(first.mean()):.2f})"
    by_chance = random[-1][known]
    if by_chance.isnan().all():
        said += "; with random weights the reconstruction is constant"
    else:
        what = {-1: "less", 0: "no more", 1: "more"}[_sign(last.abs() - by_chance.abs())]
        said += f"; with random weights it is {float(by_chance.nanmean()):.2f}, so the trained network shows {what}"
        said += " of the image"
    others = agreeing(images - judged, "the other has", "the others have")
    left = "" if judged == images else f" Scored on {judged} of {counted(images, 'image')}; {others} no correlation."
    return f"{said}.{left}"


def _sign(differences: Tensor) -> int:
    """1, -1 or 0: whether the interval of a difference over images (N,) lies above zero, below it, or includes it."""
    mean, low, high = interval(differences)
    if math.isnan(low):
        low, high = mean - ALONE, mean + ALONE
    return 1 if low > 0 else -1 if high < 0 else 0
