"""Attribution methods, as functions of a model, images, and one unit per image.

Any function with the arguments of `Attribution` is a method. This module provides projections in the three styles, and
baselines that know nothing about the network and that a picture should beat: the image's own brightness, its edges, the
centre of the receptive field, and noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from deconvviz.arguments import once
from deconvviz.errors import InputError, did_you_mean
from deconvviz.evidence.metrics import FieldRanges, edges, heatmap
from deconvviz.intervals import COSINES, mean_interval, share_interval
from deconvviz.net import DeconvNet
from deconvviz.projection.model_call import images_of
from deconvviz.projection.receptive_field import channel_axis, receptive_fields
from deconvviz.projection.units import LayerActivations, Position, choose_units, one_each
from deconvviz.recording.layer_names import LayerName, layer_name
from deconvviz.results.evidence import Score

ChannelPosition = tuple[int, tuple[int, ...]]  # channel, and position in its map; () where the layer has channels only


class Attribution(Protocol):
    """A function that attributes units to pixels: (N, C, H, W) for x (N, C, H, W) and one place per image."""

    def __call__(self, model: nn.Module, x: Tensor, layer: str, places: Sequence[ChannelPosition]) -> Tensor: ...


class Projected:
    """Projections in one style. The seed is 1, so that units that do not fire have a picture, too."""

    def __init__(self, style: str) -> None:
        self.style = style

    def __repr__(self) -> str:
        return f"Projected({self.style!r})"

    def __call__(self, model: nn.Module, x: Tensor, layer: str, places: Sequence[ChannelPosition]) -> Tensor:
        units = [(sample, channel, position) for sample, (channel, position) in enumerate(places)]
        return DeconvNet(model, self.style).project_units(x, layer, units, seed="one").pixels


def noise(model: nn.Module, x: Tensor, layer: str, places: Sequence[ChannelPosition]) -> Tensor:
    """Random scores with a fixed seed: the same for the same number of images."""
    return torch.rand(x[:, :1].shape, generator=torch.Generator().manual_seed(0))


def edge_detector(model: nn.Module, x: Tensor, layer: str, places: Sequence[ChannelPosition]) -> Tensor:
    """Sobel edges of the image, independent of the network."""
    return edges(x)


def brightness(model: nn.Module, x: Tensor, layer: str, places: Sequence[ChannelPosition]) -> Tensor:
    """The image itself: the mean over its channels, above that of its darkest pixel."""
    grey = x.detach().cpu().double().mean(1, keepdim=True)
    return grey - grey.flatten(1).amin(1).view(-1, 1, 1, 1)


def centre(model: nn.Module, x: Tensor, layer: str, places: Sequence[ChannelPosition]) -> Tensor:
    """How near a pixel is to the centre of the unit's receptive field, from 1 to 0 at its corners."""
    trace = DeconvNet(model).trace(x[:1], layer)
    where = [(channel, *position) for channel, position in places]
    boxes = torch.from_numpy(receptive_fields(trace.tape, trace.layer(layer).value, where))
    away = torch.zeros(len(boxes), 1, *x.shape[2:], dtype=torch.float64)
    for axis, length in enumerate(x.shape[2:]):
        first, last = boxes[:, axis, 0, None].double(), boxes[:, axis, 1, None].double()
        share = (torch.arange(length) + 0.5 - (first + last) / 2) / (last - first).clamp(min=1)
        away += share.square().view(len(boxes), 1, *(length if each == axis else 1 for each in range(2)))
    return (1 - (2 * away).sqrt()).clamp(min=0)


METHODS: Mapping[str, Attribution] = {
    "deconvnet": Projected("deconvnet"),
    "guided": Projected("guided"),
    "gradient": Projected("gradient"),
}
BASELINES: Mapping[str, Attribution] = {
    "brightness": brightness,
    "edges": edge_detector,
    "centre": centre,
    "random": noise,
}
RIVALS = {"brightness": "brightness", "edges": "edges", "centre": "the centre"}  # baselines beside chance, and words
RANKINGS = ("absolute", "signed", "times image")


def chosen_methods(methods: Iterable[str] | Mapping[str, Attribution] | None) -> dict[str, Attribution]:
    """Methods by name: known names, or a mapping to functions; None for the three styles."""
    if isinstance(methods, Mapping) and methods:
        return dict(methods)
    known = {**METHODS, **BASELINES}
    return {name: known[name] for name in method_names(methods, known, METHODS)}


def method_names(methods: Iterable[str] | None, known: Iterable[str], default: Iterable[str]) -> list[str]:
    """The names of the requested methods, each once and in their order; None for the default ones.

    Raises InputError for an empty list and for unknown names.
    """
    if methods is None:
        return list(default)
    names, known = list(dict.fromkeys(methods)), list(known)
    if not names:
        raise InputError("there is no method to look at; name at least one, or give methods=None for the default ones")
    for name in names:
        if name not in known:
            listed = ", ".join(map(repr, known))
            raise InputError(f"there is no method {name!r}; there are {listed}{did_you_mean(name, known)}")
    return names


