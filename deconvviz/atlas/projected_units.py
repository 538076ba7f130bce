"""Projecting the strongest units of a layer, image by image, for an atlas that shows them channel by channel.

In between, the pictures lie in a temporary file, so that memory does not grow with the number of units.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from deconvviz import images
from deconvviz.atlas.channel_inputs import UNITS, ChannelInputs
from deconvviz.atlas.evidence import Judge, Verdict
from deconvviz.atlas.records import AtlasUnit
from deconvviz.mining.dataset_pictures import DatasetPictures, Picture, as_bytes
from deconvviz.mining.matching import check_recomputed
from deconvviz.net import DeconvNet
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


@dataclass(frozen=True)
class AtlasSource:
    """What an atlas is made from.

    Attributes:
        net: The network.
        top: What a scan found.
        pictures: The images.
        judge: Judges projections; None in an atlas without evidence.
    """

    net: DeconvNet
    top: TopActivations
    pictures: DatasetPictures
    judge: Judge | None


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
        count: How many there are: patch and projection, and the one from random weights in an atlas with evidence.
        verdict: What the judge says of it.
    """

    unit: Unit
    image: int
    name: str
    label: str
    box: PixelBox
    offset: int
    count: int
    verdict: Verdict


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
    """The projections of a layer's strongest units."""

    def __init__(self, source: AtlasSource, layer: str) -> None:
        """Begin a layer.

        Args:
            source: What the atlas is made from.
            layer: Name of the layer.
        """
        self.source, self.layer = source, layer
        self.inputs = ChannelInputs(source.net, layer, source.top.layers)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  the pictures, until `close`
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
        shown: list[Projection | None] = [projection]
        verdicts = [Verdict()] * len(members)
        if judge := self.source.judge:
            shown.append(judge.from_random_weights(batch.x, projection))
            verdicts = judge.verdicts(batch.trace, projection, [unit.rank for _, unit in members])
        for index, (row, unit) in enumerate(members):
            box = _pixel_box(projection.receptive_fields[index])
            top, left, bottom, right = box
            ranges = (top, bottom), (left, right)
            empty = torch.zeros_like(projection.cut(index, ranges))
            crops = [empty if pixels is None else pixels.cut(index, ranges) for pixels in shown]
            cuts = [batch.pictures[row][top:bottom, left:right]]
            cuts += [as_bytes(images.signed_as_rgb(crop)) for crop in crops]
            self._units[unit.channel, unit.rank] = ProjectedUnit(
                unit=projection.units[index],
                image=unit.image,
                name=self.source.pictures.name(unit.image),
                label=batch.labels[row],
                box=box,
                offset=self._file.tell(),
                count=len(cuts),
                verdict=verdicts[index],
            )
            self._file.write(b"".join(picture.tobytes() for picture in cuts))

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
        patch, projection, *random = np.frombuffer(self._file.read(int(np.prod(shape))), np.uint8).reshape(shape)
        return AtlasUnit(
            value=projected.unit.activation,
            image=projected.image,
            name=projected.name,
            label=projected.label,
            box=projected.box,
            position=projected.unit.position,
            patch=patch,
            projection=projection,
            random=random[0] if random else None,
        )


def _pixel_box(field: Tensor) -> PixelBox:
    """A receptive field (2, 2) as a box of at least one pixel."""
    (upper, lower), (left, right) = field.tolist()
    return upper, left, max(lower, upper + 1), max(right, left + 1)
