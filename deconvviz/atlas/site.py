"""Writing an atlas: a folder of static files that a browser opens from disk.

The folder holds ``index.html``, what it needs in ``assets``, and per layer number L (names are never file names)::

    data/L.js          statistics of all channels, for the grid
    data/L-B.js        units, histograms and inputs of the channels of block B
    sheets/L-tN.webp   36 channels a sheet, each as a mosaic of its projections; L-pN.webp of its patches
    sheets/L-B.webp    per channel of block B a row of its patches and one of its projections
    sheets/L-rB.webp   per channel of block B a row of its projections from random weights, in an atlas with evidence
    data/images.js     which images are shown anywhere; images/N.webp has 36 of them a sheet

``data/index.js`` and then ``manifest.json`` are written last; without the first the page says that the atlas is
incomplete. While a complete atlas is rebuilt, the page shows a copy of it in ``older``.
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
from deconvviz.atlas.records import AtlasChannel, AtlasHeader, AtlasLayer, AtlasUnit, Measured
from deconvviz.atlas.tiles import GUTTER, Fit, Tile, mosaic, placed, sheet, square, stretched, strip, write_webp
from deconvviz.errors import InputError
from deconvviz.evidence.limits import ALIKE, NEAR_CHANCE
from deconvviz.mining.dataset_pictures import Picture

__all__ = ["AtlasChannel", "AtlasHeader", "AtlasLayer", "AtlasUnit", "Site"]

LARGEST_SIDE = 112  # pixels, the largest side of a patch or projection; whole blocks of 16, as lossy WebP has them
CELL = 96  # of a channel's mosaic in the grid
PICTURE = 96  # of a full image
ACROSS = 6  # cells in a row of a sheet of mosaics or of full images
BLOCK_PIXELS = 1_500_000  # of a block's sheet: what a browser unpacks to show one channel
BLOCK_CHANNELS = 16
LIMITS = {"chance": NEAR_CHANCE, "alike": ALIKE.limits}
COVER = 8  # channels of a layer that the overview shows

T = TypeVar("T")


class Site:
    """An atlas that is being written: layers one by one, then `finish`.

    Until `finish` has written the last file, the page shows the older atlas in the folder, if that was complete, and
    otherwise says that it is incomplete. Other files in the folder stay.

    Attributes:
        out: The folder.
        header: What holds for the whole atlas.
    """

    def __init__(self, out: str | os.PathLike[str], header: AtlasHeader) -> None:
        """Begin an atlas.

        Args:
            out: A new or empty folder, or an atlas of any age and state.
            header: What holds for the whole atlas.

        Raises:
            InputError: If `out` is a file, or a folder with other things in it.
            OutputError: If a link, or a file that is not the atlas's own, is where the atlas would write.
        """
        if header.k < 1 or len(header.input_shape) < 2:
            raise InputError(f"an atlas needs k of 1 or more and images, not {header.k} and {header.input_shape}")
        self.out = Path(out)
        self.header = header
        self._inventory, self._written = claim(self.out, header.title)
        self._layers: list[dict[str, Any]] = []
        self._images: set[int] = set()

    def add_layer(self, layer: AtlasLayer, channels: Iterable[AtlasChannel]) -> None:
        """Write a layer. At most a few dozen channels are in memory at a time.

        Args:
            layer: The layer.
            channels: All of its channels, in ascending order.

        Raises:
            InputError: If channels are missing or in another order, or the atlas has the layer already.
        """
        if any(described["name"] == shown_name(layer.name) for described in self._layers):
            raise InputError(f"the atlas has a layer {layer.name!r} already")
        number, sheets = len(self._layers), _LayerSheets(self, layer)
        statistics: dict[str, list[Any]] = {"firing": [], "mean": [], "maximum": []}
        if self.header.evidence:
            statistics.update(gain=[], alike=[])
        empty: list[int] = []
        for block, members in enumerate(_chunks(_counted(layer, channels), sheets.block)):
            for channel in members:
                statistics["firing"].append(_rounded_share(channel.firing))
                statistics["mean"].append(rounded(channel.mean))
                statistics["maximum"].append(rounded(channel.maximum))
                if self.header.evidence:
                    statistics["gain"].append(_measured(channel.evidence.gain))
                    statistics["alike"].append(_measured(channel.evidence.alike))
                if not channel.units:
                    empty.append(channel.channel)
                self._images.update(unit.image for unit in channel.units)
            sheets.add(number, block, members)
            self._script(f"{number}-{block}", [_details(channel) for channel in members])
        sheets.end(number)
        self._script(str(number), statistics)
        self._layers.append(_index_entry(layer, sheets, statistics["firing"], empty))

    def finish(self, picture: Callable[[int], Picture]) -> Path:
        """Write the full images and mark the atlas as complete.

        Args:
            picture: Returns the full image with a number, (H, W, 3), of the height and width of the header's input
                shape. It is called once for each image of a unit, in ascending order.

        Returns:
            The path of the page.
        """
        numbers = sorted(self._images)
        size = self.header.input_shape[-2], self.header.input_shape[-1]
        fit = Fit.within(size, PICTURE)
        for index, members in enumerate(_chunks(numbers, ACROSS**2)):
            cells = [fit.scaled(placed(picture(number), (0, 0, *size), size)) for number in members]
            self.write_sheet(f"images/{index}.webp", sheet(cells, ACROSS), fit.lossless)
        self._script("images", numbers)
        described = {**self._described(), "layers": self._layers, "picture": _fit_size(fit)}
        remove_stale(self._inventory, self._written)
        self._put(INDEX, call("index", described).encode())
        reveal(self._inventory, self.header.title)
        self._inventory.write_manifest(described, self._written)
        remove_older(self._inventory)
        self._inventory.end()
        return self.out / PAGE

    def write_sheet(self, name: str, pixels: Tile, lossless: bool) -> None:
        """Write a sheet; name: its path in the folder."""
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
        return {**shown, **inputs, "across": ACROSS, "gutter": GUTTER, "evidence": header.evidence, "limits": LIMITS}


class _LayerSheets:
    """A layer's sheets: those of a block are written at once, those of the grid as they fill up."""

    def __init__(self, site: Site, layer: AtlasLayer) -> None:
        header = site.header
        size = header.input_shape[-2], header.input_shape[-1]
        field = layer.receptive_field if layer.receptive_field and len(layer.receptive_field) == 2 else size
        self.field = max(1, min(field[0], size[0])), max(1, min(field[1], size[1]))
        self.site, self.k = site, header.k
        self.tile = Fit.within(self.field, LARGEST_SIDE)
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
        """Write the sheets of a block, and those of the grid that it fills; number: that of the layer."""
        rows = []
        for channel in channels:
            units = channel.units[: self.k]
            patches = [placed(unit.patch, unit.box, self.field) for unit in units]
            projections = [placed(unit.projection, unit.box, self.field) for unit in units]
            for wholes, cells in zip((patches, projections), self._cells, strict=True):
                signed = wholes is projections
                tiles = [self.tile.scaled(whole) for whole in wholes]
                # A reduced tile is reduced again, which looks the same and is far less work than reducing the whole.
                small = [self.small.scaled(tile) for tile in (wholes if self.tile.factor else tiles)]
                rows.append(strip(self._shown(tiles, self.tile, signed), self.tile, self.k))
                cells.append(mosaic(self._shown(small, self.small, signed), self.small, self.grid))
            if len(self._cells[0]) == ACROSS**2:
                self.end(number)
        self.site.write_sheet(f"sheets/{number}-{block}.webp", sheet(rows, 1), self.tile.lossless)
        if self.site.header.evidence:
            random = [self._random(channel) for channel in channels]
            self.site.write_sheet(f"sheets/{number}-r{block}.webp", sheet(random, 1), self.tile.lossless)

    def _random(self, channel: AtlasChannel) -> Tile:
        """A row of a channel's projections from random weights."""
        units = [unit for unit in channel.units[: self.k] if unit.random is not None]
        wholes = [placed(unit.random, unit.box, self.field) for unit in units if unit.random is not None]
        return strip(self._shown([self.tile.scaled(whole) for whole in wholes], self.tile, True), self.tile, self.k)

    def _shown(self, tiles: list[Tile], fit: Fit, signed: bool) -> list[Tile]:
        """The tiles; if they are reduced projections, with their contrast restored."""
        return [stretched(tile, self.site.header.neutral) for tile in tiles] if signed and not fit.factor else tiles

    def end(self, number: int) -> None:
        """Write the grid's sheets with the remaining cells."""
        if self._cells[0]:
            for kind, cells in zip("pt", self._cells, strict=True):
                name = f"sheets/{number}-{kind}{self._sheets}.webp"
                self.site.write_sheet(name, sheet(cells, ACROSS), self.small.lossless)
                cells.clear()
            self._sheets += 1


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


