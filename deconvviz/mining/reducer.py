"""Reducing each layer's maps to their strongest units, as the model runs.

No tape is recorded: hooks name the layers, and maps (N, channels, ...) are reduced to their maxima on the device. The
positions of the maxima are looked up only in images that may enter a list.
"""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor

from deconvviz.data.batches import Batch
from deconvviz.errors import InputError
from deconvviz.mining.layer_results import LayerResults
from deconvviz.mining.scanned_layers import ScannedLayers
from deconvviz.mining.top_k import first_maxima, packed, strongest
from deconvviz.projection.model_call import Call, refuse_misfit
from deconvviz.recording.isolation import on_the_cpu
from deconvviz.recording.observer import AllLayersSeen, Observer
from deconvviz.recording.restoring import Restored


class Scanner:
    """Runs a model on batches and enters the strongest units of its layers into results.

    Attributes:
        scanned: The model and its layers.
        k: Length of each channel's list.
        per_image: How many units of one image a list may hold.
    """

    def __init__(self, scanned: ScannedLayers, k: int, per_image: int) -> None:
        self.scanned, self.k, self.per_image = scanned, k, per_image

    def run(self, batch: Batch, results: dict[str, LayerResults]) -> None:
        """Enter one batch.

        Args:
            batch: The batch, which has images.
            results: Results by layer; layers that are missing are added.

        Raises:
            InputError: If the batch does not fit the model, activations are not finite, or a layer does not run.
        """
        assert batch.images is not None
        model = self.scanned.model
        x = batch.images.to(self.scanned.device, non_blocking=True)
        reducer = _Reducer(self, batch.numbers, results)
        try:
            with Restored(reducer.observing()), contextlib.suppress(AllLayersSeen):
                model(x)
        except Exception as error:
            refuse_misfit(model, Call((x,), {}), error)
            raise
        reducer.finish()
        if missing := [name for name in self.scanned.layers if name not in reducer.seen]:
            first, last = int(batch.numbers[0]), int(batch.numbers[-1])
            raise InputError(f"layer {missing[0]!r} did not run on images {first} to {last}; leave it out")


class _Reducer(Observer):
    """Reduces the maps of each layer, (N, channels, ...), to their strongest units as the layer runs."""

    def __init__(self, scanner: Scanner, numbers: Tensor, results: dict[str, LayerResults]) -> None:
        super().__init__(scanner.scanned.model, scanner.scanned.layers)
        self.scanner, self.numbers, self.results = scanner, numbers, results
        self.on_device: list[tuple[str, Tensor, Tensor]] = []  # on a GPU: layer, maxima and their packed positions

    def layer_returned(self, name: str, kind: str, tensor: Tensor) -> bool:
        if name in self.wanted:
            axis = self.scanner.scanned.layers[name].channel_axis
            maps = tensor.unflatten(0, (len(self.numbers), -1)).movedim(axis + 1, 1)
            self._reduce(name, maps.squeeze(2) if maps.shape[2] == 1 else maps)
        return True

    def _reduce(self, name: str, maps: Tensor) -> None:
        dims = tuple(maps.shape[2:])
        if name not in self.results:
            self.results[name] = LayerResults(maps.shape[1], self.scanner.k, len(dims))
        maxima = maps.amax(tuple(range(2, maps.ndim))) if dims else maps
        if maps.is_cuda and self.scanner.per_image == 1:
            # All layers run before anything waits for the device.
            positions = packed(maps.flatten(2).argmax(2), dims) if dims else torch.zeros_like(maxima, dtype=torch.long)
            self.on_device.append((name, maxima, positions))
        elif dims:
            self._enter_from_maps(name, maxima.cpu().double(), maps)
        else:
            values = maxima.cpu().double()
            self._enter_at(name, values, torch.zeros_like(values, dtype=torch.long))

    @on_the_cpu
    def finish(self) -> None:
        """Enter what is still on the device."""
        for name, maxima, positions in self.on_device:
            self._enter_at(name, maxima.cpu().double(), positions.cpu())

    def _enter_at(self, name: str, maxima: Tensor, positions: Tensor) -> None:
        """Enter the maxima of maps, (N, channels), at known packed positions of that shape."""
        order, images, enters = self._candidates(name, maxima)
        places = torch.where(enters, positions.gather(0, order), -1)
        self.results[name].top.enter(maxima.gather(0, order), images, places)
        self.results[name].statistics.add(maxima)

    def _enter_from_maps(self, name: str, maxima: Tensor, maps: Tensor) -> None:
        """Enter the strongest units of maps, (N, channels, ...), whose maxima are known, (N, channels)."""
        order, images, enters = self._candidates(name, maxima)
        best, count = maxima.gather(0, order), self.scanner.per_image
        columns = torch.arange(maxima.shape[1]).expand_as(order)
        shape = (count, *best.shape)
        values, places = torch.full(shape, -torch.inf, dtype=torch.float64), torch.full(shape, -1)
        values[0] = best
        for row in order[enters].unique():
            of_image = (order == row) & enters
            channels = columns[of_image]
            if count == 1:
                places[0, of_image] = first_maxima(maps[row], channels, best[of_image])
            else:
                distances = self.scanner.scanned.layers[name].distances
                values[:, of_image], places[:, of_image] = strongest(
                    maps[row][channels.to(maps.device)], count, distances
                )
        top = self.results[name].top
        top.enter(values.flatten(0, 1), images.expand(shape).flatten(0, 1), places.flatten(0, 1))
        self.results[name].statistics.add(maxima)

    def _candidates(self, name: str, maxima: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which images of the batch may enter the channels' lists.

        Returns:
            Per channel, at most k of the batch's rows by descending maximum, (candidates, channels); the numbers of
            their images; and which of them would enter, both of that shape.

        Raises:
            InputError: If a maximum is not finite.
        """
        if not bool(torch.isfinite(maxima).all()):
            number = int(self.numbers[(~torch.isfinite(maxima)).any(1)][0])
            raise InputError(f"the activations of layer {name!r} are not all finite on image {number}")
        order = maxima.sort(dim=0, descending=True, stable=True).indices[: self.scanner.k]  # no other can enter
        images = self.numbers[order]
        return order, images, self.results[name].top.may_enter(maxima.gather(0, order), images)
