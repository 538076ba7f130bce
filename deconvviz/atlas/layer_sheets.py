"""The pictures of a layer's channels, as sheets: those of a block of channels, and those of the grid."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from deconvviz.atlas.records import AtlasChannel, AtlasHeader, AtlasLayer
from deconvviz.atlas.tiles import Fit, Tile, mosaic, placed, sheet, square, stretched, strip, write_webp

LARGEST_SIDE = 112  # pixels, the largest side of a patch or projection; whole blocks of 16, as lossy WebP has them
CELL = 96  # of a channel's mosaic in the grid
ACROSS = 6  # cells in a row of a sheet of mosaics or of full images
BLOCK_PIXELS = 1_500_000  # of a block's sheet: what a browser unpacks to show one channel
BLOCK_CHANNELS = 16
COMPARED = ("neighbour", "random")  # what projections are compared with; the first letters name its sheets


class BlockPictures(NamedTuple):
    """What is made of a block of channels.

    Attributes:
        files: What is in its files, by what their names end in.
        patches: The channels' mosaics of patches for the grid.
        projections: The same of projections.
    """

    files: dict[str, bytes]
    patches: list[Tile]
    projections: list[Tile]


class LayerSheets:
    """How a layer's pictures are laid out."""

    def __init__(self, header: AtlasHeader, layer: AtlasLayer) -> None:
        size = header.input_shape[-2], header.input_shape[-1]
        field = layer.receptive_field if layer.receptive_field and len(layer.receptive_field) == 2 else size
        self.field = max(1, min(field[0], size[0])), max(1, min(field[1], size[1]))
        self.header, self.k = header, header.k
        self.tile = Fit.within(self.field, LARGEST_SIDE)
        self.grid = square(header.k)
        self.small = Fit.within(self.field, max(1, (CELL - self.grid[1] + 1) // self.grid[1]))
        pixels = 2 * header.k * self.tile.height * self.tile.width
        self.block = max(1, min(BLOCK_CHANNELS, BLOCK_PIXELS // pixels))

    @property
    def cell(self) -> tuple[int, int]:
        """Height and width of a channel's mosaic."""
        rows, columns = self.grid
        return rows * (self.small.height + 1) - 1, columns * (self.small.width + 1) - 1

    def of_block(self, block: int, channels: Sequence[AtlasChannel]) -> BlockPictures:
        """The pictures of a block of channels."""
        rows: list[Tile] = []
        cells: tuple[list[Tile], list[Tile]] = [], []  # of patches, of projections
        for channel in channels:
            units = channel.units[: self.k]
            patches = [placed(unit.patch, unit.box, self.field) for unit in units]
            projections = [placed(unit.projection, unit.box, self.field) for unit in units]
            for wholes, of_kind in zip((patches, projections), cells, strict=True):
                signed = wholes is projections
                tiles = [self.tile.scaled(whole) for whole in wholes]
                # A reduced tile is reduced again, which looks the same and is far less work than reducing the whole.
                small = [self.small.scaled(tile) for tile in (wholes if self.tile.factor else tiles)]
                rows.append(strip(self._shown(tiles, self.tile, signed), self.tile, self.k))
                of_kind.append(mosaic(self._shown(small, self.small, signed), self.small, self.grid))
        files = {f"{block}": encoded(sheet(rows, 1), self.tile)}
        if self.header.evidence:
            for kind in COMPARED:
                compared = [self._compared(channel, kind) for channel in channels]
                files[f"{kind[0]}{block}"] = encoded(sheet(compared, 1), self.tile)
        if self.header.synthetic:
            files[f"s{block}"] = encoded(sheet([self._synthetic(channel) for channel in channels], 1), self.tile)
        return BlockPictures(files, *cells)

    def of_grid(self, cells: Sequence[Tile]) -> bytes:
        """A sheet of the grid."""
        return encoded(sheet(cells, ACROSS), self.small)

    def _compared(self, channel: AtlasChannel, kind: str) -> Tile:
        """A row of what a channel's projections are compared with; transparent where a unit has none."""
        blank = np.zeros((self.tile.height, self.tile.width, 4), np.uint8)
        tiles = [blank] * min(self.k, len(channel.units))
        for place, unit in enumerate(channel.units[: self.k]):
            picture = getattr(unit, kind)
            if picture is not None:
                whole = placed(picture, unit.box, self.field)
                tiles[place] = self._shown([self.tile.scaled(whole)], self.tile, True)[0]
        return strip(tiles, self.tile, self.k)

    def _synthetic(self, channel: AtlasChannel) -> Tile:
        """A channel's synthetic picture; transparent if it has none."""
        made = channel.synthetic
        if made is None:
            return np.zeros((self.tile.height, self.tile.width, 4), np.uint8)
        return self.tile.scaled(placed(made.picture, made.box, self.field))

    def _shown(self, tiles: list[Tile], fit: Fit, signed: bool) -> list[Tile]:
        """The tiles; if they are reduced projections, with their contrast restored."""
        return [stretched(tile, self.header.neutral) for tile in tiles] if signed and not fit.factor else tiles


class GridCells:
    """The mosaics of a layer's channels, which become sheets of the grid as they fill up."""

    def __init__(self) -> None:
        self._cells: dict[str, list[Tile]] = {"p": [], "t": []}  # of patches, of projections
        self._sheets = 0

    def add(self, block: BlockPictures) -> Iterator[tuple[str, list[Tile]]]:
        """Add the channels of a block; yield each sheet that is full, by what its name ends in."""
        for cells in zip(block.patches, block.projections, strict=True):
            for kind, cell in zip("pt", cells, strict=True):
                self._cells[kind].append(cell)
            if len(self._cells["p"]) == ACROSS**2:
                yield from self.rest()

    def rest(self) -> Iterator[tuple[str, list[Tile]]]:
        """The sheets that are not full."""
        if self._cells["p"]:
            full, self._cells = self._cells, {"p": [], "t": []}
            self._sheets += 1
            yield from ((f"{kind}{self._sheets - 1}", cells) for kind, cells in full.items())


def encoded(pixels: Tile, fit: Fit) -> bytes:
    """A sheet as WebP."""
    write_webp(content := io.BytesIO(), pixels, fit.lossless)
    return content.getvalue()