class Judged:
    """Images, and one unit of each, on which methods are scored.

    Attributes:
        x: (N, C, H, W), the images.
        places: Channel and position of each unit.
        units: The units with their activations.
        boxes: (N, spatial axes, 2), the units' receptive fields; nothing outside is compared.
        of_channels: Whether channels were given.
        position: The position as it was given.
    """

    def __init__(
        self, net: DeconvNet, x: Any, layer: LayerName, channel: Any = None, position: Position = "max"
    ) -> None:
        """channel: one for all images, one for each, or None for each image's strongest."""
        self.net, self.layer = net, layer_name(layer, net.model)
        self.x = images_of(x, net.model, net.preprocess, "evidence")
        layer = self.layer
        trace = net.trace(self.x, layer)
        net.check_samples(trace, layer)
        self.activations = activations = trace.activations[layer]
        if channel_axis(trace.tape, trace.layer(layer).value) != 1 or len(activations) != len(self.x):
            raise InputError(f"layer {layer!r} does not have channels behind the batch axis, as evidence needs")
        strongest = activations.flatten(2).amax(2) if activations.ndim > 2 else activations
        channels = one_each(strongest.argmax(1) if channel is None else channel, len(activations), "channel")
        self.of_channels, self.position = channel is not None, once(position)
        parts = [
            choose_units(LayerActivations(layer, activations[n : n + 1]), number, place).units[0]
            for n, (number, place) in enumerate(zip(channels, self._positions(len(channels)), strict=True))
        ]
        self.units = tuple(replace(unit, sample=n) for n, unit in enumerate(parts))
        self.places: list[ChannelPosition] = [(unit.channel, unit.position) for unit in self.units]
        where = [(unit.channel, *unit.position) for unit in self.units]
        self.boxes = torch.from_numpy(receptive_fields(trace.tape, trace.layer(layer).value, where))

    def _positions(self, count: int) -> list[Position]:
        """The position on each image: the same on all, or the rows of a tensor with one for each, as `scan` returns."""
        given = self.position
        if isinstance(given, Tensor) and given.ndim == 2 and len(given) == count:
            return list(given.split(1))
        return [given] * count

    def box(self, image: int) -> FieldRanges:
        return tuple((first, last) for first, last in self.boxes[image].tolist())

    def pictures(
        self,
        method: Attribution,
        model: nn.Module | None = None,
        x: Tensor | None = None,
        places: Sequence[ChannelPosition] | None = None,
    ) -> list[Tensor]:
        """A method's signed picture (C, ...) of each image, cropped to the unit's receptive field.

        Args:
            method: The method.
            model: Another model, as one with random weights.
            x: Other images, on which the units are shown.
            places: Other units, at the same positions.
        """
        images = self.x if x is None else x
        pixels = method(model or self.net.model, images, self.layer, self.places if places is None else places)
        if pixels.ndim != 4 or len(pixels) != len(images) or pixels.shape[2:] != images.shape[2:]:
            raise InputError(
                f"an attribution method returns pixels {tuple(images.shape)}, and this one {tuple(pixels.shape)}"
            )
        return [self.cut(picture, n) for n, picture in enumerate(pixels)]

    def cut(self, picture: Tensor, n: int) -> Tensor:
        """The part of a picture (C, ...) inside the receptive field of image n's unit."""
        return picture[(slice(None), *(slice(first, last) for first, last in self.box(n)))]

    def again(self, model: nn.Module, rows: Sequence[int]) -> Judged:
        """The units that the same arguments choose in another model, on some of the images."""
        channels = [self.places[row][0] for row in rows] if self.of_channels else None
        net = DeconvNet(model, self.net.style, preprocess=self.net.preprocess)
        own = isinstance(self.position, Tensor) and self.position.ndim == 2
        position = self.position[list(rows)] if own and len(self.position) == len(self.x) else self.position
        return Judged(net, self.x[list(rows)], self.layer, channels, position)

    def heatmaps(self, method: Attribution, model: nn.Module | None = None) -> list[Tensor]:
        """A method's heatmap of each image, cropped to the unit's receptive field."""
        return [heatmap(picture[None])[0] for picture in self.pictures(method, model)]


def rankings(picture: Tensor, image: Tensor) -> dict[str, Tensor]:
    """The three rankings of pixels by a signed picture (C, H, W) of an image of that shape: a heatmap for each.

    Pixels come first by the absolute picture, by the signed one, or by picture times image (`RANKINGS`), each summed
    over channels.

    Example:
        >>> ranked = rankings(torch.tensor([[[-3.0, 1.0, 2.0]]]), torch.tensor([[[-1.0, 2.0, 0.0]]]))
        >>> {name: heat.tolist() for name, heat in ranked.items()}
        {'absolute': [[3.0, 1.0, 2.0]], 'signed': [[-3.0, 1.0, 2.0]], 'times image': [[3.0, 2.0, 0.0]]}
    """
    shown, seen = picture.detach().cpu().double(), image.detach().cpu().double()
    seen = seen if len(shown) == len(seen) else seen.mean(0, keepdim=True)  # a map without colours
    return dict(zip(RANKINGS, (shown.abs().sum(0), shown.sum(0), (shown * seen).sum(0)), strict=True))


def ranked_by(method: str, ranking: str) -> str:
    """The name of a method's ranking in results: that of the method, if it is by the absolute picture.

    >>> ranked_by("guided", "absolute"), ranked_by("guided", "times image")
    ('guided', 'guided, times image')
    """
    return method if ranking == RANKINGS[0] else f"{method}, {ranking}"


def mean_score(values: Sequence[float] | Tensor) -> Score:
    """The mean over images with Student's t interval."""
    return Score(*mean_interval(values))


def mean_cosine(values: Sequence[float] | Tensor) -> Score:
    """The same of cosines or correlations, whose interval ends at -1 and 1."""
    return Score(*mean_interval(values, COSINES))


def share_score(hits: Sequence[float] | Tensor) -> Score:
    """The share of images with a hit (1; none 0, not counted NaN), with Wilson's interval."""
    known = [value for value in map(float, hits) if not math.isnan(value)]
    return Score(*share_interval(round(sum(known)), len(known)))
