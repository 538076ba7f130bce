"""What stands for a channel in a test of reading: its nine pictures, of one kind or another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deconvviz.errors import InputError, did_you_mean
from deconvviz.images import display_scale
from deconvviz.mining.project_top import project_top
from deconvviz.net import DeconvNet
from deconvviz.reading.pieces import UnitWindows, edge_energy, masked, small
from deconvviz.reading.questions import anywhere
from deconvviz.reading.synthetic_references import SYNTHETIC
from deconvviz.results import TopActivations
from deconvviz.results.reading import ANOTHER, PATCHES, RANDOM
from deconvviz.rules import Style

READ_STYLES = ("deconvnet", "guided", "gradient")
MASKED, EDGES = "masked patches", "edge-masked patches"


class References(NamedTuple):
    """A channel's pictures under one condition, (k, C, h, w) in [0, 1]; signed ones have zero at 0.5."""

    pictures: Tensor
    signed: bool = False


def chosen_conditions(given: Sequence[str] | None, style: Style) -> list[str]:
    """Conditions by name; None for all but synthetic pictures, which take long.

    Raises InputError for an unknown name, or if there is none.
    """
    known = list(dict.fromkeys((PATCHES, style.name, *READ_STYLES, MASKED, EDGES, ANOTHER, RANDOM)))
    names = known if given is None else list(dict.fromkeys(given))
    every = [*known, SYNTHETIC]
    for name in names:
        if name not in every:
            listed = ", ".join(map(repr, every))
            raise InputError(f"there are no pictures {name!r}; there are {listed}{did_you_mean(name, every)}")
    if not names:
        raise InputError("there are no pictures to read; name at least one condition, or give conditions=None for all")
    return names


@dataclass(frozen=True, kw_only=True)
class PictureSource:
    """Where a channel's pictures come from.

    Attributes:
        net: The network.
        data: The images among which the strongest were found.
        top: What was found.
        layer: The layer.
        dims: The size of a map.
        windows: What the layer's units see.
        picture: The image of a number, as people see it, (C, H, W).
        names: The conditions.
        firing: Channels with as many pictures as are asked for.
        synthetic: A function that makes pictures (count, C, h, w) of each of some channels.
    """

    net: DeconvNet
    data: Any
    top: TopActivations
    layer: str
    dims: tuple[int, ...]
    windows: UnitWindows
    picture: Callable[[int], Tensor]
    names: Sequence[str]
    firing: Sequence[int]
    synthetic: Callable[[Sequence[int]], dict[int, Tensor]]

    def references(
        self, channels: Sequence[int], generator: torch.Generator, batch_size: int
    ) -> dict[int, dict[str, References]]:
        """Per channel and condition its pictures. A channel without another one that fires has none of that."""
        own = self.net.style.name
        projected = {
            name: self.projected(name, channels, batch_size)
            for name in dict.fromkeys((own, *READ_STYLES))
            if name in self.names or (name == own and MASKED in self.names)
        }
        if SYNTHETIC in self.names:
            projected[SYNTHETIC] = self.synthetic(channels)
        return {channel: dict(self._of_channel(channel, projected, generator)) for channel in channels}

    def _of_channel(
        self, channel: int, projected: Mapping[str, Mapping[int, Tensor]], generator: torch.Generator
    ) -> list[tuple[str, References]]:
        patches = self._patches(channel)
        others = [number for number in self.firing if number != channel]
        other = int(torch.randint(max(1, len(others)), (1,), generator=generator))
        elsewhere = self._random(len(patches), generator)  # drawn whichever conditions are asked for
        found: dict[str, References] = {}
        for name in self.names:
            if name == PATCHES:
                found[name] = References(patches)
            elif name == MASKED:
                energy = projected[self.net.style.name][channel].square().sum(1, keepdim=True)
                found[name] = References(masked(patches, energy))
            elif name == EDGES:
                found[name] = References(masked(patches, edge_energy(patches)))
            elif name == RANDOM:
                found[name] = References(elsewhere)
            elif name == SYNTHETIC:
                found[name] = References(projected[name][channel])
            elif name != ANOTHER:
                found[name] = References(as_picture(projected[name][channel]), signed=True)
            elif others:
                found[name] = References(self._patches(others[other]))
        return list(found.items())

    def _patches(self, channel: int) -> Tensor:
        images, positions = (part[self.layer][channel].tolist() for part in (self.top.images, self.top.positions))
        cut = [self.windows.cut(self.picture(n), place) for n, place in zip(images, positions, strict=True)]
        return small(torch.stack(cut))

    def _random(self, count: int, generator: torch.Generator) -> Tensor:
        broken = {item.image for item in self.top.broken}
        numbers = [n for n in torch.randperm(len(self.data), generator=generator).tolist() if n not in broken][:count]
        return small(torch.stack([self.windows.cut(self.picture(n), anywhere(self.dims, generator)) for n in numbers]))

    def projected(self, style: str, channels: Sequence[int], batch_size: int) -> dict[int, Tensor]:
        """Per channel that fires (k, C, h, w), signed, strongest unit first."""
        kind = self.net.style if style == self.net.style.name else style
        net = DeconvNet(self.net.model, kind, preprocess=self.net.preprocess, strict=self.net.strict)
        found = project_top(
            net, self.data, self.top, layer=self.layer, channel=list(channels), batch_size=batch_size, progress=False
        )
        return {top.channel: small(self.windows.projected(top.projection)) for top in found}


def as_picture(signed: Tensor) -> Tensor:
    """Signed pictures (N, C, h, w) in [0, 1], each on its own scale, with zero at 0.5."""
    scales = [display_scale(picture) or 1.0 for picture in signed]
    return (0.5 + 0.5 * signed / signed.new_tensor(scales).view(-1, 1, 1, 1)).clamp(0, 1)


def shortened(top: TopActivations, count: int) -> TopActivations:
    """The same with lists of at most so many units."""
    values, images, positions = (
        {layer: numbers[:, :count] for layer, numbers in part.items()}
        for part in (top.values, top.images, top.positions)
    )
    return replace(top, values=values, images=images, positions=positions)
