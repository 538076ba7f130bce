"""`build_atlas`: the strongest units of every channel, projected, as a site that opens from the disk."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from deconvviz import images
from deconvviz.arguments import FLAG, MAPPING, NET, PATH, TEXT, check_counts, optional, takes
from deconvviz.atlas.channel_inputs import inputs_of
from deconvviz.atlas.evidence import Judge, Verdict, of_channel
from deconvviz.atlas.matching import check_channels, check_recomputed, check_whole
from deconvviz.atlas.output_folder import check_folder
from deconvviz.atlas.records import AtlasChannel, AtlasHeader, AtlasLayer, AtlasUnit, Picture
from deconvviz.atlas.site import Site
from deconvviz.data.batches import as_dataset, is_indexed, numbered
from deconvviz.data.folder import ImageFolder, check_apart
from deconvviz.data.naming import classes_of, name_of_item, short_name
from deconvviz.errors import DataError, InputError, UnknownLayerError, did_you_mean
from deconvviz.io.locks import alone
from deconvviz.io.progress_bar import progress_bar
from deconvviz.net import DeconvNet
from deconvviz.projection.units import channels_of, layer_names, units_at
from deconvviz.recording.detached import passed
from deconvviz.recording.fingerprint import fingerprint
from deconvviz.recording.restoring import Restored
from deconvviz.results import ChannelStatistics, TopActivations, Unit

BINS = 48  # bars of a histogram, at most
AT_ONCE = 256  # units whose projections are held together
Found = tuple[int, int, int, tuple[int, ...]]  # image, channel, rank, position


@takes(net=NET, out=PATH, channels=optional(MAPPING), title=optional(TEXT), evidence=FLAG, progress=FLAG)
def build_atlas(
    net: DeconvNet,
    dataset: Any,
    top: TopActivations,
    out: str | os.PathLike[str] = "atlas",
    layers: str | Iterable[str] | None = None,
    channels: Mapping[str, int | Iterable[int]] | None = None,
    batch_size: int = 16,
    title: str | None = None,
    progress: bool = True,
    evidence: bool = True,
) -> str:
    """Write an atlas of `top` into the folder `out`; returns the path of its page, ``index.html``.

    Every unit that fires is projected and shown beside its image patch, both cut to its receptive field.

    dataset: the one that was scanned, with items by number.
    layers: of those that were scanned; None for all.
    channels: per layer those to project; layers that are not named have all. The others appear without pictures.
    batch_size: images that are recorded together.
    evidence: whether channels get numbers that say if their projections may be believed, and each projection its
        like from random weights. It takes about twice the time, and ``pip install 'deconvviz[evidence]'``.

    A folder that holds an older or broken atlas is rebuilt; until the end the page shows the older one, or says that it
    is incomplete.
    Each unit must be as strong as the scan found it, within rounding.
    Raises InputError for a scan of another model or dataset, inputs that are no images, and a folder with other
    things in it; OutputError where another job builds there; UnknownLayerError; DependencyError for evidence without
    its libraries.
    """
    check_folder(Path(out))
    images_in = dataset.root if isinstance(dataset, ImageFolder) else dataset
    if isinstance(images_in, (str, os.PathLike)):
        check_apart(out, images_in)
    with Restored(alone(out)):
        return _built(net, dataset, top, out, layers, channels, batch_size, title, progress, evidence)


def _built(
    net: DeconvNet,
    dataset: Any,
    top: TopActivations,
    out: str | os.PathLike[str],
    layers: str | Iterable[str] | None,
    channels: Mapping[str, int | Iterable[int]] | None,
    batch_size: int,
    title: str | None,
    progress: bool,
    evidence: bool,
) -> str:
    """See `build_atlas`."""
    judge = Judge(net) if evidence else None
    data = as_dataset(dataset)
    check_counts(batch_size=batch_size)
    chosen = _checked_layers(net, data, top, layers, channels)
    pictures = _Pictures(net, data)
    broken = {one.image for one in top.broken}
    first = next(number for number in range(len(data)) if number not in broken)
    x = pictures.load(first)[0][None]
    if x.ndim != 4:
        raise InputError(f"an atlas shows images (C, H, W), and the inputs are of shape {tuple(x.shape[1:])}")
    trace = net.trace(x)
    table = net.layers(trace)
    wanted = {name: _wanted(top, name, None if channels is None else channels.get(name)) for name in chosen}
    total = sum(map(len, wanted.values()))
    _check_strongest(net, pictures, top, wanted)
    site = Site(out, _header(net, data, top, tuple(x.shape[1:]), title, evidence))
    with progress_bar(total=total, unit="unit", desc="atlas", shown=progress, smoothing=0.05) as bar:
        for name in chosen:
            bar.set_postfix_str(name)
            shape = table[name].shape
            count = len(top.values[name])
            layer = AtlasLayer(
                name,
                table[name].kind,
                shape[1:],
                count,
                table[name].receptive_field,
                table[name].stride,
                _linearised(trace.linearised, name),
                passed(trace.tape, trace.layer(name).value),
            )
            links = inputs_of(net.model, trace.tape, name, chosen) or [()] * count
            with tempfile.TemporaryFile() as spool:  # what is projected image by image is shown channel by channel
                places = _project(net, judge, pictures, top, name, wanted[name], batch_size, spool, bar)
                site.add_layer(layer, _channels(pictures, top, name, links, spool, places))
    return str(site.finish(pictures.shown))


def _checked_layers(
    net: DeconvNet,
    data: Any,
    top: TopActivations,
    layers: str | Iterable[str] | None,
    channels: Mapping[str, int | Iterable[int]] | None,
) -> list[str]:
    """The layers to show, where all that was given goes together."""
    if not is_indexed(data):
        raise InputError(f"an atlas needs a dataset with a length and items by number, not a {type(data).__name__}")
    if not isinstance(top, TopActivations):
        raise InputError(f"an atlas shows what `scan` found, a TopActivations, not a {type(top).__name__}")
    if top.provenance.fingerprint != fingerprint(net.model):
        model = type(net.model).__name__
        raise InputError(f"the scan is of a {top.provenance.model} with other weights than this {model}; scan again")
    if top.count + len(top.broken) != len(data):
        raise InputError(
            f"the scan is of {top.count + len(top.broken)} items, and the dataset has {len(data)}; scan again"
        )
    check_whole(top, len(data))
    asked = layer_names(layers, "show; name at least one, or give layers=None for all that were scanned")
    chosen = list(top.layers) if asked is None else asked
    for name in [*chosen, *(channels or ())]:
        if name not in top.layers:
            raise UnknownLayerError(f"the scan has no layer {name!r}{did_you_mean(name, top.layers)}")
    return chosen


def _check_strongest(
    net: DeconvNet, pictures: _Pictures, top: TopActivations, wanted: Mapping[str, list[Found]]
) -> None:
    """Run the image of each layer's strongest unit, before anything is written, and see that it is as strong."""
    for layer, units in wanted.items():
        if units:
            image, channel, rank, position = max(units, key=lambda unit: float(top.values[layer][unit[1], unit[2]]))
            trace = net.trace(pictures.load(image)[0][None], layer)
            activations = trace.activations_of(layer)
            check_channels(top, layer, activations.tensor.shape[activations.channel_axis])
            (unit,), _ = units_at(activations, [(0, channel, position)])
            check_recomputed(top, layer, pictures.dtype, [(image, channel, rank, unit.activation)])


