"""Small pictures of a channel: what its strongest units see, and what fired them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deconvviz.mining.dataset_pictures import DatasetPictures
from deconvviz.mining.project_top import project_top
from deconvviz.net import DeconvNet
from deconvviz.reading.conditions import as_picture, shortened
from deconvviz.reading.cut_pictures import cut_patches, in_bytes
from deconvviz.reading.pieces import UnitWindows, small
from deconvviz.results import ChannelTop, TopActivations
from deconvviz.results.circuit import CircuitUnit

PICTURED_UNITS = 9
BLANK_PICTURES = torch.zeros(0, 1, 1, 1, dtype=torch.uint8)


class ChannelPictures(NamedTuple):
    """Patches and projections of a channel's strongest units, bytes (units, C, h, w), and their images' names."""

    patches: Tensor
    projections: Tensor
    names: tuple[str, ...]


class UnitPictures:
    """Pictures of channels, by layer and channel."""

    def __init__(self, known: Mapping[tuple[str, int], ChannelPictures]) -> None:
        self._known = known

    @classmethod
    def of(
        cls, net: DeconvNet, data: Any, top: TopActivations, channels: Iterable[tuple[str, int]], batch_size: int
    ) -> UnitPictures:
        """Project the strongest units of channels; none for inputs that are no images.

        Args:
            net: The network.
            data: The dataset that was scanned.
            top: What was found.
            channels: Layer and channel of each.
            batch_size: Number of images that are recorded together.
        """
        by_layer: dict[str, list[int]] = {}
        for layer, channel in channels:
            if layer in top.values and bool((top.values[layer][channel] > 0).any()):
                by_layer.setdefault(layer, []).append(channel)
        known: dict[tuple[str, int], ChannelPictures] = {}
        few = shortened(top, PICTURED_UNITS)
        for layer, numbers in by_layer.items():
            first = DatasetPictures(net, data).inputs(int(top.images[layer][numbers[0], 0]))[0]
            if not isinstance(first, Tensor) or first.ndim != 3:
                break
            windows = UnitWindows.of(net.layers(first[None])[layer], first.shape)
            for one in project_top(net, data, few, layer=layer, channel=numbers, batch_size=batch_size, progress=False):
                known[layer, one.channel] = _pictures(one, windows)
        return cls(known)

    def with_pictures(self, unit: CircuitUnit) -> CircuitUnit:
        """A channel of a circuit with its pictures."""
        found = self._known.get((unit.layer, unit.channel))
        return unit if found is None else replace(unit, **found._asdict())


def _pictures(top: ChannelTop, windows: UnitWindows) -> ChannelPictures:
    projections = as_picture(small(windows.projected(top.projection)))
    return ChannelPictures(in_bytes(cut_patches(top, windows)), in_bytes(projections), tuple(top.names))
