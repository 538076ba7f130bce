"""Reducing each layer's maps to their strongest units, as the model runs.

No tape is recorded: hooks name the layers, and maps (N, channels, ...) are reduced on the device to their maxima and
the places of these. They wait there, and are entered for many batches at a time (`deconvviz.mining.tally`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from deconvviz.data.batches import Batch
from deconvviz.data.sending import Sending
from deconvviz.errors import InputError
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.restoring import Restored
from deconvviz.mining.firing import Extremes, firing_of
from deconvviz.mining.labelled_maxima import KeptImages, LabelledMaxima, most_images
from deconvviz.mining.layer_results import LayerResults
from deconvviz.mining.maxima import flat, several, strongest
from deconvviz.mining.scanned_layers import ScannedLayers
from deconvviz.mining.tally import Maxima, Tally
from deconvviz.projection.model_call import Call, refuse_misfit
from deconvviz.recording.observer import AllLayersSeen, Observer
from deconvviz.recording.tape import mapped


class Scanner:
    """Runs a model on batches and keeps the strongest units of its layers.

    Attributes:
        scanned: The model and its layers.
        k: Length of each channel's list.
        per_image: How many units of one image a list may hold.
    """

    def __init__(
        self,
        scanned: ScannedLayers,
        k: int,
        per_image: int,
        before: Mapping[str, LayerResults] | None = None,
        labelled: LabelledMaxima | None = None,
    ) -> None:
        """Go on from earlier results, and from maxima of images with labels."""
        self.scanned, self.k, self.per_image = scanned, k, per_image
        self._send = Sending(scanned.device)
        self._found = dict(before or {})  # on the CPU; while there are tallies, they have it
        self._tallies: dict[str, Tally] = {}  # by layer, in the order in which these run
        self._labelled = labelled or LabelledMaxima()  # likewise
        self._kept: KeptImages | None = None  # those in the tallies
        self._extremes: dict[str, Extremes] = {}  # by layer
        self._looked = False  # whether the first batch has been looked at for what it decides

    def run(self, batch: Batch, labels: Sequence[int | None] = ()) -> dict[str, Tensor]:
        """Enter one batch; its images come behind those of earlier batches.

        Args:
            batch: The batch.
            labels: The labels of its images whose maxima are kept for `labelled`; None for an image without one.

        Returns:
            Per layer the maxima of its maps, (N, channels), where they wait until the next batch is run.

        Raises:
            InputError: If the batch does not fit the model, or a layer does not run, or has another number of channels.
        """
        assert batch.images is not None
        model = self.scanned.model
        inputs = mapped(batch.images, self._send)
        arguments = inputs if isinstance(inputs, tuple) else (inputs,)
        for tally in self._each_tally():
            tally.make_room(len(batch.numbers))
        reducer = _Reducer(self, len(batch.numbers))
        try:
            with Restored(reducer.observing()), contextlib.suppress(AllLayersSeen):
                model(*arguments)
        except Exception as error:
            refuse_misfit(model, Call(arguments, {}), error)
            raise
        numbers: list[int] = batch.numbers.tolist()
        if missing := [name for name in reducer.wanted if name not in reducer.seen]:
            raise InputError(f"layer {missing[0]!r} did not run on images {numbers[0]} to {numbers[-1]}; leave it out")
        self._enter(reducer.maxima, numbers, labels)
        if not self._looked:
            firing_of(self._extremes)  # to see, by one read, which channels are decided and need not be read again
            self._looked = True
        return {name: found.values[:: self.per_image] for name, found in reducer.maxima.items()}

    def results(self) -> dict[str, LayerResults]:
        """What was found, by layer, on the CPU. The host reads something here, in `check`, and after the first batch.

        Raises:
            InputError: If activations are not finite.
        """
        self.check()
        for tally in self._each_tally():
            self._found.update(tally.parts())
        for name, firing in firing_of(self._extremes).items():
            if name in self._found:
                self._found[name].firing.merge(firing)
        return {name: self._found[name] for name in self._tallies or self._found}

    def labelled(self) -> LabelledMaxima:
        """The maxima of images with labels, on the CPU; the host reads them here."""
        if self._kept is None or not self._kept.numbers:
            return self._labelled
        count = len(self._kept.numbers)
        rows = {tally: tally.kept.values[:count].cpu() for tally in self._each_tally()}
        return self._kept.sorted({name: rows[tally][:, tally.columns[name]] for name, tally in self._tallies.items()})

    def check(self) -> None:
        """Raise InputError if activations were not finite."""
        images: dict[str, int] = {}
        for tally in self._each_tally():
            tally.merge()
            images |= tally.not_finite()
        if images:
            name = min((name for name in self._tallies if name in images), key=lambda name: images[name])
            raise InputError(f"the activations of layer {name!r} are not all finite on image {images[name]}")

    def _each_tally(self) -> list[Tally]:
        return list(dict.fromkeys(self._tallies.values()))

    # One batch

    def look_at_firing(self, name: str, maps: Tensor) -> None:
        """Note which of a layer's channels fire, from maps (N, channels, ...) of the layer at which that shows."""
        maps = flat(maps)
        if name not in self._extremes:
            self._extremes[name] = Extremes(maps, self.scanned.layers[name].rectified)
        if maps.shape[1] == self._extremes[name].channels:  # other numbers are refused at the end of the batch
            self._extremes[name].add(maps)

    def reduced(self, name: str, maps: Tensor) -> Maxima:
        """The strongest units of a layer's maps, (N, channels, ...), where they wait if there is a place for them."""
        tally, dims = self._tallies.get(name), tuple(maps.shape[2:])
        if tally is not None and _fits(tally, name, maps):
            values, places = tally.room(name, len(maps))
        else:
            values = maps.new_empty((len(maps) * self.per_image, maps.shape[1]))
            places = torch.empty_like(values, dtype=torch.long)
        if self.per_image == 1:
            strongest(flat(maps), values, places)
        else:
            by_image = values.unflatten(0, (-1, self.per_image))
            by_image[:, 0] = flat(maps).amax(2)
            wanted, distances = self._wanted(name, by_image[:, 0]), self.scanned.layers[name].distances
            places.copy_(several(flat(maps), dims, distances, wanted, by_image).flatten(0, 1))
        return Maxima(values, places, dims)

    def _wanted(self, name: str, maxima: Tensor) -> tuple[Tensor, Tensor]:
        """Which maps are searched for several units, from their maxima (N, channels): images and channels, (n,) each.

        All of them on an accelerator, where the host would have to wait to know which.
        """
        if maxima.device.type != "cpu":
            every = torch.arange(maxima.numel(), device=maxima.device)
            return every // maxima.shape[1], every % maxima.shape[1]
        maxima = maxima.double().T
        order = maxima.sort(dim=1, descending=True, stable=True).indices[:, : self.k]
        enters = torch.ones_like(order, dtype=torch.bool)
        if name in self._tallies:
            tally = self._tallies[name]
            top = tally.results.rows(tally.columns[name]).top
            enters = ~(maxima.gather(1, order) < top.values[:, -1:])
        wanted = torch.zeros_like(maxima, dtype=torch.bool).scatter_(1, order, enters)
        images, channels = wanted.T.nonzero().unbind(1)
        return images, channels

    @on_the_cpu
    def _enter(self, maxima: Mapping[str, Maxima], numbers: Sequence[int], labels: Sequence[int | None]) -> None:
        """Let the maxima of a batch wait, and keep those of images with labels."""
        if not all(self._waits(name, layer_maxima) for name, layer_maxima in maxima.items()):
            self._make_places(maxima, len(numbers))
        rows = self._kept.placed(numbers, labels) if self._kept and labels else {}
        for tally in self._each_tally():
            tally.entered(numbers, rows)

    def _waits(self, name: str, layer_maxima: Maxima) -> bool:
        """Whether maxima were written where they wait."""
        tally = self._tallies.get(name)
        return tally is not None and tally.dims[name] == layer_maxima.dims and _shares(tally, layer_maxima.values)

    def _make_places(self, maxima: Mapping[str, Maxima], images: int) -> None:
        """Make places for maxima of other layers, types or sizes than those that wait, and write them there."""
        kept = {
            name: Maxima(layer_maxima.values.clone(), layer_maxima.places.clone(), layer_maxima.dims)
            for name, layer_maxima in maxima.items()
        }
        alike = all(
            name in self._tallies and _fits(self._tallies[name], name, layer_maxima.values)
            for name, layer_maxima in kept.items()
        )
        if alike:
            for tally in self._each_tally():
                tally.change_dims({name: kept[name].dims for name in tally.columns})
        else:
            self._found, self._labelled = self.results(), self.labelled()
            groups: dict[tuple[torch.device, torch.dtype], dict[str, Maxima]] = {}
            for name, layer_maxima in kept.items():
                self._check_channels(name, layer_maxima.values.shape[1])
                groups.setdefault((layer_maxima.values.device, layer_maxima.values.dtype), {})[name] = layer_maxima
            limit = most_images(sum(layer_maxima.values.shape[1] for layer_maxima in kept.values()))
            tallies = [Tally(group, self._found, self.k, self.per_image, limit) for group in groups.values()]
            by_name = {name: tally for tally in tallies for name in tally.columns}
            self._tallies, self._found = {name: by_name[name] for name in kept}, {}
            self._kept = KeptImages(limit, self._labelled)
            for tally in tallies:
                tally.keep(self._labelled)
        for name, layer_maxima in kept.items():
            values, places = self._tallies[name].room(name, images)
            values.copy_(layer_maxima.values)
            places.copy_(layer_maxima.places)

    def _check_channels(self, name: str, now: int) -> None:
        before = len(self._found[name].top.values) if name in self._found else now
        if before != now:
            raise InputError(
                f"layer {name!r} has {now} channels and had {before} on earlier images; leave it out, or give images "
                f"of one size"
            )