def _linearised(operations: Sequence[str], layer: str) -> tuple[str, ...]:
    return tuple(one.partition(" in ")[0] for one in operations if one.partition(" in ")[2] == layer)


def _header(
    net: DeconvNet, data: Any, top: TopActivations, shape: tuple[int, ...], title: str | None, evidence: bool
) -> AtlasHeader:
    model = type(net.model).__name__
    provenance = {"weights": top.provenance.fingerprint, "batch size of the scan": str(top.provenance.batch_size)}
    if top.provenance.per_image > 1:
        provenance["units of one image in a list, at most"] = str(top.provenance.per_image)
    if evidence:
        provenance["random weights"] = "all of them, seed 0; the seed of their projections is one"
    broken = tuple((one.name, one.reason) for one in top.broken)
    return AtlasHeader(
        title or f"{model} · {short_name(data)}",
        model,
        short_name(data),
        top.count,
        top.k,
        net.style.name,
        shape,
        int(_bytes(images.signed_as_rgb(torch.zeros(shape[0], 1, 1)))[0, 0, 0]),
        broken,
        provenance | top.provenance.versions,
        evidence,
    )


def _wanted(top: TopActivations, layer: str, channels: int | Iterable[int] | None) -> list[Found]:
    """The units of a layer that fire, by image."""
    values, numbers, positions = top.values[layer], top.images[layer], top.positions[layer]
    given = channels
    if isinstance(channels, Iterable) and not isinstance(channels, (Tensor, np.ndarray)):
        given = list(channels)
    asked = [] if given == [] else sorted(set(channels_of(given, len(values), layer)))
    return sorted(
        (int(numbers[channel, rank]), channel, rank, tuple(positions[channel, rank].tolist()))
        for channel in asked
        for rank in range(values.shape[1])
        if values[channel, rank] > 0
    )


