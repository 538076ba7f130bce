"""Synthetic atlases for the tests and the benchmark of the site: pictures, statistics and names from a seed."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deconvviz.atlas.site import AtlasChannel, AtlasHeader, AtlasLayer, AtlasSynthetic, AtlasUnit, Site
from deconvviz.evidence.limits import ALIKE
from deconvviz.evidence.specificity import Reading, Specificity

Size = tuple[int, int]


def read_script(path: Path) -> Any:
    """The value that a data file of an atlas hands to the page."""
    text = path.read_text("utf-8")
    return json.loads(text[text.index(",") + 1 : text.rindex(")")])


def picture(number: int, size: Size) -> NDArray[np.uint8]:
    """A full image (H, W, 3): a colour gradient with a disc."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / max(size)
    slope = random.uniform(40, 200, (2, 3))
    shade = slope[0] + (slope[1] - slope[0]) * (x * random.random() + y * random.random())[..., None]
    centre, radius = random.uniform(0.25, 0.75, 2), random.uniform(0.12, 0.3)
    disc = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2)[..., None]
    grain = random.normal(0, 6, shade.shape)
    return np.asarray(np.clip(np.where(disc, random.uniform(0, 255, 3), shade) + grain, 0, 255), np.uint8)


@functools.lru_cache(maxsize=512)
def _projection(number: int, size: Size) -> NDArray[np.uint8]:
    """A coloured wave packet on neutral grey."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j] if min(size) > 1 else np.zeros((2, *size))
    angle, wave = random.uniform(0, np.pi), random.uniform(2, 9)
    packet = np.cos(wave * (x * np.cos(angle) + y * np.sin(angle)) + random.uniform(0, 6))
    packet *= np.exp(-3 * (x * x + y * y))
    return np.asarray(np.clip(128 + 120 * packet[..., None] * random.uniform(-1, 1, 3), 0, 255), np.uint8)


_full = functools.lru_cache(maxsize=256)(picture)


def units(channel: int, k: int, field: Size, size: Size, images: int, labels: Sequence[str]) -> tuple[AtlasUnit, ...]:
    """k units of a channel, the first at the top left corner of its image, where the border cuts its field."""
    random = np.random.default_rng((channel, k, *field))
    made = []
    for rank in range(k):
        number = int(random.integers(images))
        pairs = list(zip(field, size, strict=True))
        start = [int(random.integers(-(side // 3), side // 3 + max(1, whole - side))) for side, whole in pairs]
        if rank == 0:
            start = [-(side // 3) for side in field]
        if field == size:  # every unit sees the whole image
            start = [0, 0]
        top, left = (max(0, edge) for edge in start)
        bottom, right = (min(whole, edge + side) for edge, (side, whole) in zip(start, pairs, strict=True))
        bottom, right = max(bottom, top + 1), max(right, left + 1)
        patch = _full(number, size)[top:bottom, left:right]
        shown = _projection(int(random.integers(400)), field)[: bottom - top, : right - left]
        value = round(9.5 - 0.5 * rank - channel % 7, 3)
        label = labels[number % len(labels)] if labels else ""
        box = (top, left, bottom, right)
        name, place = f"image_{number:05d}.jpg", (top // 2, left // 2)
        drawn = _projection(400 + number, field)[: bottom - top, : right - left]
        beside = _projection(800 + number, field)[: bottom - top, : right - left]
        made.append(
            AtlasUnit(
                value=value,
                image=number,
                name=name,
                label=label,
                box=box,
                position=() if field == size else place,
                patch=patch,
                projection=shown,
                random=drawn,
                neighbour=beside,
                beside=channel + 1,
            )
        )
    return tuple(made)


def evidence(channel: int) -> Specificity:
    """Nearer and nearer to another unit's pictures, from 0 to 1; every 8th channel is not judged."""
    if channel % 8 == 7:
        return Specificity()
    alike = channel % 6 / 5
    verdict = "not" if alike > ALIKE.limits[1] else "partly" if alike > ALIKE.limits[0] else "specific"
    reading = Reading(0.5 + channel % 3 / 8, 0.5, 0.55, 20, 0.02, True) if channel % 4 else None
    numbers = {"other_unit": alike, "other_image": 0.4, "floor": 0.0, "random": 0.2}
    return Specificity(verdict=verdict, images=9, reading=reading, **numbers)


