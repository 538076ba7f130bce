"""Projecting the strongest units of a layer, image by image, for an atlas that shows them channel by channel.

In between, the pictures lie in a temporary file, so that memory does not grow with the number of units.
"""

from __future__ import annotations

import itertools
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from deconvviz import images
from deconvviz.atlas.channel_inputs import UNITS, ChannelInputs
from deconvviz.atlas.evidence import Judge, Neighbours
from deconvviz.atlas.held_out import HeldOut
from deconvviz.atlas.records import AtlasUnit
from deconvviz.atlas.synthetic import Synthesis
from deconvviz.mining.dataset_pictures import DatasetPictures, Picture, as_bytes
from deconvviz.mining.matching import check_recomputed
from deconvviz.net import DeconvNet
from deconvviz.reading.pieces import UnitWindows, small
from deconvviz.results import Projection, TopActivations, Unit
from deconvviz.trace import Trace

UNITS_AT_ONCE = 256  # units whose projections are held together
PixelBox = tuple[int, int, int, int]  # top, left, bottom, right


class ListedUnit(NamedTuple):
    """A unit in a channel's list of a scan."""

    image: int
    channel: int
    rank: int
    position: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class AtlasSource:
    """What an atlas is made from.

    Attributes:
        net: The network.
        top: What a scan found.
        pictures: The images.
        judge: Projects what projections are compared with; None in an atlas without evidence.
        held_out: Images for the test of reading; None in an atlas without evidence.
        synthesis: Makes synthetic pictures; None in an atlas without them.
    """

    net: DeconvNet
    top: TopActivations
    pictures: DatasetPictures
    judge: Judge | None
    held_out: HeldOut | None = None
    synthesis: Synthesis | None = None


class JudgedPictures(NamedTuple):
    """Where a unit's signed pictures begin in the file, of half precision and of one shape: its own, the neighbour's,
    and that from random weights.

    Attributes:
        offset: Where they begin.
        shape: (C, h, w).
        known: Which of the three there are.
    """

    offset: int
    shape: tuple[int, ...]
    known: tuple[bool, bool, bool]


@dataclass(frozen=True, kw_only=True)
class ProjectedUnit:
    """A unit that was projected.

    Attributes:
        unit: The unit.
        image: Number of its image.
        name: The image's name.
        label: The image's label, or "".
        box: Its receptive field.
        offset: Where its pictures begin in the file.
        count: How many there are: patch and projection, and in an atlas with evidence that of the neighbour and the one
            from random weights.
        neighbour: The channel of the neighbour; -1 if there is none.
        judged: In an atlas with evidence the signed pictures by which the channel is judged.
    """

    unit: Unit
    image: int
    name: str
    label: str
    box: PixelBox
    offset: int
    count: int
    neighbour: int
    judged: JudgedPictures | None


class ImageBatch(NamedTuple):
    """Images that were recorded together, and the units in them.

    Attributes:
        x: The images, (N, C, H, W).
        trace: Their run.
        pictures: The images as people see them.
        labels: Their labels.
        units: The units, each with its image's row in the batch.
    """

    x: Tensor
    trace: Trace
    pictures: list[Picture]
    labels: list[str]
    units: list[tuple[int, ListedUnit]]


