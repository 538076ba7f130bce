"""`build_atlas`: every channel's strongest units, projected, as a web site that opens from disk."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deconvviz import images
from deconvviz.arguments import CLASS_NAMES, FLAG, MAPPING, NET, PATH, TEXT, check_counts, optional, takes
from deconvviz.atlas.before_scan import check_images
from deconvviz.atlas.build_identity import build_identity
from deconvviz.atlas.encoders import sensible_encoders
from deconvviz.atlas.estimate import estimate
from deconvviz.atlas.evidence import Judge, said_of_layer
from deconvviz.atlas.held_out import HeldOut
from deconvviz.atlas.layer_verdicts import judged_channels
from deconvviz.atlas.layer_writer import LayerWriter
from deconvviz.atlas.output_folder import check_folder
from deconvviz.atlas.progress import BuildProgress, Work, duration, file_size, tell
from deconvviz.atlas.projected_units import AtlasSource, LayerProjections, ListedUnit
from deconvviz.atlas.records import AtlasChannel, AtlasHeader, AtlasLayer
from deconvviz.atlas.site import Site
from deconvviz.atlas.synthetic import LayerSynthesis, Synthesis
from deconvviz.data.datasets import as_dataset
from deconvviz.data.folder import ImageFolder, check_apart
from deconvviz.data.naming import classes_of, short_name
from deconvviz.evidence.specificity import Specificity
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.locks import alone
from deconvviz.io.restoring import Restored
from deconvviz.mining.dataset_pictures import DatasetPictures, as_bytes
from deconvviz.mining.label_scores import with_classes
from deconvviz.mining.matching import check_channels, check_recomputed, check_scan, check_scanned
from deconvviz.models.notes import classes_of_model, has_random_weights
from deconvviz.net import DeconvNet
from deconvviz.projection.units import channels_of, units_at
from deconvviz.recording.detached import passed
from deconvviz.recording.layer_names import Layers, layer_names, module_called
from deconvviz.results import ChannelStatistics, TopActivations
from deconvviz.trace import Trace

MOST_BARS = 48  # bars of a histogram, at most


@takes(
    net=NET,
    out=PATH,
    channel=optional(MAPPING),
    title=optional(TEXT),
    classes=CLASS_NAMES,
    evidence=FLAG,
    synthesize=FLAG,
    progress=FLAG,
)
@on_the_cpu
def build_atlas(
    net: DeconvNet,
    dataset: Any,
    top: TopActivations,
    *,
    out: str | os.PathLike[str] = "atlas",
    layers: Layers = None,
    channel: Mapping[str, int | Iterable[int]] | None = None,
    limit: int | None = None,
    batch_size: int = 16,
    title: str | None = None,
    classes: Sequence[str] = (),
    progress: bool = True,
    evidence: bool = True,
    synthesize: bool = False,
    workers: int | None = None,
) -> Path:
    """Write an atlas of a scan's results: a folder with a web site that opens from disk.

    Each unit that fires is projected and shown beside its image patch, both cut to its receptive field. A folder that
    holds an older or an incomplete atlas is rebuilt. Until the new one is complete, the page shows the older atlas, or
    says that it is incomplete.

    Args:
        net: The network that was scanned.
        dataset: The dataset that was scanned, with items by number.
        top: What the scan found. Each unit must be as strong as it says, within rounding.
        out: The folder.
        layers: Names of some of the layers that were scanned; None for all.
        channel: Per layer, the channels to project; layers that are not named have all. Other channels are shown
            without pictures.
        limit: Of layers that `channel` does not name, project only so many channels, the first that fire; None for all.
        batch_size: Number of images that are recorded together.
        title: Title of the page.
        classes: Class names, for datasets that have none or other ones.
        progress: Say how long the build will take and how far it is: by a bar on a terminal, otherwise in lines.
        evidence: Also say of each channel whether its projections are specific to it, and project beside each unit
            another one at its place, and the unit with random weights, for comparison. This takes about three times as
            long.
        synthesize: Also make a synthetic picture for each channel that is projected: what excites its unit in the
            middle most, by `deconvviz.synthesize`. This takes far longer than the rest.
        workers: Number of threads that judge channels and encode pictures; None for one per core, 0 for none.

    Returns:
        The path of the page, ``index.html``.

    Raises:
        InputError: If the scan is of another model or dataset, the inputs are no images, or the folder holds other
            things.
        OutputError: If another job is building there.
        UnknownLayerError: If a layer was not scanned.
        UnsupportedOperation: If there are to be synthetic pictures and no gradient of a layer reaches the input.
    """
    check_folder(Path(out))
    images_in = dataset.root if isinstance(dataset, ImageFolder) else dataset
    if isinstance(images_in, (str, os.PathLike)):
        check_apart(out, images_in)
    with Restored(alone(out)):
        judge = Judge(net) if evidence else None
        data = as_dataset(dataset)
        check_counts(batch_size=batch_size)
        if workers is not None:
            check_counts(least=0, workers=workers)
        if limit is not None:
            check_counts(limit=limit)
        names = _checked_layers(net, data, top, layers, channel)
        classes = classes or top.classes
        top = with_classes(top, classes)
        source = AtlasSource(net=net, top=top, pictures=DatasetPictures(net, data, classes), judge=judge)
        units = {name: _listed_units(top, name, (channel or {}).get(name), limit) for name in names}
        run = _first_run(source, len(data))
        _check_strongest(source, units)
        shown = sorted({unit.image for of_layer in units.values() for unit in of_layer})
        if synthesize and shown:
            tried = {name: of_layer[0].channel for name, of_layer in units.items() if of_layer}
            source = dataclasses.replace(source, synthesis=Synthesis.checked(net, source.pictures, shown, tried))
        header = _header(source, run, names, title or f"{type(net.model).__name__} · {short_name(data)}")
        rows = list(_atlas_layers(source, run, names, [classes, classes_of(data), classes_of_model(net.model)]))
        labels = {name: [found.name(of) for of in range(len(found.label))] for name, found in top.labels.items()}
        options = {"labels": labels, "batch size": batch_size, "classes": list(classes)}
        build = build_identity(source, data, run, header=header, layers=rows, units=units, options=options)
        encoders = sensible_encoders() if workers is None else workers
        site = Site(out, header, encoders=encoders, build=build)
        if judge is not None:
            left = names[len(site.finished) :]
            source = dataclasses.replace(
                source, held_out=HeldOut(net, data, top, left, batch_size=batch_size, progress=progress)
            )
        if progress:
            _tell_what_comes(source, site, rows, units, encoders)
        site.add_images(shown, source.pictures.picture)
        _write_layers(site, source, rows, units, batch_size=batch_size, threads=encoders, progress=progress)
        return Path(site.finish(source.pictures.picture))


def _tell_what_comes(
    source: AtlasSource, site: Site, layers: Sequence[AtlasLayer], units: Mapping[str, list[ListedUnit]], encoders: int
) -> None:
    """Say what is kept, and how long the other layers will take and how large they will be, unless they are few."""
    kept, total = len(site.finished), len(layers)
    if kept:
        tell(f"kept from an earlier build: {kept} of {total} layers")
    layers = layers[kept:]
    expected = estimate(source, site.header, layers, units, encoders)
    if expected is not None:
        channels = sum(len({unit.channel for unit in units[layer.name]}) for layer in layers)
        tell(
            f"{len(layers)} layers, {channels:,} channels with pictures: about {duration(expected.seconds)} and "
            f"{file_size(expected.size)}, measured on some units"
        )


def _write_layers(
    site: Site,
    source: AtlasSource,
    layers: Sequence[AtlasLayer],
    units: Mapping[str, list[ListedUnit]],
    *,
    batch_size: int,
    threads: int,
    progress: bool,
) -> None:
    """Project the units of each layer and write the layer.

    Args:
        site: Where to.
        source: What is known of network and images.
        layers: The layers.
        units: Those to project, by layer.
        batch_size: Number of images in a batch.
        threads: How many channels are judged at once.
        progress: Show progress.
    """
    kept, writer = len(site.finished), LayerWriter(site)
    channels = {name: sorted({unit.channel for unit in of_layer}) for name, of_layer in units.items()}
    work = _work([len(units[layer.name]) for layer in layers], kept)
    pictures = _work([len(channels[layer.name]) if source.synthesis else 0 for layer in layers], kept)
    with BuildProgress(work, pictures, len(layers), shown=progress) as said:
        try:
            for number, layer in enumerate(layers[kept:], kept):
                said.begin_layer(number, layer.name)
                with ExitStack() as unless_begun:
                    projections = unless_begun.enter_context(closing(LayerProjections(source, layer.name)))
                    for count in projections.project(units[layer.name], batch_size):
                        said.add(count)
                        writer.check()
                    found = judged_channels(projections, channels[layer.name], threads)
                    made = None
                    if source.synthesis and channels[layer.name]:
                        made = unless_begun.enter_context(closing(source.synthesis.begun(layer.name)))
                        made.make(channels[layer.name], said.synthesis)
                    said.say()
                    told = dataclasses.replace(layer, said=said_of_layer([*found.values()], len(channels[layer.name])))
                    writer.begin(partial(_write_layer, site, told, projections, found, made))
                    unless_begun.pop_all()
            writer.wait()
        finally:
            writer.end()


def _work(of_layers: Sequence[int], kept: int) -> Work:
    """Work by layer, of which an earlier build has done that of the first `kept` layers."""
    return Work(sum(of_layers), sum(of_layers[:kept]))


def _write_layer(
    site: Site,
    layer: AtlasLayer,
    projections: LayerProjections,
    found: Mapping[int, Specificity],
    made: LayerSynthesis | None,
) -> None:
    """Write a layer whose units have been projected. This runs in another thread."""
    with closing(projections), closing(made) if made else nullcontext():
        site.add_layer(layer, _channels(projections, found, made))


def _checked_layers(
    net: DeconvNet, data: Any, top: TopActivations, layers: Layers, channels: Mapping[str, int | Iterable[int]] | None
) -> list[str]:
    """Names of the layers to show, after checking that network, dataset and scan belong together."""
    check_scan(net, data, top)
    names = layer_names(layers, net.model) or list(top.layers)
    check_scanned(top, [*names, *(channels or ())])
    return names


def _first_run(source: AtlasSource, count: int) -> Trace:
    """A run on the first of `count` images that could be read."""
    broken = {item.image for item in source.top.broken}
    first = next(number for number in range(count) if number not in broken)
    x = source.pictures.load(first)[0][None]
    check_images(x)
    return source.net.trace(x)


def _listed_units(
    top: TopActivations, layer: str, channels: int | Iterable[int] | None, limit: int | None
) -> list[ListedUnit]:
    """The units of a layer that fire, sorted by image; without `channels`, of the first `limit` channels with any."""
    values, numbers, positions = top.values[layer], top.images[layer], top.positions[layer]
    asked = channels
    if isinstance(channels, Iterable) and not isinstance(channels, (Tensor, np.ndarray)):
        asked = list(channels)
    chosen = [] if asked == [] else sorted(set(channels_of(asked, len(values), layer)))
    if channels is None:
        chosen = [number for number in chosen if bool((values[number] > 0).any())][:limit]
    return sorted(
        ListedUnit(int(numbers[channel, rank]), channel, rank, tuple(positions[channel, rank].tolist()))
        for channel in chosen
        for rank in range(values.shape[1])
        if values[channel, rank] > 0
    )


def _check_strongest(source: AtlasSource, units: Mapping[str, list[ListedUnit]]) -> None:
    """Check each layer's strongest unit against the scan, before anything is written."""
    top, pictures = source.top, source.pictures
    for layer, of_layer in units.items():
        if of_layer:
            listed = max(of_layer, key=lambda unit: float(top.values[layer][unit.channel, unit.rank]))
            activations = source.net.trace(pictures.load(listed.image)[0][None], layer).activations_of(layer)
            check_channels(top, layer, activations.tensor.shape[activations.channel_axis])
            (unit,) = units_at(activations, [(0, listed.channel, listed.position)]).units
            recomputed = [(listed.image, listed.channel, listed.rank, unit.activation)]
            check_recomputed(top, layer, pictures.dtype, recomputed, pictures.check_steady)


