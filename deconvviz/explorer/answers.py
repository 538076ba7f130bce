"""What the page asks about an image: its layers, the maps of one, a unit, and the units that fire at a place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deconvviz.arguments import described
from deconvviz.data.naming import classes_of
from deconvviz.errors import InputError
from deconvviz.explorer.encoding import shown_image, shown_signed, sprite_of
from deconvviz.explorer.networks import ImageKey, Networks
from deconvviz.models.notes import classes_of_model
from deconvviz.projection.units import LayerActivations
from deconvviz.results import LayerInfo, Projection, Reconstruction
from deconvviz.trace import Trace

AT_PLACE = 5  # channels of a layer that are listed for a place
CLASSES_SHOWN = 3
MOST_MAPS = 4096  # channels of a layer whose maps are shown


class Answers:
    """Answers to the page's questions, as JSON values. Only the worker's thread may use it."""

    def __init__(self, networks: Networks, classes: Sequence[str] = ()) -> None:
        """Prepare to answer.

        Args:
            networks: The network and its images.
            classes: Class names; if there are not as many as classes, those of the data set, or of the weights.
        """
        self.networks = networks
        self._named = [list(classes), classes_of(networks.data), list(classes_of_model(networks.given.model))]

    def image(self, client: str, image: ImageKey) -> dict[str, Any]:
        """The image as the network sees it, and the layers that run on it."""
        trace = self.networks.trace(client, image)
        x = trace.call.first
        return {
            "name": self.networks.name(client, image),
            "picture": shown_image(self.networks.displayed(x)),
            "size": list(x.shape[2:]),
            "layers": [self._layer(trace, row) for row in self.networks.given.layers(trace)],
            "classes": self._classes(trace),
        }

    def _layer(self, trace: Trace, row: LayerInfo) -> dict[str, Any]:
        active, channels = 0.0, 0
        if row.name in trace.activations and trace.activations[row.name].is_floating_point():
            tensor = trace.activations[row.name]
            active = float((tensor > 0).float().mean()) if tensor.numel() else 0.0
            channels = trace.activations_of(row.name).channels if tensor.ndim else 0
        return {
            "name": row.name,
            "kind": row.kind,
            "shape": list(row.shape[1:]),
            "field": row.receptive_field,
            "stride": row.stride,
            "linearised": list(row.linearised),
            "active": active,
            "channels": channels,
        }

    def _classes(self, trace: Trace) -> list[dict[str, Any]]:
        """The strongest classes and their units, if the network ends in one number per class."""
        last = list(trace.activations.values())[-1] if trace.activations else torch.zeros(0)
        layer = next((name for name, tensor in trace.activations.items() if tensor is last), "")
        if last.ndim != 2 or len(last) != 1 or not last.is_floating_point() or last.shape[1] < 2:
            return []
        if not last.isfinite().all():  # none is the strongest
            return []
        shares = last[0].detach().float().softmax(0)
        best = shares.topk(min(CLASSES_SHOWN, len(shares)))
        return [
            {"name": self.class_name(number, len(shares)), "share": share, "layer": layer, "channel": number}
            for share, number in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def class_name(self, number: int, count: int) -> str:
        names = self.class_names(count)
        return names[number] if names else str(number)

    def class_names(self, count: int) -> list[str]:
        """The names of so many classes; [] if they are not known."""
        return next((names for names in self._named if names and len(names) == count), [])

    def maps(self, client: str, image: ImageKey, layer: str) -> dict[str, Any]:
        """The feature maps of a layer in one picture, and how strong each is."""
        activations = self._activations(client, image, layer)
        count = min(activations.channels, MOST_MAPS)
        maps = activations.maps(list(range(activations.channels)))[0, :count].detach().float().cpu()
        if not maps.numel():
            raise InputError(f"the maps of layer {layer!r} are empty")
        dims = activations.dims
        largest = maps.max(1)
        found: dict[str, Any] = {
            "channels": activations.channels,
            "dims": list(dims),
            "maximum": _numbers(largest.values),
            "place": [list(_unravelled(int(place), dims)) for place in largest.indices],
            "active": _numbers((maps > 0).float().mean(1)),
            "selective": _numbers(_selectivity(maps)),
        }
        if dims:
            found["sprite"] = sprite_of(_flat_maps(maps.view(count, *dims)))
        elif names := self.class_names(count):
            found["names"] = names
        return found

    def unit(
        self,
        client: str,
        image: ImageKey,
        layer: str,
        channel: int,
        *,
        position: tuple[int, ...] | None = None,
        style: str = "",
        seed: str = "activation",
        random: bool = False,
    ) -> dict[str, Any]:
        """What a unit saw, and its projection."""
        found = self.projection(client, image, layer, channel, position=position, style=style, seed=seed, random=random)
        (unit,), box = found.units, found.receptive_fields[0].tolist()
        pixels = found.cut(0, box) if all(first < last for first, last in box) else found.whole(0)
        seen = self.networks.displayed(self.networks.input(client, image))
        places: tuple[Any, ...] = (..., *(slice(first, last) for first, last in box))
        patch = seen[places] if pixels.shape[1:] != seen.shape[1:] else seen
        activations = self._activations(client, image, layer, random=random, style=style)
        return {
            "layer": layer,
            "channel": channel,
            "position": list(unit.position),
            "value": _number(unit.activation),
            "rank": self._rank(activations, channel, unit.position),
            "channels": activations.channels,
            "box": box,
            "blank": not bool((pixels != 0).any()),
            "patch": shown_image(patch),
            "projection": shown_signed(pixels),
            "pixels": list(pixels.shape[1:]),
            "style": found.provenance.style["name"],
            "linearised": list(found.provenance.linearised),
            "classes": self.class_name(channel, activations.channels) if not unit.position else "",
        }

    def projection(
        self,
        client: str,
        image: ImageKey,
        layer: str,
        channel: int,
        *,
        position: tuple[int, ...] | None = None,
        style: str = "",
        seed: str = "activation",
        random: bool = False,
    ) -> Projection:
        """The projection of one unit; position: None for the strongest one of the channel."""
        trace = self.networks.trace(client, image, style, random)
        net = self.networks.net(style or self.networks.given.style.name, random)
        return net.project(
            trace, layer, channel=channel, position="max" if position is None else position, seed=seed
        ).cpu()

    def _rank(self, activations: LayerActivations, channel: int, position: tuple[int, ...]) -> int:
        """How many channels are stronger at the unit's position, and one."""
        maps = activations.maps(list(range(activations.channels)))[0]
        values = maps[:, _raveled(position, activations.dims)]
        return int((values > values[channel]).sum()) + 1

    def place(self, client: str, image: ImageKey, at: tuple[int, int]) -> dict[str, Any]:
        """The units of each layer that fire most at a place of the image, which lies in the middle of their fields."""
        trace = self.networks.trace(client, image)
        height, width = (1, 1, *trace.call.first.shape[2:])[-2:]
        if not (0 <= at[0] < height and 0 <= at[1] < width):
            raise InputError(f"the image is {height} x {width} pixels large; the place {at} lies outside")
        axes = min(trace.call.first.ndim - 2, 2)  # a signal lies along the second number
        layers = []
        for row in self.networks.given.layers(trace):
            if row.stride is None or row.offset is None or row.receptive_field is None or len(row.stride) != axes:
                continue
            if row.name not in trace.activations:
                continue
            activations = trace.activations_of(row.name)
            if len(activations.dims) != axes:
                continue
            position = tuple(
                min(max(round((place - first - (field - 1) / 2) / step) if step else 0, 0), size - 1)
                for place, first, field, step, size in zip(
                    at[2 - axes :], row.offset, row.receptive_field, row.stride, activations.dims, strict=True
                )
            )
            maps = activations.maps(list(range(activations.channels)))[0].detach().float()
            values = maps[:, _raveled(position, activations.dims)]
            largest = maps.amax(1)
            best = values.topk(min(AT_PLACE, len(values)))
            units = [
                {"channel": number, "value": _number(value), "share": _number(value / float(largest[number]))}
                for value, number in zip(best.values.tolist(), best.indices.tolist(), strict=True)
                if value > 0
            ]
            layers.append({"layer": row.name, "kind": row.kind, "position": list(position), "units": units})
        return {"layers": layers}

    def reconstruction(self, client: str, image: ImageKey, layer: str, style: str = "") -> Reconstruction:
        """The image from all activations of a layer."""
        trace = self.networks.trace(client, image, style)
        return self.networks.net(style or self.networks.given.style.name).reconstruct(trace, layer)

    def reconstructed(self, client: str, image: ImageKey, layer: str, style: str = "") -> dict[str, Any]:
        """The picture of `reconstruction`."""
        found = self.reconstruction(client, image, layer, style)
        pixels = found.pixels[0]
        return {
            "picture": shown_signed(pixels),
            "pixels": list(pixels.shape[1:]),
            "style": found.provenance.style["name"],
        }

    def _activations(
        self, client: str, image: ImageKey, layer: str, *, random: bool = False, style: str = ""
    ) -> LayerActivations:
        activations = self.networks.trace(client, image, style, random).activations_of(layer)
        if not activations.tensor.is_floating_point() or not activations.tensor.ndim:
            raise InputError(f"layer {layer!r} has no maps of channels to show")
        return activations


