"""Writing an atlas: a folder of static files that a browser opens from disk.

The folder holds ``index.html``, what it needs in ``assets``, and per layer number L (names are never file names)::

    data/L.js          statistics of all channels, for the grid
    data/L-B.js        units, histograms and inputs of the channels of block B
    data/search.js     which channels show which image, for the search
    sheets/L-tN.webp   36 channels a sheet, each as a mosaic of its projections; L-pN.webp of its patches
    sheets/L-B.webp    per channel of block B a row of its patches and one of its projections
    sheets/L-nB.webp   per channel of block B a row of other channels' projections at the same places, in an atlas with
                       evidence; L-rB.webp of its projections from random weights
    sheets/L-sB.webp   per channel of block B its synthetic picture, in an atlas that has them
    data/images.js     which images are shown anywhere; images/N.webp has 36 of them a sheet

``data/index.js`` and then ``manifest.json`` are written last. Before, ``data/unfinished.js`` stands in for the first:
it has the layers that are complete, which the page shows. While a complete atlas is rebuilt, the page shows a copy of
it in ``older``.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from deconvviz import __version__
from deconvviz.atlas.encoders import Encoders
from deconvviz.atlas.inventory import PAGE
from deconvviz.atlas.layer_sheets import ACROSS, BlockPictures, GridCells, LayerSheets, encoded
from deconvviz.atlas.output_folder import (
    INDEX,
    UNFINISHED,
    call,
    claim,
    remove_older,
    remove_stale,
    reveal,
    rounded,
    shown_name,
)
from deconvviz.atlas.records import AtlasChannel, AtlasHeader, AtlasLayer, AtlasSynthetic, AtlasUnit
from deconvviz.atlas.tiles import GUTTER, Fit, placed, sheet
from deconvviz.errors import InputError
from deconvviz.evidence.limits import ALIKE, VERDICTS
from deconvviz.evidence.specificity import Specificity
from deconvviz.intervals import FEWEST, LEVEL
from deconvviz.mining.dataset_pictures import Picture

__all__ = ["AtlasChannel", "AtlasHeader", "AtlasLayer", "AtlasSynthetic", "AtlasUnit", "Site"]

PICTURE = 96  # pixels, the largest side of a full image
LIMITS = {"alike": ALIKE.limits, "images": FEWEST, "level": round(LEVEL, 6)}  # of the verdicts, for the page
_IMAGES = "images"  # the part of an atlas that holds full images
COVER = 8  # channels of a layer that the overview shows

T = TypeVar("T")


class Site:
    """An atlas that is being written: layers one by one, then `finish`.

    Until `finish` has written the last file, the page shows the older atlas in the folder, if that was complete, and
    otherwise the layers that are written, and names the others. Other files in the folder stay.

    Attributes:
        out: The folder.
        header: What holds for the whole atlas.
    """

    def __init__(self, out: str | os.PathLike[str], header: AtlasHeader, *, encoders: int = 0, build: str = "") -> None:
        """Begin an atlas, or go on with an unfinished one.

        Args:
            out: A new or empty folder, or an atlas of any age and state.
            header: What holds for the whole atlas.
            encoders: Number of threads that encode pictures; 0 to do it in the thread that writes.
            build: Digest of what the atlas is built from. The first layers that an unfinished build with the same
                digest has finished are kept, see `finished`.

        Raises:
            InputError: If `out` is a file, or a folder with other things in it.
            OutputError: If a link, or a file that is not the atlas's own, is where the atlas would write.
        """
        if header.k < 1 or len(header.input_shape) < 2:
            raise InputError(f"an atlas needs k of 1 or more and images, not {header.k} and {header.input_shape}")
        self.out = Path(out)
        self.header = header
        self._build = build
        self._inventory, self._written = claim(self.out, header.title, build)
        self._layers: list[dict[str, Any]] = []
        self._images: dict[int, list[Any]] = {}  # per image its name, its label, and [layer, channels] that show it
        self._shown: list[int] | None = None  # the images that were written
        self._encoders, self._stopped = Encoders(encoders), False
        self._keep_finished()

    @property
    def finished(self) -> list[str]:
        """Names of the layers that are written, as the page shows them."""
        return [layer["name"] for layer in self._layers]

    def _keep_finished(self) -> None:
        """Take over the images and the first layers that an earlier build has finished."""
        parts = {finished.part: finished for finished in self._inventory.finished}
        images = parts.get(_IMAGES)
        if images is not None and _are_numbers(images.value):
            self._shown = images.value
            self._written.update(images.files)
        for number, name in enumerate(self.header.layers):
            layer = parts.get(f"layer {number}")
            if layer is None or not _is_layer(layer.value, shown_name(name)):
                break
            self._layers.append(layer.value["entry"])
            self._note_images(number, {image: known for image, *known in layer.value["images"]})
            self._written.update(layer.files)
        if parts:
            self._show_unfinished()

    def _finish_part(self, part: str, value: Any, names: set[str]) -> None:
        if self._build:
            self._inventory.finish_part(self._build, part, value, names)
        self._show_unfinished()

    def add_layer(self, layer: AtlasLayer, channels: Iterable[AtlasChannel]) -> None:
        """Write a layer. At most a few dozen channels are in memory for each thread that encodes.

        Args:
            layer: The layer.
            channels: All of its channels, in ascending order.

        Raises:
            InputError: If channels are missing or in another order, or the atlas has the layer already.
        """
        if shown_name(layer.name) in self.finished:
            raise InputError(f"the atlas has a layer {layer.name!r} already")
        number, sheets, before = len(self._layers), LayerSheets(self.header, layer), set(self._written)
        rows = _LayerRows(self.header.evidence)
        self._write_blocks(number, sheets, (rows.noted(one) for one in _counted(layer, channels)))
        self._script(str(number), rows.statistics)
        self._note_images(number, rows.images)
        self._layers.append(_index_entry(layer, sheets, rows))
        about = {"entry": self._layers[-1], "images": [[image, *known] for image, known in sorted(rows.images.items())]}
        self._finish_part(f"layer {number}", about, self._written - before)

    def _note_images(self, layer: int, images: Mapping[int, list[Any]]) -> None:
        for image, (name, label, *channels) in images.items():
            self._images.setdefault(image, [name, label]).append([layer, *channels])

    def _write_blocks(self, number: int, sheets: LayerSheets, channels: Iterable[AtlasChannel]) -> None:
        """Write the files of a layer's blocks and of its grid, in an order that does not depend on the threads."""
        cells, waiting = GridCells(), deque[Callable[[], None]]()

        def write_file(ending: str, content: Callable[[], bytes]) -> None:
            self._put(f"sheets/{number}-{ending}.webp", content())

        def write_block(block: int, made: Callable[[], BlockPictures], details: list[dict[str, Any]]) -> None:
            pictures = made()
            for ending, content in pictures.files.items():
                self._put(f"sheets/{number}-{ending}.webp", content)
            self._script(f"{number}-{block}", details)
            begin_grid(cells.add(pictures))

        def begin_grid(full: Iterable[tuple[str, Sequence[Any]]]) -> None:
            for ending, mosaics in full:
                content = self._encoders.begin(partial(sheets.of_grid, mosaics))
                waiting.append(partial(write_file, ending, content))

        for block, members in enumerate(_chunks(channels, sheets.block)):
            made = self._encoders.begin(partial(sheets.of_block, block, members))
            waiting.append(partial(write_block, block, made, [_details(channel) for channel in members]))
            self._write_waiting(waiting, self._encoders.count)
        self._write_waiting(waiting, 0)
        begin_grid(cells.rest())
        self._write_waiting(waiting, 0)

    def _write_waiting(self, waiting: deque[Callable[[], None]], most: int) -> None:
        """Write until at most so many are left."""
        while len(waiting) > most:
            if self._stopped:
                raise Stopped
            waiting.popleft()()

    def add_images(self, numbers: Sequence[int], picture: Callable[[int], Picture]) -> None:
        """Write full images, which the page shows beside the units in them, unless they are written already.

        Args:
            numbers: Their numbers, ascending.
            picture: Returns the full image with a number, (H, W, 3), of the height and width of the header's input
                shape. It is called once for each image, in this order.
        """
        if self._shown == list(numbers):
            return
        size, fit, names = self.header.input_shape[-2:], self._fit, {"data/images.js"}
        for index, members in enumerate(_chunks(numbers, ACROSS**2)):
            cells = [fit.scaled(placed(picture(number), (0, 0, *size), fit.field)) for number in members]
            self._put(f"images/{index}.webp", encoded(sheet(cells, ACROSS), fit))
            names.add(f"images/{index}.webp")
        self._script("images", list(numbers))
        self._shown = list(numbers)
        self._finish_part(_IMAGES, self._shown, names)

    def finish(self, picture: Callable[[int], Picture]) -> Path:
        """Write the full images of all units, unless `add_images` has, and mark the atlas as complete.

        Args:
            picture: As for `add_images`.

        Returns:
            The path of the page.
        """
        self.add_images(sorted(self._images), picture)
        self.stop()
        self._script("search", [known for _, known in sorted(self._images.items())])
        described = self._described()
        self._written.discard(UNFINISHED)
        remove_stale(self._inventory, self._written | {UNFINISHED})
        self._put(INDEX, call("index", described).encode())
        reveal(self._inventory, self.header.title)
        self._inventory.remove(UNFINISHED)
        self._inventory.write_manifest(described, self._written)
        remove_older(self._inventory)
        self._inventory.end()
        return self.out / PAGE

    def stop(self) -> None:
        """End the threads. A layer that is being written in another thread ends with `Stopped`."""
        self._stopped = True
        self._encoders.end()

    @property
    def _fit(self) -> Fit:
        """How full images are scaled."""
        return Fit.within((self.header.input_shape[-2], self.header.input_shape[-1]), PICTURE)

    def _show_unfinished(self) -> None:
        """Let the page show the layers that are written."""
        missing = [name for name in map(shown_name, self.header.layers) if name not in self.finished]
        if self._shown is not None:
            self._script("unfinished", {**self._described(), "unfinished": missing})

    def _script(self, key: str, value: Any) -> None:
        self._put(f"data/{key}.js", call(key, value).encode())

    def _put(self, name: str, content: bytes) -> None:
        self._inventory.write(name, content)
        self._written.add(name)

    def _described(self) -> dict[str, Any]:
        header = self.header
        shown = {name: getattr(header, name) for name in ("title", "model", "dataset", "images", "k", "style")}
        inputs = {"input": list(header.input_shape), "broken": header.broken, "provenance": header.provenance}
        about = {"across": ACROSS, "gutter": GUTTER, "evidence": header.evidence, "limits": LIMITS}
        about |= {"random": header.random, "synthetic": header.synthetic, "version": __version__}
        return {**shown, **inputs, **about, "layers": self._layers, "picture": _fit_size(self._fit)}