# What the atlas says


def _header(source: AtlasSource, run: Trace, layers: Sequence[str], title: str) -> AtlasHeader:
    top, shape = source.top, tuple(run.call.first.shape[1:])
    provenance = {"weights": top.provenance.fingerprint, "batch size of the scan": str(top.provenance.batch_size)}
    if top.provenance.per_image > 1:
        provenance["units of one image in a list, at most"] = str(top.provenance.per_image)
    if source.judge is not None:
        provenance["random weights"] = "all of them, seed 0; the seed of their projections is one"
    if source.synthesis is not None:
        provenance["synthetic pictures"] = source.synthesis.described
    return AtlasHeader(
        title=title,
        model=type(source.net.model).__name__,
        dataset=source.pictures.dataset,
        images=top.count,
        k=top.k,
        style=source.net.style.name,
        input_shape=shape,
        neutral=int(as_bytes(images.signed_as_rgb(torch.zeros(shape[0], 1, 1)))[0, 0, 0]),
        broken=tuple((item.name, item.reason) for item in top.broken),
        provenance=provenance | top.provenance.versions,
        random=has_random_weights(source.net.model),
        evidence=source.judge is not None,
        synthetic=source.synthesis is not None,
        layers=tuple(layers),
    )


def _atlas_layers(
    source: AtlasSource, run: Trace, names: Sequence[str], classes: Sequence[Sequence[str]]
) -> Iterator[AtlasLayer]:
    """The rows of layers; classes: lists of class names, of which the first with as many as there are outputs counts.

    The channels of the last layer with weights, and of those behind it, are classes if there are as many.
    """
    table = source.net.layers(run)
    weighted = [row.name for row in table if _has_weights(module_called(row.name, source.net.model))]
    order = [row.name for row in table]
    outputs = order[order.index(weighted[-1]) :] if weighted else []
    for name in names:
        row = table[name]
        operations = (operation.partition(" in ") for operation in run.linearised)
        yield AtlasLayer(
            name=name,
            kind=row.kind,
            shape=row.shape[1:],
            channels=(channels := len(source.top.values[name])),
            names=next((tuple(one) for one in classes if name in outputs and len(one) == channels), ()),
            receptive_field=row.receptive_field,
            stride=row.stride,
            linearised=tuple(operation for operation, _, layer in operations if layer == name),
            detached=passed(run.tape, run.tape.layers[name].value),
        )


