"""What an atlas says of the channels of its layers: their values over the data set, and their strongest units."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from deconvviz.atlas.inventory import MANIFEST
from deconvviz.atlas.output_folder import INDEX
from deconvviz.errors import DataError, InputError, MissingFileError
from deconvviz.net import DeconvNet
from deconvviz.recording.fingerprint import fingerprint
from deconvviz.recording.rounding import share_of
from deconvviz.results import Unit
from deconvviz.results.words import in_digits

ROUNDED_BY = 1e-4  # share by which the numbers of an atlas are rounded, at most


class AtlasValues:
    """An atlas in a folder, whose data are read when they are asked for."""

    def __init__(self, folder: str | os.PathLike[str], net: DeconvNet, items: int | None) -> None:
        """Open a complete atlas.

        Args:
            folder: Its folder.
            net: The network that is explored.
            items: The number of items in the data set; None if there is none.

        Raises:
            MissingFileError: If the folder holds none.
            DataError: If its files are damaged.
            InputError: If it is of other weights, or of another number of items.
        """
        self._folder = Path(folder)
        self._type = next(iter(net.model.parameters())).dtype
        if not (self._folder / MANIFEST).is_file():
            raise MissingFileError(f"the folder {os.fspath(folder)!r} holds no complete atlas")
        index = self._read(INDEX)
        try:
            weights = index["provenance"]["weights"]
            self.images = int(index["images"])
            read = self.images + len(index["broken"])
            self._layers = {one["name"]: (number, one["block"]) for number, one in enumerate(index["layers"])}
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(INDEX) from error
        if weights != fingerprint(net.model):
            raise InputError(f"the atlas in {os.fspath(folder)!r} is of a network with other weights; build it again")
        if items not in (None, read):
            raise InputError(
                f"the atlas in {os.fspath(folder)!r} is of {read} items, and the dataset has {items}; give its dataset"
            )

    def check_recomputed(self, layer: str, unit: Unit, image: int, before: float, maximum: float) -> None:
        """Raise InputError unless a unit is as active as the atlas says, up to rounding."""
        share = share_of(self._type) + ROUNDED_BY
        if not abs(unit.activation - before) <= share * max(abs(maximum), abs(before)):
            then, now = in_digits(before, 4), in_digits(unit.activation, 4)
            raise InputError(
                f"in image {image} the atlas found {then} for channel {unit.channel} of layer {layer!r}, but now it is "
                f"{now}: the dataset has changed; give that of the atlas"
            )

    def channel(self, layer: str, channel: int) -> dict[str, Any] | None:
        """A channel's histogram, units and statistics; None if the atlas lacks the layer or the channel."""
        if layer not in self._layers:
            return None
        number, block = self._layers[layer]
        statistics = self._read(f"data/{number}.js")
        if not 0 <= channel < len(statistics["firing"]):
            return None
        found = self._read(f"data/{number}-{channel // block}.js")[channel % block]
        return {
            "fires": statistics["firing"][channel],
            "mean": statistics["mean"][channel],
            "maximum": statistics["maximum"][channel],
            "bars": found["histogram"],
            "units": [(unit[1], channel, tuple(unit[5]), unit[0]) for unit in found["units"]],
        }

    def _read(self, name: str) -> Any:
        """The value in a file of data, which is a call of a function of the page."""
        try:
            text = (self._folder / name).read_text("utf-8")
            return json.loads(text[text.index(",") + 1 : text.rindex(")")])
        except (OSError, ValueError) as error:
            raise self._damaged(name) from error

    def _damaged(self, name: str) -> DataError:
        return DataError(f"{str(self._folder / name)!r} is missing or damaged; build the atlas again")
