"""Evolution (Zeiler and Fergus, Figure 4): how features develop over the checkpoints of a training run.

As in the paper, the strongest image of each channel in a dataset is found at every checkpoint and projected. Zeiler and
Fergus made two observations by eye, which are measured here.

*Sudden jumps*: the share of a layer's channels whose strongest image changes, and the distance between consecutive
pictures.

*Lower layers settle early, upper layers late.* Pictures of different images cannot show this, so each channel is also
projected from one fixed image and position: those where it is strongest at the last checkpoint. The seed is 1, so that
channels that do not fire yet have a picture, too. The mean distance over channels to the final picture falls to zero at
the last checkpoint. A layer has *settled* at the first checkpoint after which at most half of the initial distance ever
remains. A projection passes through all lower layers, so that an upper layer cannot settle before them, whatever the
training does: `deconvviz.experiments._settling` therefore varies each layer alone, and has a control.

The distance between two projections a and b, over all pixels of the image, is

    d(a, b) = || a / ||a|| - b / ||b|| || / sqrt(2)

It is 0 for pictures that differ only by a positive factor, 1 for pictures with nothing in common (for example, from
different places), and sqrt(2) for a picture and its negative; it is 1 to an empty projection, and 0 between two empty
ones. A projection depends on the weights of its layer and of all lower layers, never on upper ones.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deconvviz.arguments import FLAG, NET, once, takes
from deconvviz.data.batches import is_indexed
from deconvviz.data.datasets import as_dataset
from deconvviz.data.items import prepared_image
from deconvviz.data.steadiness import check_steady
from deconvviz.errors import InputError
from deconvviz.experiments._run_checkpoints import RunCheckpoint, checkpoints_of, times_of, weights_kept
from deconvviz.experiments._settling import Settling, distance, settling_of, verdict_of
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.io.restoring import Restored
from deconvviz.mining.scan import scan
from deconvviz.net import DeconvNet
from deconvviz.projection.units import channels_of
from deconvviz.recording.layer_names import Layers
from deconvviz.recording.placement import Placement
from deconvviz.results import Projection, StrongestUnit, TopActivations
from deconvviz.results.evolution import Evolution

LAYERS_SHOWN, CHANNELS_SHOWN, CHANNELS_MEASURED = (
    5,
    6,
    48,
)  # by default: layers, channels shown of each, channels measured of each, at most


@takes(net=NET, progress=FLAG)
@on_the_cpu
def evolution(
    net: DeconvNet,
    checkpoints: str | os.PathLike[str] | Mapping[Any, Mapping[str, Tensor]] | Iterable[Any],
    dataset: Any,
    *,
    layers: Layers = None,
    channel: Iterable[int] | Mapping[str, Iterable[int]] | None = None,
    runs: Iterable[Any] = (),
    batch_size: int = 64,
    progress: bool = True,
) -> Evolution:
    """Show what channels respond to at each checkpoint of a training run, and when each layer settles.

    If names or numbers of checkpoints increase, they give the time axis: ``epoch-003`` is 3. The model's weights are
    restored, even after an error.

    Args:
        net: The network.
        checkpoints: A folder of weights files in the natural order of their names (``epoch-9`` before ``epoch-10``; no
            pickled code is run), or state dicts in order: an iterable of state dicts or of (name, state dict), or a
            mapping from names. State dicts are copied as they come, so a generator may train the model itself.
        dataset: A dataset with items by number, as for `deconvviz.scan`.
        layers: Layer names; None for all convolutions, or for five evenly spaced ones if there are more.
        channel: Channels to show, for all layers or per layer; None for the six with the highest activations at the
            last checkpoint. Shares refer to all channels of a layer. Distances are measured for the given channels;
            without them, for all channels, or for 48 evenly spaced ones if there are more.
        runs: The checkpoints of further training runs with other seeds, each as `checkpoints`. The order in which
            layers settle has a verdict from three runs in all.
        batch_size: Images per forward pass.
        progress: Whether to show a progress bar.

    Returns:
        A `deconvviz.results.Evolution`.

    Raises:
        MissingFileError: If the checkpoints do not exist.
        CheckpointError: If a checkpoint cannot be read or does not fit the model.
        InputError: If there are fewer than two checkpoints, a channel does not exist, or the dataset has no item
            numbers.
        DataError: If the dataset is empty.
        UnknownLayerError: If a layer does not exist.
    """
    dataset = as_dataset(dataset)
    if not is_indexed(dataset):
        raise InputError(
            "evolution goes through the data once for each checkpoint; give a dataset with items by number"
        )
    loaded = checkpoints_of(checkpoints)
    channel = once(channel)  # each run and layer reads them
    others = [checkpoints_of(run) for run in runs]
    with Restored(weights_kept(net.model)):
        for checkpoint in (*itertools.chain(*others), *loaded):  # before hours of work
            checkpoint.load_into(net.model)
        study = _Study(net, dataset, batch_size, layers, channel)
        steps = progress_bar(loaded[:-1], desc="evolution", unit="checkpoint", shown=progress)
        seen = [*(study.look(checkpoint) for checkpoint in steps), study.last]
        settling = [settling_of(net.model, loaded, study.layers, study.drawn)]
        for run in others:
            run[-1].load_into(net.model)
            other = _Study(net, dataset, batch_size, study.layers, channel)
            settling.append(settling_of(net.model, run, study.layers, other.drawn))
    return study.result([checkpoint.name for checkpoint in loaded], seen, settling)


# Looking at one checkpoint after the other


@dataclass(frozen=True)
class _Seen:
    """The measurements at one checkpoint.

    Attributes:
        images: Per layer (channels,), the strongest images.
        fires: Per layer (channels,), whether the channel fires.
        rows: Per layer, the units shown in the grid.
        strongest: Per layer (measured, pixels), projections of unit length of the strongest units.
        fixed: Per layer (measured, pixels), the same for the units that are strongest at the last checkpoint.
    """

    images: dict[str, Tensor]
    fires: dict[str, Tensor]
    rows: dict[str, list[StrongestUnit]]
    strongest: dict[str, Tensor]
    fixed: dict[str, Tensor]


class _Study:
    """The layers and channels that are compared, and where these are strongest at the last checkpoint.

    It is created while the model has the last checkpoint's weights.
    """

    def __init__(self, net: DeconvNet, dataset: Any, batch_size: int, layers: Any, channels: Any) -> None:
        self.net, self.dataset, self.batch_size = net, dataset, batch_size
        self.final = self._scanned(layers)
        self.layers = list(self.final.layers) if layers is not None else _thinned(self.final)
        self.shown: dict[str, list[int]] = {}
        self.measured: dict[str, list[int]] = {}
        for layer in self.layers:
            asked = channels.get(layer) if isinstance(channels, Mapping) else channels
            self.shown[layer], self.measured[layer] = _chosen(layer, self.final.values[layer][:, 0], asked)
        if isinstance(channels, Mapping) and (strangers := [name for name in channels if name not in self.layers]):
            raise InputError(f"channels are given for layer {strangers[0]!r}, which is not among {self.layers}")
        check_steady(dataset, [int(self.final.images[name][0, 0]) for name in self.layers], net)
        self.last = self._seen(self.final)

    def look(self, checkpoint: RunCheckpoint) -> _Seen:
        checkpoint.load_into(self.net.model)
        try:
            return self._seen(self._scanned(self.layers))
        except InputError as error:
            raise InputError(f"{checkpoint.described}: {error}") from error

    def _scanned(self, layers: Any) -> TopActivations:
        return scan(
            self.net, self.dataset, layers=layers, k=1, batch_size=self.batch_size, labels=False, progress=False
        )

    def _seen(self, top: TopActivations) -> _Seen:
        rows, strongest, fixed = {}, {}, {}
        for layer in self.layers:
            union = sorted({*self.shown[layer], *self.measured[layer]})
            own = self._projected(top, layer, union, "activation")
            places = {channel: row for row, channel in enumerate(union)}
            rows[layer] = [_cut(own, places[channel], top, layer) for channel in self.shown[layer]]
            strongest[layer] = _unit_length(own.pixels[[places[channel] for channel in self.measured[layer]]])
            fixed[layer] = self.drawn(layer)
        images = {layer: top.images[layer][:, 0] for layer in self.layers}
        return _Seen(images, {layer: top.values[layer][:, 0] > 0 for layer in self.layers}, rows, strongest, fixed)

    def drawn(self, layer: str) -> Tensor:
        """(measured, pixels), the units that are strongest at the last checkpoint, with the model's present weights."""
        return _unit_length(self._projected(self.final, layer, self.measured[layer], "one").pixels)

    def _projected(self, top: TopActivations, layer: str, channels: Sequence[int], seed: str) -> Projection:
        """Project the strongest units of some channels, as `top` lists them, with the model's present weights."""
        numbers = top.images[layer][channels, 0].tolist()
        distinct = sorted(set(numbers))
        placement = Placement.of(self.net.model)
        preprocess = placement.preprocess(self.net.preprocess)
        items = [prepared_image(self.dataset[number], preprocess) for number in distinct]
        if len({item.shape for item in items}) > 1:
            raise InputError(
                "the images of the data have different shapes; give the network a preprocess that makes them alike"
            )
        x = placement.moved(torch.stack(items))
        units = [
            (distinct.index(number), channel, top.positions[layer][channel, 0].tolist())
            for number, channel in zip(numbers, channels, strict=True)
        ]
        return self.net.project_units(x, layer, units, seed=seed)

    def result(self, names: Sequence[str], seen: Sequence[_Seen], settling: Sequence[Settling]) -> Evolution:
        times = times_of(names)
        changed, jumps, moves, remaining, settled = {}, {}, {}, {}, {}
        pairs = list(itertools.pairwise(seen))
        for layer in self.layers:
            changed[layer] = torch.stack([_share_changed(a, b, layer) for a, b in pairs])
            jumps[layer] = torch.stack([distance(a.strongest[layer], b.strongest[layer]) for a, b in pairs], 1)
            moves[layer] = torch.stack([distance(a.fixed[layer], b.fixed[layer]) for a, b in pairs], 1)
            remaining[layer] = torch.stack([distance(state.fixed[layer], self.last.fixed[layer]) for state in seen], 1)
            # Channels with a picture at all.
            drawn = torch.stack([state.fixed[layer].any(1) for state in seen]).any(0)
            silent = not bool(drawn.any())
            settled[layer] = math.nan if silent else times[_settled(remaining[layer][drawn].mean(0))]
        grids = {layer: tuple(zip(*(state.rows[layer] for state in seen), strict=True)) for layer in self.layers}
        return Evolution(
            checkpoints=tuple(names),
            times=times,
            grids=grids,
            images={layer: torch.stack([state.images[layer] for state in seen], 1) for layer in self.layers},
            changed=changed,
            measured={layer: tuple(self.measured[layer]) for layer in self.layers},
            jumps=jumps,
            moves=moves,
            remaining=remaining,
            settled=settled,
            count=self.final.count,
            broken=self.final.broken,
            alone=settling[0].alone,
            lockstep=settling[0].lockstep,
            half_times={layer: torch.stack([run.half_times(layer) for run in settling]) for layer in settling[0].alone},
            verdict=verdict_of(settled, settling),
        )