def _flat_maps(maps: Tensor) -> Tensor:
    """Maps (channels, *dims) with two spatial axes: a sequence is one row, of a volume the largest value is shown."""
    if maps.ndim == 2:
        return maps[:, None]
    while maps.ndim > 3:
        maps = maps.amax(1)
    return maps


def _selectivity(maps: Tensor) -> Tensor:
    """How far each channel's strongest value stands out of its map: 1 - mean / maximum of what is above zero."""
    positive = maps.clamp(min=0)
    largest = positive.amax(1)
    return torch.where(largest > 0, 1 - positive.mean(1) / largest.clamp(min=1e-30), torch.zeros_like(largest))


def _unravelled(place: int, dims: tuple[int, ...]) -> tuple[int, ...]:
    parts = []
    for size in reversed(dims):
        place, part = divmod(place, size)
        parts.append(part)
    return tuple(reversed(parts))


def _raveled(position: tuple[int, ...], dims: tuple[int, ...]) -> int:
    flat = 0
    for index, size in zip(position, dims, strict=True):
        if not 0 <= index < size:
            raise InputError(f"a position in a map of {described(dims)} is not {described(position)}")
        flat = flat * size + index
    return flat


def _number(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return value if math.isfinite(value) else None


def _numbers(values: Tensor) -> list[float | None]:
    return [_number(round(value, 6)) for value in values.tolist()]
