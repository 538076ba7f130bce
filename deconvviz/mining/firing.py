"""Which channels are dead and which are always on, over all positions of all images.

A channel is looked at behind its rectifier, after a normalisation between the two. It is dead if it is above zero at no
position of any image, and always on if it is above zero at every position of every image. A channel without a rectifier
is dead if it is constant, and never counts as always on.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from deconvviz.operations.normalisation import BATCH_NORMS
from deconvviz.operations.rectifiers import RECTIFIERS
from deconvviz.recording.tape import Tape

BATCHES_WAITING = 64  # batches whose extremes wait on an accelerator


class Firing:
    """What is known of the channels of a layer, on the CPU. It can be merged in any order, with the same bits.

    Attributes:
        dead: Whether a channel may be dead, (channels,).
        always_on: Whether it may be always on, (channels,).
        constant: Without a rectifier, the value at all positions, or NaN if they differ; infinity before the first
            image, and with a rectifier, (channels,).
    """

    def __init__(self, channels: int) -> None:
        self.dead = torch.ones(channels, dtype=torch.bool)
        self.always_on = torch.ones(channels, dtype=torch.bool)
        self.constant = torch.full((channels,), torch.inf, dtype=torch.float64)

    @classmethod
    def of(cls, low: Tensor, high: Tensor, rectified: bool) -> Firing:
        """What the least and the greatest value of each channel say, (channels,) each."""
        firing = cls(len(low))
        if rectified:
            firing.dead, firing.always_on = high <= 0, low > 0
        else:
            firing.dead, firing.always_on = low == high, torch.zeros_like(firing.always_on)
            firing.constant = torch.where(firing.dead, low.double(), torch.nan)
        return firing

    def merge(self, other: Firing) -> None:
        """Add what is known from other images."""
        new, known = self.constant.isposinf(), other.constant.isposinf()
        alike = new | known | (self.constant == other.constant)
        self.dead &= other.dead & alike
        self.always_on &= other.always_on
        self.constant.copy_(torch.where(alike, torch.where(new, other.constant, self.constant), torch.nan))


class Extremes:
    """The least and the greatest value of each channel, as far as they decide whether it is dead or always on.

    Most channels are decided by the first batch, and are not read again once the host knows: on a CPU at once, on an
    accelerator whenever `firing_of` has read what waits there.
    """

    def __init__(self, maps: Tensor, rectified: bool) -> None:
        """Begin without images; `maps` (N, channels, positions) says how many channels there are, and where."""
        self.channels = channels = maps.shape[1]
        self.rectified, self.on_the_cpu = rectified, maps.device.type == "cpu"
        self.ends = torch.tensor([[torch.inf], [-torch.inf]], dtype=maps.dtype, device="cpu").repeat(1, channels)
        self.open = torch.arange(channels, device="cpu")  # channels that may still be dead or always on
        self._wait_for(maps)

    def _wait_for(self, like: Tensor) -> None:
        """Make room for the extremes of open channels on an accelerator; the first row has those gathered so far."""
        rows = 1 if self.on_the_cpu else BATCHES_WAITING
        self.low = like.new_full((rows, len(self.open)), torch.inf)
        self.high = torch.full_like(self.low, -torch.inf)
        self.there = self.open.to(like.device)
        self.waiting = 1

    def add(self, maps: Tensor) -> None:
        """Add images, (N, channels, positions); on an accelerator maps are read once, without a read by the host."""
        if not len(self.open):
            return
        every = len(self.open) == maps.shape[1]
        if self.on_the_cpu:
            part = maps if every else maps[:, self.open]
            self.enter(part.amin((0, 2)), part.amax((0, 2)))
            return
        if self.waiting == len(self.low):
            self.low[0], self.high[0] = self.both()
            self.waiting = 1
        row = self.low[self.waiting], self.high[self.waiting]
        if every:
            low, high = torch.aminmax(maps, dim=2)
            torch.amin(low, 0, out=row[0])
            torch.amax(high, 0, out=row[1])
        else:
            torch.aminmax(maps.transpose(0, 1).index_select(0, self.there).flatten(1), dim=1, out=row)
        self.waiting += 1

    def both(self) -> Tensor:
        """What waits: the least and the greatest value of each open channel, (2, open channels)."""
        return torch.stack([self.low[: self.waiting].amin(0), self.high[: self.waiting].amax(0)])

    def enter(self, low: Tensor, high: Tensor) -> None:
        """Enter extremes of the open channels, which are on the CPU, and leave those that are decided by them."""
        low, high = low.to(self.ends.dtype), high.to(self.ends.dtype)  # layers of several types are read together
        self.ends[0, self.open] = torch.minimum(self.ends[0, self.open], low)
        self.ends[1, self.open] = torch.maximum(self.ends[1, self.open], high)
        low, high = self.ends[:, self.open]
        before = len(self.open)
        self.open = self.open[(low > 0) | (high <= 0) if self.rectified else low == high]
        if len(self.open) < before:
            self._wait_for(self.low)


def firing_of(extremes: Mapping[str, Extremes]) -> dict[str, Firing]:
    """What the images say of each layer's channels, by one read of each device."""
    firing: dict[str, Firing] = {}
    for device in {of.low.device for of in extremes.values()}:
        layers = {name: of for name, of in extremes.items() if of.low.device == device}
        waiting = torch.cat([of.both() for of in layers.values()], 1).cpu()
        parts = waiting.split([len(of.open) for of in layers.values()], 1)
        for (name, of), (low, high) in zip(layers.items(), parts, strict=True):
            of.enter(low, high)
            firing[name] = Firing.of(of.ends[0], of.ends[1], of.rectified)
    return firing


def innermost_names(tape: Tape) -> dict[int, str]:
    """The layer that returns each value; of several, the innermost."""
    names: dict[int, str] = {}
    for layer in tape.layers.values():
        names.setdefault(layer.value.id, layer.name)
    return names


def fires_at(tape: Tape, layer: str) -> tuple[str, bool]:
    """The layer at which to measure a layer's channels, and whether it is a rectifier.

    This is the layer after normalisation and rectifier, if these are layers and nothing else reads the values before
    them.
    """
    names, value, place = innermost_names(tape), tape.layers[layer].value, layer
    maker = tape.makers().get(value.id)
    if maker is not None and getattr(maker.func, "overloadpacket", None) in RECTIFIERS:
        return layer, True
    while True:
        readers = [operation for operation in tape.operations if value in operation.inputs]
        kind = getattr(readers[0].func, "overloadpacket", None) if len(readers) == 1 else None
        if kind not in (*RECTIFIERS, *BATCH_NORMS) or readers[0].made.id not in names:
            return place, False
        value = readers[0].made
        place = names[value.id]
        if kind in RECTIFIERS:
            return place, True