def _measured(measured: Measured | None) -> list[float | int | None] | None:
    """The mean and the number of units; None if none could be judged."""
    return measured and [rounded(measured.mean), measured.units]


def _details(channel: AtlasChannel) -> dict[str, Any]:
    """What the page of a channel shows in addition to the grid."""
    units = [
        [rounded(unit.value), int(unit.image), unit.name, unit.label, [*map(int, unit.box)], [*map(int, unit.position)]]
        for unit in channel.units
    ]
    bins = [[rounded(low), rounded(high), int(count)] for low, high, count in channel.histogram]
    inputs = [[shown_name(name), int(index), rounded(weight)] for name, index, weight in channel.inputs]
    return {"units": units, "histogram": bins, "inputs": inputs}


def _index_entry(layer: AtlasLayer, sheets: _LayerSheets, firing: list[Any], empty: list[int]) -> dict[str, Any]:
    """A layer's entry in the index; empty: channels without a unit, in ascending order."""
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
        "block": sheets.block,
        "tile": _fit_size(sheets.tile),
        "cell": [*sheets.cell, sheets.small.factor],
    }


def _fit_size(fit: Fit) -> list[int]:
    """Height and width of a tile, and the factor by which it is enlarged; 0 if it is reduced."""
    return [fit.height, fit.width, fit.factor]
