"""What a scan has found in several layers, kept where their maps lie, and maxima that wait to be entered.

All channels of all layers are columns of one table. The maxima of each batch are written next to those of earlier
batches, and are entered for many batches at a time: on an accelerator that is less than a hundred operations, however
many layers there are. The host reads nothing until it asks for the results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from deconvviz.mining.labelled_maxima import KeptRows, LabelledMaxima
from deconvviz.mining.layer_results import LayerResults
from deconvviz.mining.top_k import PackedPlaces

_CPU = torch.device("cpu")
NEVER = torch.iinfo(torch.long).max
MERGED_AT_ONCE = {"cpu": 2**18}  # maxima that are entered together: several float64 for each must fit into memory
MERGED_AT_ONCE_ELSEWHERE = 2**22
WAITING = {"cpu": (2**25, 1024)}  # bytes of maxima that wait, at most, and how many of one channel
WAITING_ELSEWHERE = (2**28, 4096)  # the last that CUDA sorts in one kernel


class Maxima(NamedTuple):
    """The strongest units of a batch's maps of one layer.

    Attributes:
        values: Activations, (N * per_image, channels).
        places: Places in a map, (N * per_image, channels), long.
        dims: Sizes of a map.
    """

    values: Tensor
    places: Tensor
    dims: tuple[int, ...]


class Tally:
    """The results of layers whose maps are of one type and on one device.

    Attributes:
        columns: The columns of each layer.
        dims: The sizes of each layer's maps on the images that wait.
        results: What was found, without what waits.
        kept: The maxima of images with labels.
    """

    def __init__(
        self, layers: Mapping[str, Maxima], before: Mapping[str, LayerResults], k: int, per_image: int, images: int
    ):
        """Begin with results of the layers, in their order.

        Args:
            layers: What was found in a batch, which is not entered.
            before: Earlier results, on the CPU; none for a layer that is missing.
            k: Length of each channel's list.
            per_image: Rows of each image; the first one has the maxima of its maps.
            images: How many images with labels are kept, at most.
        """
        like = next(iter(layers.values())).values
        self.device, self.dtype, self.k, self.per_image = like.device, like.dtype, k, per_image
        self.dims = {name: layer_maxima.dims for name, layer_maxima in layers.items()}
        self.columns: dict[str, slice] = {}
        width = 0
        for name, layer_maxima in layers.items():
            self.columns[name] = slice(width, width + layer_maxima.values.shape[1])
            width += layer_maxima.values.shape[1]
        # MPS has no float64.
        self.results = LayerResults(width, k, 0, _CPU if self.device.type == "mps" else self.device)
        for name, columns in self.columns.items():
            if name in before:
                self.results.rows(columns).copy_(before[name])
        self.kept = KeptRows(width, self.device, images)
        self.first_not_finite = torch.full((width,), NEVER, device=self.results.device)  # its image
        self.packed = PackedPlaces(self._geometry(), self.results.device)
        self.numbers: list[int] = []  # images that wait
        self.values, self.places = self._waiting(len(like), width)

    def _geometry(self) -> list[tuple[int, tuple[int, ...]]]:
        return [(columns.stop - columns.start, self.dims[name]) for name, columns in self.columns.items()]

    def _waiting(self, rows: int, width: int) -> tuple[Tensor, Tensor]:
        """Memory for the maxima of batches of that many rows."""
        limit, most = WAITING.get(self.device.type, WAITING_ELSEWHERE)
        batches = min(limit // (width * (self.dtype.itemsize + 8)), most) // rows
        shape = (max(1, batches) * rows, width)
        values = torch.empty(shape, dtype=self.dtype, device=self.device)
        return values, torch.empty_like(values, dtype=torch.long)

    # Entering

    def make_room(self, images: int) -> None:
        """Let the maxima of a batch of that many images fit."""
        rows = images * self.per_image
        if len(self.numbers) * self.per_image + rows > len(self.values):
            self.merge()
        if rows > len(self.values):
            self.values, self.places = self._waiting(rows, self.values.shape[1])

    def room(self, name: str, images: int) -> tuple[Tensor, Tensor]:
        """Where a layer's maxima in a batch are written, and their places, (N * per_image, channels) each."""
        first = len(self.numbers) * self.per_image
        where = (slice(first, first + images * self.per_image), self.columns[name])
        return self.values[where], self.places[where]

    def change_dims(self, dims: Mapping[str, tuple[int, ...]]) -> None:
        """Go on with maps of other sizes."""
        self.merge()
        self.dims = {name: dims[name] for name in self.columns}
        self.packed = PackedPlaces(self._geometry(), self.results.device)

    def keep(self, labelled: LabelledMaxima) -> None:
        """Keep the maxima of earlier images with labels."""
        if len(labelled.images):
            earlier = torch.cat([labelled.values[name] for name in self.columns], 1)
            self.kept.write({row: row for row in range(len(earlier))}, earlier.to(self.device))

    def entered(self, numbers: Sequence[int], rows: Mapping[int, int]) -> None:
        """Note that the maxima of a batch with these images, in ascending order, have been written.

        rows: The row of each image with a label that is kept, as {row: place in the batch}.
        """
        first = len(self.numbers) * self.per_image
        self.kept.write(rows, self.values[first : first + len(numbers) * self.per_image : self.per_image])
        self.numbers += numbers

    def merge(self) -> None:
        """Enter what waits into the results."""
        if not self.numbers:
            return
        where = self.results.device
        numbers = torch.tensor(self.numbers, device=_CPU).to(where, non_blocking=True)
        rows, width = len(self.numbers) * self.per_image, self.values.shape[1]
        step = max(1, MERGED_AT_ONCE.get(where.type, MERGED_AT_ONCE_ELSEWHERE) // rows)
        for start in range(0, width, step):
            columns = slice(start, min(start + step, width))
            values, places = (of[:rows, columns].T.contiguous().to(where) for of in (self.values, self.places))
            self._merge(columns, values, places, numbers)
        self.numbers = []

    def _merge(self, columns: slice, values: Tensor, places: Tensor, numbers: Tensor) -> None:
        """Enter values (channels, rows) of images (N,)."""
        results = self.results.rows(columns)
        order = values.sort(dim=1, descending=True, stable=True).indices[:, : self.k]
        best = values.gather(1, order).double()
        positions = self.packed(places.gather(1, order), columns)
        images = numbers[order // self.per_image]
        if self.per_image > 1:  # a map may have fewer units
            there = best > -torch.inf
            images, positions = torch.where(there, images, -1), torch.where(there, positions, -1)
        results.top.enter(best, images, positions)
        maxima = values[:, :: self.per_image]
        finite = maxima.isfinite()
        first = torch.where(finite, NEVER, numbers).amin(1)
        self.first_not_finite[columns] = torch.minimum(self.first_not_finite[columns], first)
        results.statistics.add(torch.where(finite, maxima, 0))

    # Reading

    def not_finite(self) -> dict[str, int]:
        """The first image on which activations of a layer are not finite, for layers that have such."""
        first = self.first_not_finite.cpu()
        images = ((name, int(first[columns].amin())) for name, columns in self.columns.items())
        return {name: image for name, image in images if image < NEVER}

    def parts(self) -> Iterator[tuple[str, LayerResults]]:
        """The results of each layer, in memory of their own on the CPU."""
        self.merge()
        whole = self.results.on(_CPU)
        for name, columns in self.columns.items():
            yield name, whole.rows(columns).copy(len(self.dims[name]))