class _Pictures:
    """The dataset's images as the network and as people see them."""

    def __init__(self, net: DeconvNet, data: Any) -> None:
        self.net, self.data = net, data
        self.classes = classes_of(data)
        tensor = next(net.model.parameters(), torch.empty(0))
        self.device, self.dtype = tensor.device, tensor.dtype
        self.first: tuple[int, tuple[int, ...]] | None = None  # image, and its shape

    def load(self, number: int) -> tuple[Tensor, str]:
        """The network's input (C, H, W), and the label.

        Raises DataError for an item that cannot be read, InputError for one of another size than the first.
        """
        item = numbered(number, lambda: self.data[number], self.net.preprocess)
        if isinstance(item.error, InputError):
            raise item.error
        if item.image is None:
            raise DataError(f"item {name_of_item(self.data, number)} cannot be read: {item.error}")
        shape = tuple(item.image.shape)
        self.first = self.first or (number, shape)
        if shape != self.first[1]:
            raise InputError(
                f"images {self.first[0]} and {number} have shapes {self.first[1]} and {shape}, and an atlas shows "
                f"images of one size; give the network a preprocess that makes them alike and scan again"
            )
        label = item.label
        named = "" if label is None else self.classes[label] if label < len(self.classes) else str(label)
        return item.image.to(self.device), named

    def shown(self, number: int) -> Picture:
        return self.looks(self.load(number)[0][None])[0]

    def looks(self, x: Tensor) -> list[Picture]:
        return [_bytes(images.as_rgb(one)) for one in images.displayed(x, self.net.preprocess)]


