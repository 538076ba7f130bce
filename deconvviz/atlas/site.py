"""Writes an atlas: a folder of static files that a browser opens from the disk.

The folder holds ``index.html``, what it needs in ``assets``, and per layer number L (names are never file names)::

    data/L.js          statistics of all channels, for the grid
    data/L-B.js        units, histograms and inputs of the channels of block B
    sheets/L-tN.webp   36 channels a sheet, each as a mosaic of its projections; L-pN.webp of its patches
    sheets/L-B.webp    per channel of block B a row of its patches and one of its projections
    sheets/L-rB.webp   per channel of block B a row of its projections from random weights, in an atlas with evidence
    data/images.js     which images are shown anywhere; images/N.webp has 36 of them a sheet

``data/index.js``, without which the page says that the atlas is incomplete, and then ``manifest.json`` come last.
While a whole atlas is built anew, the page shows a copy of it in ``older``.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from deconvviz.atlas.inventory import PAGE
from deconvviz.atlas.output_folder import INDEX, call, claim, remove_older, remove_stale, reveal, rounded, shown_name
from deconvviz.atlas.records import AtlasChannel, AtlasHeader, AtlasLayer, AtlasUnit, Measured, Picture
from deconvviz.atlas.tiles import GUTTER, Fit, Tile, mosaic, placed, sheet, square, stretched, strip, write_webp
from deconvviz.errors import InputError

__all__ = ["AtlasChannel", "AtlasHeader", "AtlasLayer", "AtlasUnit", "Site"]

TILE = 112  # pixels, the largest side of a patch or projection; whole blocks of 16, as lossy WebP has them
CELL = 96  # of a channel's mosaic in the grid
PICTURE = 96  # of a full image
ACROSS = 6  # cells in a row of a sheet of mosaics or of full images
BLOCK_PIXELS = 1_500_000  # of a block's sheet: what a browser unpacks to show one channel
BLOCK_CHANNELS = 16
COVER = 8  # channels of a layer that the overview shows

T = TypeVar("T")


class Site:
    """An atlas being written: layers one by one, then `finish`.

    out: a new or empty folder, or an atlas of any age and state. Until `finish` has written the last file, its page
    shows the older atlas, if that was whole, and otherwise says that it is incomplete. Other files in it stay.

    Raises InputError where `out` is a file or a folder with other things in it, OutputError where a file that is not
    the atlas's, or a link, is where an atlas may write.
    """

    def __init__(self, out: str | os.PathLike[str], header: AtlasHeader) -> None:
        if header.k < 1 or len(header.input_shape) < 2:
            raise InputError(f"an atlas needs k of 1 or more and images, not {header.k} and {header.input_shape}")
        self.out = Path(out)
        self.header = header
        self._inventory, self._written = claim(self.out, header.title)
        self._layers: list[dict[str, Any]] = []
        self._images: set[int] = set()

    def add_layer(self, layer: AtlasLayer, channels: Iterable[AtlasChannel]) -> None:
        """Writes a layer. At most a few dozen channels are held at a time.

        channels: all of them, in ascending order. Raises InputError where they are not, or the layer is there already.
        """
        if any(known["name"] == shown_name(layer.name) for known in self._layers):
            raise InputError(f"the atlas has a layer {layer.name!r} already")
        number, writing = len(self._layers), _LayerSheets(self, layer)
        statistics: dict[str, list[Any]] = {"firing": [], "mean": [], "maximum": []}
        if self.header.evidence:
            statistics.update(gain=[], alike=[])
        empty: list[int] = []
        for block, members in enumerate(_batches(_counted(layer, channels), writing.block)):
            for one in members:
                statistics["firing"].append(_share(one.firing))
                statistics["mean"].append(rounded(one.mean))
                statistics["maximum"].append(rounded(one.maximum))
                if self.header.evidence:
                    statistics["gain"].append(_measured(one.evidence.gain))
                    statistics["alike"].append(_measured(one.evidence.alike))
                if not one.units:
                    empty.append(one.channel)
                self._images.update(unit.image for unit in one.units)
            writing.add(number, block, members)
            self._script(f"{number}-{block}", [_details(one) for one in members])
        writing.end(number)
        self._script(str(number), statistics)
        self._layers.append(_described(layer, writing, statistics["firing"], empty))

    def finish(self, picture: Callable[[int], Picture]) -> Path:
        """Writes the full images and marks the atlas as complete; returns the path of its page.

        picture: the full image (H, W, 3) of a number, of the height and width of the header's input shape. It is
        asked once for every image that a unit names, in ascending order.
        """
        numbers = sorted(self._images)
        size = self.header.input_shape[-2], self.header.input_shape[-1]
        fit = Fit.within(size, PICTURE)
        for index, members in enumerate(_batches(numbers, ACROSS**2)):
            cells = [fit.scaled(placed(picture(number), (0, 0, *size), size)) for number in members]
            self.write_sheet(f"images/{index}.webp", sheet(cells, ACROSS), fit.lossless)
        self._script("images", numbers)
        described = {**self._described(), "layers": self._layers, "picture": _size(fit)}
        remove_stale(self._inventory, self._written)
        self._put(INDEX, call("index", described).encode())
        reveal(self._inventory, self.header.title)
        self._inventory.write_manifest(described, self._written)
        remove_older(self._inventory)
        self._inventory.end()
        return self.out / PAGE

    def write_sheet(self, name: str, pixels: Tile, lossless: bool) -> None:
        """Writes a sheet and remembers it as this build's; name: its path in the folder."""
        write_webp(content := io.BytesIO(), pixels, lossless)
        self._put(name, content.getvalue())

    def _script(self, key: str, value: Any) -> None:
        self._put(f"data/{key}.js", call(key, value).encode())

    def _put(self, name: str, content: bytes) -> None:
        self._inventory.write(name, content)
        self._written.add(name)

    def _described(self) -> dict[str, Any]:
        header = self.header
        shown = {name: getattr(header, name) for name in ("title", "model", "dataset", "images", "k", "style")}
        inputs = {"input": list(header.input_shape), "broken": header.broken, "provenance": header.provenance}
        return {**shown, **inputs, "across": ACROSS, "gutter": GUTTER, "evidence": header.evidence}