def _has_weights(module: nn.Module | None) -> bool:
    """Whether a module, and none of its parts, has a matrix of weights."""
    return module is not None and any(weight.ndim > 1 for weight in module.parameters(recurse=False))


def _channels(
    projections: LayerProjections, found: Mapping[int, Specificity], made: LayerSynthesis | None
) -> Iterator[AtlasChannel]:
    """Each channel of a layer as the atlas shows it.

    Args:
        projections: Its pictures.
        found: What is known of the channels that have some.
        made: Their synthetic pictures.
    """
    statistics = projections.source.top.statistics[projections.layer]
    labels = projections.source.top.labels.get(projections.layer)
    states = {
        **dict.fromkeys(statistics.dead.tolist(), "dead"),
        **dict.fromkeys(statistics.always_on.tolist(), "always"),
    }
    for channel in range(len(statistics.fires)):
        units = projections.of_channel(channel)
        yield AtlasChannel(
            channel=channel,
            firing=float(statistics.fires[channel]),
            mean=float(statistics.mean[channel]),
            maximum=float(statistics.maximum[channel]),
            histogram=_histogram_bars(statistics, channel),
            units=tuple(map(projections.with_pictures, units)),
            inputs=projections.inputs.of_channel(channel),
            state=states.get(channel, ""),
            label="" if labels is None else labels.name(channel),
            evidence=found.get(channel, Specificity()),
            synthetic=made.of_channel(channel) if made else None,
        )


def _histogram_bars(statistics: ChannelStatistics, channel: int) -> tuple[tuple[float, float, int], ...]:
    """The histogram's occupied bins, several in one bar where there are many; outermost edges are finite."""
    counts = statistics.histogram[channel]
    occupied = counts.nonzero().flatten()
    first, last = int(occupied[0]), int(occupied[-1]) + 1
    step = -(-(last - first) // MOST_BARS)
    edges = statistics.edges.clone()
    edges[0], edges[-1] = 2 * edges[1], 2 * edges[-2]
    bars = []
    for start in range(first, last, step):
        end = min(start + step, last)
        bars.append((float(edges[start]), float(edges[end]), int(counts[start:end].sum())))
    return tuple(bars)