class Stopped(Exception):
    """A layer was not written to its end, since the atlas is given up."""


class _LayerRows:
    """What a layer's grid says of its channels, gathered while they are written."""

    def __init__(self, evidence: bool) -> None:
        self.statistics: dict[str, list[Any]] = {"state": [], "firing": [], "mean": [], "maximum": []}
        if evidence:
            self.statistics.update(verdict=[], share=[])
        self.empty: list[int] = []  # channels without a unit, ascending
        self.images: dict[int, list[Any]] = {}  # per image its name, its label, and the channels that show it

    def noted(self, channel: AtlasChannel) -> AtlasChannel:
        """The channel, after adding its row."""
        row: dict[str, Any] = {"state": channel.state, "firing": _rounded_share(channel.firing)}
        row["mean"] = rounded(channel.mean)
        row |= {"maximum": rounded(channel.maximum), "verdict": channel.evidence.verdict}
        row |= {"share": rounded(channel.evidence.share)}
        for name, values in self.statistics.items():
            values.append(row[name])
        if not channel.units:
            self.empty.append(channel.channel)
        for unit in channel.units:
            known = self.images.setdefault(unit.image, [unit.name, unit.label])
            if channel.channel not in known[2:]:
                known.append(channel.channel)
        return channel


def _counted(layer: AtlasLayer, channels: Iterable[AtlasChannel]) -> Iterator[AtlasChannel]:
    """The channels, after checking that they are 0, 1, ... up to the layer's last."""
    expected = 0
    for channel in channels:
        if channel.channel != expected:
            raise InputError(f"layer {layer.name!r}: channel {channel.channel} was given in the place of {expected}")
        expected += 1
        yield channel
    if expected != layer.channels:
        raise InputError(f"layer {layer.name!r} has {layer.channels} channels, and {expected} were given")


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def _rounded_share(firing: float) -> float | int | None:
    """A share with five digits, which is never 1 for a channel that is sometimes silent."""
    return min(0.99999, rounded(firing) or 0) if 0 < firing < 1 else rounded(firing)