class _LayerSheets:
    """A layer's sheets: those of its blocks at once, those of the grid as they fill up."""

    def __init__(self, site: Site, layer: AtlasLayer) -> None:
        header = site.header
        size = header.input_shape[-2], header.input_shape[-1]
        field = layer.receptive_field if layer.receptive_field and len(layer.receptive_field) == 2 else size
        self.field = max(1, min(field[0], size[0])), max(1, min(field[1], size[1]))
        self.site, self.k = site, header.k
        self.tile = Fit.within(self.field, TILE)
        self.grid = square(header.k)
        self.small = Fit.within(self.field, max(1, (CELL - self.grid[1] + 1) // self.grid[1]))
        pixels = 2 * header.k * self.tile.height * self.tile.width
        self.block = max(1, min(BLOCK_CHANNELS, BLOCK_PIXELS // pixels))
        self._cells: tuple[list[Tile], list[Tile]] = [], []  # of patches, of projections
        self._sheets = 0

    @property
    def cell(self) -> tuple[int, int]:
        """Height and width of a channel's mosaic."""
        rows, columns = self.grid
        return rows * (self.small.height + 1) - 1, columns * (self.small.width + 1) - 1

    def add(self, number: int, block: int, channels: list[AtlasChannel]) -> None:
        """Writes the sheets of a block, and those of the grid that it fills. number: of the layer."""
        rows = []
        for one in channels:
            units = one.units[: self.k]
            patches = [placed(unit.patch, unit.box, self.field) for unit in units]
            projections = [placed(unit.projection, unit.box, self.field) for unit in units]
            for wholes, cells in zip((patches, projections), self._cells, strict=True):
                signed = wholes is projections
                tiles = [self.tile.scaled(whole) for whole in wholes]
                # A reduced tile is reduced once more: the same to the eye, and far less work than from the whole.
                small = [self.small.scaled(one) for one in (wholes if self.tile.factor else tiles)]
                rows.append(strip(self._shown(tiles, self.tile, signed), self.tile, self.k))
                cells.append(mosaic(self._shown(small, self.small, signed), self.small, self.grid))
            if len(self._cells[0]) == ACROSS**2:
                self.end(number)
        self.site.write_sheet(f"sheets/{number}-{block}.webp", sheet(rows, 1), self.tile.lossless)
        if self.site.header.evidence:
            random = [self._random(one) for one in channels]
            self.site.write_sheet(f"sheets/{number}-r{block}.webp", sheet(random, 1), self.tile.lossless)

    def _random(self, channel: AtlasChannel) -> Tile:
        """A row of a channel's projections from random weights."""
        wholes = [placed(one.random, one.box, self.field) for one in channel.units[: self.k] if one.random is not None]
        return strip(self._shown([self.tile.scaled(one) for one in wholes], self.tile, True), self.tile, self.k)

    def _shown(self, tiles: list[Tile], fit: Fit, signed: bool) -> list[Tile]:
        """Tiles as they are, or where projections were reduced with their contrast restored."""
        return [stretched(tile, self.site.header.neutral) for tile in tiles] if signed and not fit.factor else tiles

    def end(self, number: int) -> None:
        """Writes the grid's sheets with the cells that are left."""
        if self._cells[0]:
            for kind, cells in zip("pt", self._cells, strict=True):
                name = f"sheets/{number}-{kind}{self._sheets}.webp"
                self.site.write_sheet(name, sheet(cells, ACROSS), self.small.lossless)
                cells.clear()
            self._sheets += 1


def _counted(layer: AtlasLayer, channels: Iterable[AtlasChannel]) -> Iterator[AtlasChannel]:
    """The channels, as long as they are 0, 1, ... up to the layer's last."""
    expected = 0
    for one in channels:
        if one.channel != expected:
            raise InputError(f"layer {layer.name!r}: channel {one.channel} was given in the place of {expected}")
        expected += 1
        yield one
    if expected != layer.channels:
        raise InputError(f"layer {layer.name!r} has {layer.channels} channels, and {expected} were given")


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def _share(firing: float) -> float | int | None:
    """Five digits, and never 1 for a channel that is sometimes silent."""
    return min(0.99999, rounded(firing) or 0) if 0 < firing < 1 else rounded(firing)


def _measured(found: Measured | None) -> list[float | int | None] | None:
    """Mean, and over how many units; null where none could be judged."""
    return found and [rounded(found.mean), found.units]


def _details(channel: AtlasChannel) -> dict[str, Any]:
    """What the page of a channel shows and the grid does not."""
    units = [
        [rounded(unit.value), int(unit.image), unit.name, unit.label, [*map(int, unit.box)], [*map(int, unit.position)]]
        for unit in channel.units
    ]
    bins = [[rounded(low), rounded(high), int(count)] for low, high, count in channel.histogram]
    inputs = [[shown_name(name), int(index), rounded(weight)] for name, index, weight in channel.inputs]
    return {"units": units, "histogram": bins, "inputs": inputs}


def _described(layer: AtlasLayer, writing: _LayerSheets, firing: list[Any], empty: list[int]) -> dict[str, Any]:
    """What the index says of a layer; empty: channels without a unit, in ascending order."""
    without, first = set(empty), range(min(layer.channels, ACROSS**2))
    return {
        "name": shown_name(layer.name),
        "kind": layer.kind,
        "shape": list(layer.shape),
        "channels": layer.channels,
        "field": layer.receptive_field,
        "stride": layer.stride and [rounded(step) for step in layer.stride],
        "linearised": layer.linearised,
        "detached": layer.detached,
        "dead": firing.count(0),
        "always": firing.count(1),
        "cover": [channel for channel in first if channel not in without][:COVER],
        "empty": empty,
        "block": writing.block,
        "tile": _size(writing.tile),
        "cell": [*writing.cell, writing.small.factor],
    }


def _size(fit: Fit) -> list[int]:
    """Height and width of a tile, and by how much it is enlarged (0: it is reduced)."""
    return [fit.height, fit.width, fit.factor]