class LayerProjections:
    """The projections of a layer's strongest units.

    Attributes:
        source: What the atlas is made from.
        layer: Name of the layer.
        windows: What its units see, once some are projected in an atlas with evidence.
        dims: The size of its maps, once that is so.
    """

    def __init__(self, source: AtlasSource, layer: str) -> None:
        """Begin a layer.

        Args:
            source: What the atlas is made from.
            layer: Name of the layer.
        """
        self.source, self.layer = source, layer
        self.inputs = ChannelInputs(source.net, layer, source.top.layers)
        self.windows: UnitWindows | None = None
        self.dims: tuple[int, ...] = ()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  the pictures, until `close`
        self._reading = threading.Lock()  # several channels are judged at once
        self._units: dict[tuple[int, int], ProjectedUnit] = {}  # by channel and rank

    def close(self) -> None:
        """Remove the pictures."""
        self._file.close()

    def project(self, units: Sequence[ListedUnit], batch_size: int) -> Iterator[int]:
        """Project units.

        Args:
            units: The units, sorted by image.
            batch_size: Number of images that are recorded together.

        Yields:
            How many units were projected, from time to time.

        Raises:
            InputError: If a unit is not as strong as the scan found it.
        """
        for batch in self.batches(units, batch_size):
            for start in range(0, len(batch.units), UNITS_AT_ONCE):
                members = batch.units[start : start + UNITS_AT_ONCE]
                self.project_batch(batch, members)
                yield len(members)

    def batches(self, units: Sequence[ListedUnit], batch_size: int) -> Iterator[ImageBatch]:
        """Images that are recorded together, with the units in them; units: sorted by image."""
        by_image = [(image, list(members)) for image, members in itertools.groupby(units, key=lambda unit: unit.image)]
        pictures = self.source.pictures
        for start in range(0, len(by_image), batch_size):
            members = by_image[start : start + batch_size]
            loaded = [pictures.load(image) for image, _ in members]
            x = torch.stack([image for image, _ in loaded])
            yield ImageBatch(
                x,
                self.source.net.trace(x, self.layer),
                pictures.pictures(x),
                [label for _, label in loaded],
                [(row, unit) for row, (_, of_image) in enumerate(members) for unit in of_image],
            )

    def project_batch(self, batch: ImageBatch, members: Sequence[tuple[int, ListedUnit]]) -> None:
        """Project some units of a batch and write their pictures."""
        places = [(row, unit.channel, unit.position) for row, unit in members]
        projection = self.source.net.project_units(batch.trace, self.layer, places).cpu()
        self._check(members, projection)
        strongest = [place for place, (_, unit) in zip(places, members, strict=True) if unit.rank < UNITS]
        if strongest:
            self.inputs.add(batch.x, batch.trace, strongest)
        compared: tuple[Projection | None, ...] = ()
        neighbours = Neighbours.none(len(members))
        if judge := self.source.judge:
            self._see(batch)
            neighbours = judge.neighbours(batch.trace, projection)
            compared = neighbours.projection, judge.from_random_weights(batch.x, projection)
        for index, (row, unit) in enumerate(members):
            box = _pixel_box(projection.receptive_fields[index])
            top, left, bottom, right = box
            ranges = (top, bottom), (left, right)
            rows = (neighbours.rows[index], index)
            found = [(projection, index), *((one, n) for one, n in zip(compared, rows, strict=bool(compared)))]
            known = [(one, n) if one is not None and n >= 0 else None for one, n in found]
            empty = torch.zeros_like(projection.cut(index, ranges))
            crops = [empty if one is None else one[0].cut(one[1], ranges) for one in known]
            cuts = [batch.pictures[row][top:bottom, left:right]]
            cuts += [as_bytes(images.signed_as_rgb(crop)) for crop in crops]
            offset = self._file.tell()
            self._file.write(b"".join(picture.tobytes() for picture in cuts))
            self._units[unit.channel, unit.rank] = ProjectedUnit(
                unit=projection.units[index],
                image=unit.image,
                name=self.source.pictures.name(unit.image),
                label=batch.labels[row],
                box=box,
                offset=offset,
                count=len(cuts),
                neighbour=neighbours.channels[index],
                judged=self._write_judged(known, unit.position) if compared else None,
            )

    def _see(self, batch: ImageBatch) -> None:
        """Note what the layer's units see, on images of the size of a batch's."""
        if self.windows is None:
            row = self.source.net.layers(batch.trace)[self.layer]
            self.windows, self.dims = UnitWindows.of(row, batch.x.shape[1:]), row.shape[2:]

    def _write_judged(
        self, found: Sequence[tuple[Projection, int] | None], position: tuple[int, ...]
    ) -> JudgedPictures:
        """Write a unit's signed pictures, reduced to what the test of reading shows, each on its own scale."""
        pictures = []
        for one in found:
            if one is not None and self.windows is not None:
                projection, row = one
                inside = projection.cut(row, self.windows.box(position, projection.shape[1:])).detach().float()
                pictures.append(small(self.windows.filled(inside, position, fill=0.0)[None])[0])
        scaled = [picture / picture.abs().max().clamp(min=torch.finfo(torch.float32).tiny) for picture in pictures]
        offset = self._file.tell()
        self._file.write(b"".join(picture.half().numpy().tobytes() for picture in scaled))
        own, neighbour, random = (one is not None for one in found)
        return JudgedPictures(offset, tuple(scaled[0].shape), (own, neighbour, random))

    def judged(self, projected: ProjectedUnit) -> list[Tensor | None]:
        """The signed pictures by which a unit's channel is judged: its own, the neighbour's, that of random weights."""
        if projected.judged is None:
            return [None] * 3
        offset, shape, known = projected.judged
        numbers = int(np.prod(shape))
        with self._reading:
            self._file.seek(offset)
            held = self._file.read(2 * numbers * sum(known))
        pictures = iter(np.frombuffer(held, np.float16).astype(np.float32).reshape(-1, *shape))
        return [torch.from_numpy(next(pictures).copy()) if there else None for there in known]

    def _check(self, members: Sequence[tuple[int, ListedUnit]], projection: Projection) -> None:
        """Raise InputError if a unit is not as strong as the scan found it."""
        recomputed = [
            (listed.image, listed.channel, listed.rank, unit.activation)
            for (_, listed), unit in zip(members, projection.units, strict=True)
        ]
        pictures = self.source.pictures
        check_recomputed(self.source.top, self.layer, pictures.dtype, recomputed, pictures.check_steady)

    def of_channel(self, channel: int) -> list[ProjectedUnit]:
        """A channel's units that were projected, strongest first."""
        ranks = range(self.source.top.k)
        return [self._units[channel, rank] for rank in ranks if (channel, rank) in self._units]

    def with_pictures(self, projected: ProjectedUnit) -> AtlasUnit:
        """A unit as the atlas shows it, with its pictures."""
        upper, left, lower, right = projected.box
        shape = (projected.count, lower - upper, right - left, 3)
        self._file.seek(projected.offset)
        patch, projection, *others = np.frombuffer(self._file.read(int(np.prod(shape))), np.uint8).reshape(shape)
        return AtlasUnit(
            value=projected.unit.activation,
            image=projected.image,
            name=projected.name,
            label=projected.label,
            box=projected.box,
            position=projected.unit.position,
            patch=patch,
            projection=projection,
            neighbour=others[0] if others else None,
            beside=projected.neighbour,
            random=others[1] if others else None,
        )


def _pixel_box(field: Tensor) -> PixelBox:
    """A receptive field (2, 2) as a box of at least one pixel."""
    (upper, lower), (left, right) = field.tolist()
    return upper, left, max(lower, upper + 1), max(right, left + 1)