def _fits(tally: Tally, name: str, values: Tensor) -> bool:
    """Whether values (N, channels, ...) of a layer can be written into a tally."""
    columns = tally.columns[name]
    alike = values.dtype == tally.dtype and values.device == tally.device
    return alike and values.shape[1] == columns.stop - columns.start


def _shares(tally: Tally, values: Tensor) -> bool:
    return values.untyped_storage().data_ptr() == tally.values.untyped_storage().data_ptr()


class _Reducer(Observer):
    """Reduces the maps of each layer, (N, channels, ...), to their strongest units as the layer runs."""

    def __init__(self, scanner: Scanner, count: int) -> None:
        self.seen_at: dict[str, list[str]] = {name: [name] for name in scanner.scanned.layers}  # layers, by place
        for name, layer in scanner.scanned.layers.items():
            self.seen_at.setdefault(layer.fires_at, [])
            if layer.fires_at != name:
                self.seen_at[layer.fires_at].append(name)
        super().__init__(scanner.scanned.model, self.seen_at)
        self.scanner, self.count = scanner, count
        self.maxima: dict[str, Maxima] = {}

    def layer_returned(self, name: str, kind: str, tensor: Tensor) -> bool:
        if name in self.wanted:
            # None of the model's operations, which are watched. The block around the model puts modes back in any case.
            with _disable_current_modes():
                for layer in self.seen_at[name]:
                    scanned = self.scanner.scanned.layers[layer]
                    maps = tensor.unflatten(0, (self.count, -1)).movedim(scanned.channel_axis + 1, 1)
                    maps = maps.squeeze(2) if maps.shape[2] == 1 else maps
                    if name == layer:
                        self.maxima[layer] = self.scanner.reduced(layer, maps)
                    if name == scanned.fires_at:
                        self.scanner.look_at_firing(layer, maps)
        return True
