"""Looking at a model's layers as it runs, and keeping of each map only what is strongest.

The layers are learnt from one recorded run; after that no tape is written: hooks give the names, and each map (N,
channels, ...) is reduced to its maxima. Where these are is looked up only in images that may enter a list.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deconvviz.data.batches import Batch
from deconvviz.errors import DeconvVizError, InputError, unknown_layer
from deconvviz.mining.tally import Tally
from deconvviz.net import DeconvNet
from deconvviz.projection.model_call import misfit
from deconvviz.projection.receptive_field import channel_axis
from deconvviz.projection.units import sample_shape
from deconvviz.recording.isolation import on_the_cpu
from deconvviz.recording.observer import AllLayersSeen, Observer
from deconvviz.recording.restoring import Restored
from deconvviz.recording.rounding import sampled
from deconvviz.results import LayerInfo
from deconvviz.trace import Trace

SCANNED = (nn.modules.conv._ConvNd, nn.Linear)


# Positions as one number each, so that their order is that of the map


def packed(places: Tensor, dims: Sequence[int]) -> Tensor:
    """One number for each flat index into maps of size `dims`, from which the position comes back without `dims`."""
    bits = 62 // max(1, len(dims))
    number = torch.zeros_like(places)
    for place in torch.unravel_index(places, dims) if dims else ():
        number = (number << bits) + place
    return number


def unpacked(numbers: Tensor, dimensions: int) -> Tensor:
    """Positions (..., dimensions) from packed numbers; -1 stays -1."""
    bits = 62 // max(1, dimensions)
    parts = [(numbers >> bits * axis) & (2**bits - 1) for axis in reversed(range(dimensions))]
    places = torch.stack(parts, -1) if parts else numbers[..., None][..., :0]
    return torch.where(numbers[..., None] < 0, -1, places)


# Looking at a model's layers as it runs


@dataclass(frozen=True)
class _Seen:
    """A layer: where its channels lie, and within how many positions, per axis, a stronger unit hides a weaker one."""

    axis: int
    hides: tuple[float, ...]  # infinite where units see the whole input


class Scanner:
    """Runs a model on batches and enters what its layers show into tallies.

    layers: names; None for all convolutions and linear modules.
    sample: (1, C, ...), an input to learn the layers from. batched: whether batches hold several samples.
    shown: what each layer makes of it, `deconvviz.recording.rounding.sampled`.
    """

    def __init__(
        self, net: DeconvNet, layers: Sequence[str] | None, sample: Tensor, k: int, per_image: int, batched: bool
    ) -> None:
        self.model, self.k, self.per_image = net.model, k, per_image
        self.device = next(net.model.parameters(), sample).device
        sample = sample.to(self.device)
        with Restored(torch.inference_mode(False), torch.no_grad()):
            x = sample.clone().expand(1 + batched, *sample.shape[1:])
            trace = net.trace(x)
            asked = layers or self._default(trace)
            for name in asked:
                if name not in trace.tape.layers:
                    raise unknown_layer(self.model, name, trace.tape.layers)
            table = net.layers(trace)
            self.layers = {name: self._learnt(trace, table[name]) for name in asked}
            found = self._check_names(trace, x)
            self.shown = {name: sampled(maps.unflatten(0, (len(x), -1))[0].squeeze(0)) for name, maps in found.items()}

    def _default(self, trace: Trace) -> list[str]:
        modules = dict(self.model.named_modules())
        found = []
        for layer in trace.tape.layers.values():
            name = layer.name if layer.name in modules else layer.name.rpartition("_")[0]
            if isinstance(modules.get(name), SCANNED) and layer.value.carries_signal:
                found.append(layer.name)
        if not found:
            raise InputError(f"{type(self.model).__name__} runs no convolution or linear layers; name layers to scan")
        return found

    def _learnt(self, trace: Trace, row: LayerInfo) -> _Seen:
        value = trace.tape.layers[row.name].value
        samples = trace.tape.samples
        if not value.carries_signal:
            raise InputError(f"layer {row.name!r} returns {value.dtype}, which has no activations")
        if samples > 1 and value.id not in trace.apart:
            raise InputError(f"layer {row.name!r} mixes the samples of a batch; scan it with batch_size=1")
        axis = channel_axis(trace.tape, value)
        rows, *rest = sample_shape(value.shape, samples)
        dimensions = len(rest) - 1 + (rows > 1)
        hides = (math.inf,) * dimensions
        if row.stride and row.receptive_field and len(row.stride) == dimensions and axis == 1:
            hides = tuple(
                size / 2 / step if step else math.inf
                for size, step in zip(row.receptive_field, row.stride, strict=True)
            )
        return _Seen(axis, hides)

    def _check_names(self, trace: Trace, x: Tensor) -> dict[str, Tensor]:
        """What the layers return for the input, when they are run and not recorded.

        Sees that the layers are the recorded ones: functional calls are counted, also those apart from the input."""
        with Restored((looker := _Looker(self.model, self.layers)).observing()), contextlib.suppress(AllLayersSeen):
            self.model(x)
        for name in self.layers:
            found, recorded = looker.found.get(name), trace.activations[name]
            if found is None or found.shape != recorded.shape or not torch.allclose(found, recorded, 1e-3, 1e-5, True):
                raise InputError(
                    f"layer {name!r} is one of several calls of that function, some of which do not see the input; "
                    f"scan a module around it"
                )
        return {name: looker.found[name] for name in self.layers}

    def run(self, batch: Batch, tallies: dict[str, Tally]) -> None:
        """Enter one batch. Raises InputError where it does not fit the model or makes it overflow."""
        assert batch.images is not None
        x = batch.images.to(self.device, non_blocking=True)
        reducer = _Reducer(self, batch.numbers, tallies)
        try:
            with Restored(reducer.observing()), contextlib.suppress(AllLayersSeen):
                self.model(x)
        except DeconvVizError:
            raise
        except (RuntimeError, ValueError, IndexError) as error:
            if explained := misfit(self.model, x, error):
                raise InputError(explained) from error
            raise
        reducer.finish()
        if missing := [name for name in self.layers if name not in reducer.seen]:
            first, last = int(batch.numbers[0]), int(batch.numbers[-1])
            raise InputError(f"layer {missing[0]!r} did not run on images {first} to {last}; leave it out")


class _Looker(Observer):
    """Keeps what layers returned."""

    def __init__(self, model: nn.Module, wanted: Collection[str]) -> None:
        super().__init__(model, wanted)
        self.found: dict[str, Tensor] = {}

    def layer_returned(self, name: str, kind: str, tensor: Tensor) -> bool:
        if name in self.wanted:
            self.found[name] = tensor.detach().clone()
        return True


class _Reducer(Observer):
    """Reduces each layer's maps (N, channels, ...) to their maxima, as it runs."""

    def __init__(self, scanner: Scanner, numbers: Tensor, tallies: dict[str, Tally]) -> None:
        super().__init__(scanner.model, scanner.layers)
        self.scanner, self.numbers, self.tallies = scanner, numbers, tallies
        self.waiting: list[tuple[str, Tensor, Tensor]] = []  # on a GPU: layer, maxima and their places

    def layer_returned(self, name: str, kind: str, tensor: Tensor) -> bool:
        if name in self.wanted:
            maps = tensor.unflatten(0, (len(self.numbers), -1)).movedim(self.scanner.layers[name].axis + 1, 1)
            maps = maps.squeeze(2) if maps.shape[2] == 1 else maps
            dims = tuple(maps.shape[2:])
            if name not in self.tallies:
                self.tallies[name] = Tally(maps.shape[1], self.scanner.k, len(dims))
            values = maps.amax(tuple(range(2, maps.ndim))) if dims else maps
            if maps.is_cuda and self.scanner.per_image == 1:
                # Nothing waits for the device until all layers have run.
                self.waiting.append((name, values, packed(maps.flatten(2).argmax(2), dims) if dims else values.long()))
            else:
                self.enter(name, values.cpu().double(), maps)
        return True

    @on_the_cpu
    def finish(self) -> None:
        for name, values, places in self.waiting:
            self.enter(name, values.cpu().double(), places.cpu())

    def enter(self, name: str, values: Tensor, found: Tensor) -> None:
        """Maxima (N, channels), and the maps, or packed positions of the maxima."""
        if not bool(torch.isfinite(values).all()):
            number = int(self.numbers[(~torch.isfinite(values)).any(1)][0])
            raise InputError(f"the activations of layer {name!r} are not all finite on image {number}")
        tally = self.tallies[name]
        order = values.sort(dim=0, descending=True, stable=True).indices[: self.scanner.k]  # no other can enter
        best, images = values.gather(0, order), self.numbers[order]
        enters = tally.may_enter(best, images)
        rows, columns = order[enters], torch.arange(values.shape[1]).expand_as(order)[enters]
        if found.shape == values.shape:
            places = torch.where(enters, found.gather(0, order) if found.dtype == torch.long else 0, -1)
            tally.enter(best, images, places)
        else:
            several = self.scanner.per_image
            shape = (several, *best.shape)
            every, places = torch.full(shape, -torch.inf, dtype=torch.float64), torch.full(shape, -1)
            every[0], hides = best, self.scanner.layers[name].hides
            for row in rows.unique():
                here = (order == row) & enters
                every[:, here], places[:, here] = strongest(
                    found[row], columns[rows == row], best[here], several, hides
                )
            tally.enter(every.flatten(0, 1), images.expand(shape).flatten(0, 1), places.flatten(0, 1))
        tally.count(values)