def synthetic(channel: int, field: Size) -> AtlasSynthetic:
    """A picture that reaches 1.5 times the highest activation of the first channels."""
    return AtlasSynthetic(
        picture=_projection(1200 + channel, field), box=(3, 3, 3 + field[0], 3 + field[1]), activation=14.25
    )


def firing(channel: int) -> float:
    """Every 13th channel from 5 on is dead, every 17th from 3 on always on."""
    if channel % 13 == 5:
        return 0.0
    return 1.0 if channel % 17 == 3 else (channel * 37 % 100 + 1) / 150


def channels(
    layer: AtlasLayer,
    header: AtlasHeader,
    labels: Sequence[str] = (),
    inputs: Sequence[AtlasLayer] = (),
    pool: int = 10**9,
) -> Iterator[AtlasChannel]:
    """All channels of a layer; pool: channels repeat the pictures of those this many before."""
    size: Size = (header.input_shape[-2], header.input_shape[-1])
    field: Size = (layer.receptive_field[0], layer.receptive_field[1]) if layer.receptive_field else size

    @functools.lru_cache(maxsize=min(pool, 128))
    def shown(number: int) -> tuple[AtlasUnit, ...]:
        return units(number, header.k, field, size, header.images, labels)

    for number in range(layer.channels):
        share, dead = firing(number), firing(number) == 0
        strongest = () if dead else shown(number % pool)
        maximum = 0.0 if dead else strongest[0].value
        bins = [0 if step == 5 else 4 ** ((23 - step) // 2) for step in range(24)]
        histogram = tuple((step / 2 - 2, step / 2 - 1.5, count) for step, count in enumerate(bins))
        feeding = tuple(
            (below.name, (number * 7 + at * 3) % below.channels, round(0.9 - 0.2 * at, 2))
            for below in inputs[-1:]
            for at in range(9)
        )
        one = AtlasChannel(
            channel=number,
            firing=share,
            mean=share / 3 - 0.1,
            maximum=maximum,
            histogram=histogram,
            units=strongest,
            inputs=feeding,
            state="dead" if dead else "always" if share == 1 else "",
        )
        if header.synthetic and not dead:
            one = replace(one, synthetic=synthetic(number, field))
        yield replace(one, evidence=Specificity() if dead else evidence(number)) if header.evidence else one


def header(size: Size = (224, 224), k: int = 9, images: int = 120, title: str = "An example") -> AtlasHeader:
    broken = (("holiday/<b>broken</b>.jpg", "cannot identify image file"),)
    return AtlasHeader(
        title=title,
        model="ExampleNet",
        dataset="made-up images",
        images=images,
        k=k,
        style="deconvnet",
        input_shape=(1, 3, *size),
        neutral=128,
        broken=broken,
        provenance={"fingerprint": "0f3a9c"},
    )


def layer(name: str, count: int, field: Size | None, kind: str = "Conv2d") -> AtlasLayer:
    shape = (1, count, 28, 28) if field else (1, count)
    stride = (4.0, 4.0) if field else None
    return AtlasLayer(
        name=name,
        kind=kind,
        shape=shape,
        channels=count,
        receptive_field=field,
        stride=stride,
        linearised=() if field else ("softmax",),
    )


def write(
    out: Path, layers: Sequence[AtlasLayer], about: AtlasHeader, labels: Sequence[str] = (), pool: int = 10**9
) -> Path:
    """Builds an atlas in which each layer is fed by the one before; returns its page."""
    site = Site(out, about)
    for at, one in enumerate(layers):
        site.add_layer(one, channels(one, about, labels, layers[:at], pool))
    size: Size = (about.input_shape[-2], about.input_shape[-1])
    return site.finish(lambda number: picture(number, size))
