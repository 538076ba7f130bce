"""Which channels feed a channel: how much each of them adds to the activation of its strongest units."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deconvviz.net import DeconvNet
from deconvviz.projection.units import UnitPlace
from deconvviz.reading.fed_units import FeederSearch, in_parts, nearest
from deconvviz.trace import Trace

STRONGEST = 8  # channels that are shown
UNITS = 3  # of each channel, the strongest ones
SMALLEST_SHARE = 5e-4  # of an activation, below which a channel is not shown


class ChannelInputs:
    """What feeds the channels of one layer, added up from batch to batch."""

    def __init__(self, net: DeconvNet, layer: str, layers: Sequence[str]) -> None:
        """Begin a layer.

        Args:
            net: The network.
            layer: The layer.
            layers: Layers whose channels count as inputs.
        """
        self._net, self._layer, self._layers = net, layer, layers
        self._search: FeederSearch | None = None
        self._together = 1  # images
        self._shares: dict[int, list[dict[str, Tensor]]] = {}  # by channel, one entry per unit

    def add(self, x: Tensor, trace: Trace, units: Sequence[UnitPlace]) -> None:
        """Take in some units.

        Args:
            x: Images, (N, C, H, W).
            trace: A run on them, up to the layer.
            units: Sample, channel and position of each unit; all of them fire.
        """
        if self._search is None:
            names = [name for name in self._layers if name in trace.tape.layers and name != self._layer]
            self._search = FeederSearch(self._net, self._layer, nearest(trace, self._layer, names))
            self._together = self._search.at_once(x[:1], len(x))
        if not self._search.names:
            return
        for rows in in_parts(sorted({sample for sample, _, _ in units}), self._together):
            own = [(rows.index(sample), channel, place) for sample, channel, place in units if sample in rows]
            fed = self._search.units(x[torch.tensor(rows, device=x.device)], own)
            for number, (_, channel, _) in enumerate(own):
                of_unit = {name: added[number] / fed.values[number] for name, added in fed.added.items()}
                self._shares.setdefault(channel, []).append(of_unit)

    def of_channel(self, channel: int) -> tuple[tuple[str, int, float], ...]:
        """Layer, channel and share of the activation of the channels that add or take most, strongest first."""
        units = self._shares.get(channel, [])
        if not units or self._search is None:
            return ()
        names = [name for name in self._search.names if name in units[0]]
        places = [(name, number) for name in names for number in range(len(units[0][name]))]
        shares = torch.cat([torch.stack([unit[name] for unit in units]).mean(0) for name in names])
        order = shares.abs().argsort(descending=True, stable=True)[:STRONGEST].tolist()
        strongest = [(*places[at], round(float(shares[at]), 4)) for at in order]
        return tuple(entry for entry in strongest if abs(entry[2]) >= SMALLEST_SHARE)