def strongest(
    maps: Tensor, channels: Tensor, best: Tensor, several: int, hides: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """The strongest units of some channels of one image, the first of equals; each hides its neighbours from the next.

    maps: (channels, *dims). channels, best: (n,), which channels, and their maxima.
    Returns values (several, n), -inf where none is left, and packed positions.
    """
    dims = tuple(maps.shape[1:])
    channels, last = channels.to(maps.device), maps.movedim(0, -1)
    if several == 1 and last.is_contiguous():  # channels_last, where a channel's own values lie far from each other
        chosen = last.flatten(0, -2).index_select(1, channels)
        place, column = (chosen == best.to(chosen)).nonzero().unbind(1)
        first = torch.full_like(channels, len(chosen)).scatter_reduce_(0, column, place, "amin")
        return best[None], packed(first, dims).cpu()[None]
    chosen = maps[channels].flatten(1)
    found = []
    for _ in range(several):
        place = chosen.argmax(1)
        found.append((chosen.gather(1, place[:, None])[:, 0].cpu().double(), packed(place, dims).cpu()))
        if len(found) < several:
            hidden = torch.ones_like(chosen, dtype=torch.bool)
            every = torch.unravel_index(torch.arange(chosen.shape[1], device=place.device), dims)
            for axis, here, reach in zip(every, torch.unravel_index(place, dims), hides, strict=True):
                hidden &= (axis - here[:, None]).abs() < reach
            chosen = chosen.masked_fill(hidden, -torch.inf)
    return torch.stack([value for value, _ in found]), torch.stack([place for _, place in found])
