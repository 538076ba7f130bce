"""What is judged: attribution methods, as functions of a model, images, and one unit for each image.

A method of one's own is any function with the arguments of `Attribution`; the ones here are projections in the three
styles and the two baselines that a picture has to beat, noise and an edge detector that knows no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from deconvviz.errors import InputError, did_you_mean
from deconvviz.evidence.similarity import edges
from deconvviz.net import DeconvNet

Place = tuple[int, tuple[int, ...]]  # channel, and position in its map; () where the layer has channels only


class Attribution(Protocol):
    """Which pixels made units fire: (N, C, H, W) for x (N, C, H, W) and one place for each image."""

    def __call__(self, model: nn.Module, x: Tensor, layer: str, places: Sequence[Place]) -> Tensor: ...


class Projected:
    """Projections in a style; the seed is one, so that a unit that does not fire has a picture, too."""

    def __init__(self, style: str) -> None:
        self.style = style

    def __call__(self, model: nn.Module, x: Tensor, layer: str, places: Sequence[Place]) -> Tensor:
        units = [(sample, channel, position) for sample, (channel, position) in enumerate(places)]
        return DeconvNet(model, self.style).project_units(x, layer, units, seed="one").pixels


def noise(model: nn.Module, x: Tensor, layer: str, places: Sequence[Place]) -> Tensor:
    """A ranking by lot, the same for the same number of images."""
    return torch.rand(x[:, :1].shape, generator=torch.Generator().manual_seed(0))


def edge_detector(model: nn.Module, x: Tensor, layer: str, places: Sequence[Place]) -> Tensor:
    """Sobel edges of the image, whatever the network."""
    return edges(x)


METHODS: Mapping[str, Attribution] = {
    "deconvnet": Projected("deconvnet"),
    "guided": Projected("guided"),
    "gradient": Projected("gradient"),
}
BASELINES: Mapping[str, Attribution] = {"edges": edge_detector, "random": noise}


def chosen(methods: Sequence[str] | Mapping[str, Attribution] | None) -> dict[str, Attribution]:
    """Methods by name: known names, or functions of one's own; None: the three styles."""
    if methods is None:
        return dict(METHODS)
    if isinstance(methods, Mapping):
        return dict(methods)
    known = {**METHODS, **BASELINES}
    for name in methods:
        if name not in known:
            listed = ", ".join(map(repr, known))
            raise InputError(f"there is no method {name!r}{did_you_mean(name, known)}; there are {listed}")
    return {name: known[name] for name in methods}
