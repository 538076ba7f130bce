"""Clarity by depth: how well a layer's whole reconstruction shows the image, trained and with random weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from deconvviz.errors import InputError
from deconvviz.evidence.methods import score
from deconvviz.evidence.random_weights import randomise
from deconvviz.net import DeconvNet
from deconvviz.results.judged import Clarity
from deconvviz.units import layer_names


def clarity(net: DeconvNet, x: Any, layers: str | Iterable[str] | None = None, seed: int = 0) -> Clarity:
    """The correlation (Pearson) of each layer's reconstruction with the input, over an image's pixels and channels.

    x: images, as for `DeconvNet.trace`. layers: None for all convolutions. seed: of the random weights.

    Raises InputError for a network without convolutions, where no layers are named.
    """
    asked = layer_names(layers, "look at; name at least one, or give layers=None for all convolutions")
    trace = net.trace(x)
    names = asked or [info.name for info in net.layers(trace) if info.kind.startswith("Conv")]
    if not names:
        raise InputError(f"the model {type(net.model).__name__} has no convolution; name the layers to look at")
    model = copy.deepcopy(net.model)
    weighted = [name for name, module in model.named_modules() if list(module.parameters(recurse=False))]
    randomise(model, weighted, seed)
    images = trace.call.first
    other = DeconvNet(model, net.style, net.preprocess)
    random = other.trace(trace.call, names)
    found = torch.stack([_correlation(net.reconstruct(trace, name).pixels, images) for name in names])
    chance = torch.stack([_correlation(other.reconstruct(random, name).pixels, images) for name in names])
    trained, by_chance = (
        {name: score(one) for name, one in zip(names, values, strict=True)} for values in (found, chance)
    )
    verdict = _verdict(names, found, chance)
    return Clarity(tuple(names), net.style.name, found, chance, trained, by_chance, verdict)


def _correlation(pixels: Tensor, images: Tensor) -> Tensor:
    """Of each sample, (N,); NaN where one of the two is constant."""
    a, b = (one.flatten(1).double().cpu() for one in (pixels, images))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    found: Tensor = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return found


def _verdict(names: Sequence[str], trained: Tensor, random: Tensor) -> str:
    first, last = float(trained[0].nanmean()), float(trained[-1].nanmean())
    by_chance = float(random[-1].nanmean())
    how = "less clear than" if last < first else "as clear as"
    what = "more" if abs(last) > abs(by_chance) else "no more"
    return (
        f"The reconstruction from {names[-1]} correlates with the image by {last:.2f} and is {how} the one from "
        f"{names[0]} ({first:.2f}); with random weights it is {by_chance:.2f}, so the trained network shows {what} "
        f"of the image."
    )