def _details(channel: AtlasChannel) -> dict[str, Any]:
    """What the page of a channel shows in addition to the grid."""
    units = [
        [rounded(unit.value), int(unit.image), unit.name, unit.label, [*map(int, unit.box)], [*map(int, unit.position)]]
        for unit in channel.units
    ]
    bins = [[rounded(low), rounded(high), int(count)] for low, high, count in channel.histogram]
    inputs = [[shown_name(name), int(index), rounded(weight)] for name, index, weight in channel.inputs]
    beside = [unit.beside for unit in channel.units]
    known: dict[str, Any] = {"label": channel.label} if channel.label else {}
    if channel.evidence.images:
        known |= {"beside": beside, "evidence": _numbers(channel.evidence)}
    if channel.synthetic is not None:
        known["synthetic"] = rounded(channel.synthetic.activation)
    return {"units": units, "histogram": bins, "inputs": inputs, **known}


def _numbers(found: Specificity) -> dict[str, Any]:
    """What a channel's verdict rests on."""
    cosines = {name: rounded(getattr(found, name)) for name in ("other_unit", "other_image", "floor", "random")}
    reading = found.reading and {name: rounded(value) for name, value in found.reading._asdict().items()}
    return {"images": found.images, **cosines, "reading": reading}


def _index_entry(layer: AtlasLayer, sheets: LayerSheets, rows: _LayerRows) -> dict[str, Any]:
    """A layer's entry in the index."""
    without, first, states = set(rows.empty), range(min(layer.channels, ACROSS**2)), rows.statistics["state"]
    return {
        "name": shown_name(layer.name),
        "kind": layer.kind,
        "shape": list(layer.shape),
        "channels": layer.channels,
        "field": layer.receptive_field,
        "stride": layer.stride and [rounded(step) for step in layer.stride],
        "linearised": layer.linearised,
        "detached": layer.detached,
        "dead": states.count("dead"),
        "always": states.count("always"),
        "said": layer.said,
        "names": [shown_name(name) for name in layer.names],
        "verdicts": {kind: rows.statistics.get("verdict", []).count(kind) for kind in VERDICTS},
        "cover": [channel for channel in first if channel not in without][:COVER],
        "empty": rows.empty,
        "block": sheets.block,
        "tile": _fit_size(sheets.tile),
        "cell": [*sheets.cell, sheets.small.factor],
    }


def _fit_size(fit: Fit) -> list[int]:
    """Height and width of a tile, and the factor by which it is enlarged; 0 if it is reduced."""
    return [fit.height, fit.width, fit.factor]


def _is_layer(value: Any, name: str) -> bool:
    """Whether a journal's value is what `add_layer` has noted of the layer with this name."""
    entry = value.get("entry") if isinstance(value, dict) else None
    if not isinstance(entry, dict) or entry.get("name") != name or not isinstance(value.get("images"), list):
        return False
    return all(isinstance(one, list) and len(one) > 2 and isinstance(one[0], int) for one in value["images"])


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(number, int) for number in value)