def _bytes(picture: Tensor) -> Picture:
    return np.asarray((picture.clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy())  # rounded


# One layer


class _Place(NamedTuple):
    """Where the pictures of a projected unit lie in the spool, and what is said of it."""

    unit: Unit
    image: int
    label: str
    box: tuple[int, int, int, int]
    offset: int
    pictures: int  # patch and projection, and the one from random weights
    verdict: Verdict


def _project(
    net: DeconvNet,
    judge: Judge | None,
    pictures: _Pictures,
    top: TopActivations,
    layer: str,
    wanted: list[Found],
    batch_size: int,
    spool: IO[bytes],
    bar: Any,
) -> dict[tuple[int, int], _Place]:
    """Project units, image by image, and put their pictures into the spool; per channel and rank where they are."""
    places: dict[tuple[int, int], _Place] = {}
    by_image = [(number, list(members)) for number, members in itertools.groupby(wanted, key=lambda unit: unit[0])]
    for start in range(0, len(by_image), batch_size):
        batch = by_image[start : start + batch_size]
        loaded = [pictures.load(number) for number, _ in batch]
        x = torch.stack([image for image, _ in loaded])
        looks, trace = pictures.looks(x), net.trace(x, layer)
        found = [(row, *unit) for row, (_, units) in enumerate(batch) for unit in units]
        for at in range(0, len(found), AT_ONCE):
            part = found[at : at + AT_ONCE]
            projection = net.project_units(trace, layer, [(row, channel, where) for row, _, channel, _, where in part])
            now = zip(part, projection.units, strict=True)
            check_recomputed(
                top, layer, pictures.dtype, [(image, c, rank, unit.activation) for (_, image, c, rank, _), unit in now]
            )
            wholes, verdicts = [projection.pixels.cpu()], [Verdict()] * len(part)
            if judge:
                wholes.append(judge.from_random_weights(x, projection))
                verdicts = judge.verdicts(trace, projection, [rank for _, _, _, rank, _ in part])
            fields = projection.receptive_fields.tolist()
            for index, (row, number, channel, rank, _) in enumerate(part):
                (upper, lower), (left, right) = fields[index]
                box = upper, left, max(lower, upper + 1), max(right, left + 1)
                here = slice(box[0], box[2]), slice(box[1], box[3])
                cuts = [looks[row][here], *(_bytes(images.signed_as_rgb(one[index][(..., *here)])) for one in wholes)]
                places[channel, rank] = _Place(
                    projection.units[index], number, loaded[row][1], box, spool.tell(), len(cuts), verdicts[index]
                )
                spool.write(b"".join(one.tobytes() for one in cuts))
            bar.update(len(part))
    return places


def _channels(
    pictures: _Pictures,
    top: TopActivations,
    layer: str,
    links: Sequence[tuple[tuple[str, int, float], ...]],
    spool: IO[bytes],
    places: dict[tuple[int, int], _Place],
) -> Iterator[AtlasChannel]:
    """What the atlas says of each channel, with its pictures from the spool."""
    found = top.statistics[layer]
    for channel in range(len(found.fires)):
        here = [places[channel, rank] for rank in range(top.k) if (channel, rank) in places]
        yield AtlasChannel(
            channel,
            float(found.fires[channel]),
            float(found.mean[channel]),
            float(found.maximum[channel]),
            _bars(found, channel),
            tuple(_unit(pictures, spool, place) for place in here),
            tuple(links[channel]),
            of_channel([place.verdict for place in here]),
        )


def _unit(pictures: _Pictures, spool: IO[bytes], place: _Place) -> AtlasUnit:
    unit, (upper, left, lower, right) = place.unit, place.box
    shape = (place.pictures, lower - upper, right - left, 3)
    spool.seek(place.offset)
    shown = np.frombuffer(spool.read(int(np.prod(shape))), np.uint8).reshape(shape)
    name = name_of_item(pictures.data, place.image)
    return AtlasUnit(unit.activation, place.image, name, place.label, place.box, unit.position, *shown)


def _bars(found: ChannelStatistics, channel: int) -> tuple[tuple[float, float, int], ...]:
    """The histogram's occupied bins, several in one bar where there are many; outermost edges are finite."""
    counts = found.histogram[channel]
    occupied = counts.nonzero().flatten()
    first, last = int(occupied[0]), int(occupied[-1]) + 1
    step = -(-(last - first) // BINS)
    edges = found.edges.clone()
    edges[0], edges[-1] = 2 * edges[1], 2 * edges[-2]
    bars = []
    for start in range(first, last, step):
        end = min(start + step, last)
        bars.append((float(edges[start]), float(edges[end]), int(counts[start:end].sum())))
    return tuple(bars)
