"""How long an atlas will take and how large it will be, measured on some units of some of its layers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

from deconvviz.atlas.layer_sheets import LayerSheets
from deconvviz.atlas.projected_units import AtlasSource, LayerProjections, ListedUnit
from deconvviz.atlas.records import AtlasChannel, AtlasHeader, AtlasLayer, AtlasSynthetic
from deconvviz.atlas.synthetic import NOT_SHOWN
from deconvviz.synthesis.synthesis import ASCENT_STEPS

MEASURED_LAYERS = 5
MEASURED_CHANNELS = 3  # of each of these layers
FEWEST_UNITS = 500  # below that, measuring takes as long as building; a step of a synthetic picture counts as a unit
MEASURED_STEPS = 4  # of the synthetic pictures of the measured channels
JSON_BYTES = 150  # of a unit, in a script beside the pictures


class Estimate(NamedTuple):
    """What remains of a build."""

    seconds: float
    size: float  # bytes


class _Measured(NamedTuple):
    """What one unit of a layer takes.

    Attributes:
        per_image: Seconds to load and record an image.
        per_unit: Seconds to project a unit.
        encoding: Seconds to compose and encode its pictures.
        per_picture: Seconds to make a channel's synthetic picture; 0 in an atlas without them.
        size: Bytes of its pictures.
    """

    per_image: float
    per_unit: float
    encoding: float
    per_picture: float
    size: float


def estimate(
    source: AtlasSource,
    header: AtlasHeader,
    layers: Sequence[AtlasLayer],
    units: Mapping[str, Sequence[ListedUnit]],
    encoders: int,
) -> Estimate | None:
    """Measure some layers; a layer in between counts as the nearest of these. None for a small atlas.

    Args:
        source: What the atlas is made from.
        header: What holds for the whole atlas.
        layers: The layers to build.
        units: Their units, by layer.
        encoders: Number of threads that will encode pictures.
    """
    firing = [layer for layer in layers if units[layer.name]]
    channels = {layer.name: len({unit.channel for unit in units[layer.name]}) for layer in firing}
    steps = ASCENT_STEPS * sum(channels.values()) if source.synthesis else 0
    if sum(len(units[layer.name]) for layer in firing) + steps < FEWEST_UNITS:
        return None
    count = min(MEASURED_LAYERS, len(firing))
    places = sorted({round(step * (len(firing) - 1) / max(1, count - 1)) for step in range(count)})
    measured = {place: _measure(source, header, firing[place], units[firing[place].name]) for place in places}
    projecting = encoding = size = 0.0
    for number, layer in enumerate(firing):
        of_layer = units[layer.name]
        cost = measured[min(places, key=lambda place: abs(place - number))]
        projecting += len({unit.image for unit in of_layer}) * cost.per_image + len(of_layer) * cost.per_unit
        projecting += channels[layer.name] * cost.per_picture
        encoding += len(of_layer) * cost.encoding
        size += len(of_layer) * (cost.size + JSON_BYTES)
    return Estimate(max(projecting, (projecting + encoding) / (1 + encoders)), size)


def _measure(source: AtlasSource, header: AtlasHeader, layer: AtlasLayer, units: Sequence[ListedUnit]) -> _Measured:
    channels = sorted({unit.channel for unit in units})
    chosen = {channels[step * (len(channels) - 1) // MEASURED_CHANNELS] for step in range(MEASURED_CHANNELS)}
    some = [unit for unit in units if unit.channel in chosen]
    images = len({unit.image for unit in some})
    made: dict[int, AtlasSynthetic | None] = {}
    synthesised = 0.0
    if source.synthesis:
        with closing(source.synthesis.begun(layer.name)) as synthesis:
            start = time.monotonic()
            synthesis.make(sorted(chosen), NOT_SHOWN, steps=1)
            once = time.monotonic()  # most of it what comes before the first step
            synthesis.make(sorted(chosen), NOT_SHOWN, steps=1 + MEASURED_STEPS)
            more = time.monotonic()
            made = {channel: synthesis.of_channel(channel) for channel in chosen}
        synthesised = max(0.0, more - once - (once - start)) / len(chosen) * ASCENT_STEPS / MEASURED_STEPS
    with closing(LayerProjections(source, layer.name)) as projections:
        start = time.monotonic()
        batch = next(projections.batches(some, images))
        recorded = time.monotonic()
        projections.project_batch(batch, batch.units)
        projected = time.monotonic()
        size = _encoded_size(LayerSheets(header, layer), projections, sorted(chosen), made)
        encoded = time.monotonic()
    spent = (recorded - start) / images, (projected - recorded) / len(some), (encoded - projected) / len(some)
    return _Measured(*spent, synthesised, size / len(some))


def _encoded_size(
    sheets: LayerSheets,
    projections: LayerProjections,
    channels: Sequence[int],
    synthetic: Mapping[int, AtlasSynthetic | None],
) -> int:
    """Bytes of the sheets of some channels, with their synthetic pictures."""
    shown = [
        AtlasChannel(
            channel=channel,
            firing=0.0,
            mean=0.0,
            maximum=0.0,
            histogram=(),
            units=tuple(map(projections.with_pictures, projections.of_channel(channel))),
            inputs=(),
            synthetic=synthetic.get(channel),
        )
        for channel in channels
    ]
    pictures = sheets.of_block(0, shown)
    grid = sheets.of_grid(pictures.patches), sheets.of_grid(pictures.projections)
    return sum(map(len, (*pictures.files.values(), *grid)))