def _thinned(top: TopActivations) -> list[str]:
    """Layers with positions, that is convolutions, if there are any; of many, some evenly."""
    layers = [layer for layer in top.layers if top.positions[layer].shape[2]] or list(top.layers)
    return [layers[place] for place in _evenly(len(layers), LAYERS_SHOWN)]


def _evenly(count: int, most: int) -> list[int]:
    """Numbers from 0 to count - 1: all, or `most` of them evenly, the first and the last among them."""
    return list(range(count)) if count <= most else torch.linspace(0, count - 1, most).round().long().tolist()


def _chosen(layer: str, strongest: Tensor, asked: Any) -> tuple[list[int], list[int]]:
    """The channels of a layer to show, and those to measure. strongest: (channels,), activations in the end."""
    count = len(strongest)
    if asked is None:
        return sorted(strongest.topk(min(CHANNELS_SHOWN, count)).indices.tolist()), _evenly(count, CHANNELS_MEASURED)
    channels = channels_of(asked, count, layer)
    return channels, list(dict.fromkeys(channels))


def _cut(projection: Projection, row: int, top: TopActivations, layer: str) -> StrongestUnit:
    unit, field = projection.units[row], projection.receptive_fields[row].tolist()
    window = (slice(None), *(slice(first, end) for first, end in field))
    return StrongestUnit(
        channel=unit.channel,
        image=int(top.images[layer][unit.channel, 0]),
        position=unit.position,
        activation=unit.activation,
        patch=projection.image(row)[window].clone(),
        pixels=projection.cut(row, field).cpu().clone(),
        field=tuple((first, end) for first, end in field),
    )


# Distances, and when layers settle


def _unit_length(pixels: Tensor) -> Tensor:
    """(units, pixels), each of length one; empty ones stay empty."""
    flat = pixels.detach().flatten(1).cpu()
    flat = flat.to(torch.promote_types(flat.dtype, torch.float32))
    flat = flat / flat.abs().amax(1, keepdim=True).clamp(min=torch.finfo(flat.dtype).tiny)  # squares of small numbers
    return torch.nn.functional.normalize(flat)


def _share_changed(a: _Seen, b: _Seen, layer: str) -> Tensor:
    fires = a.fires[layer] | b.fires[layer]
    share: Tensor = (a.images[layer] != b.images[layer])[fires].double().mean()
    return share


def _settled(remaining: Tensor) -> int:
    """The first index from which (T,) stays at or below half of its first value."""
    above = (remaining > remaining[0] / 2).nonzero()
    return int(above[-1]) + 1 if len(above) else 0
