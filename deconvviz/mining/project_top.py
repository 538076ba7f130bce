"""From what a scan found to pictures: the strongest units of channels, projected."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from deconvviz.arguments import FLAG, NET, check_counts, once, takes
from deconvviz.data.datasets import as_dataset
from deconvviz.errors import InputError
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.mining.dataset_pictures import DatasetPictures
from deconvviz.mining.matching import check_recomputed, check_scan, check_scanned
from deconvviz.net import DeconvNet
from deconvviz.projection.units import channels_of
from deconvviz.recording.layer_names import LayerName, layer_name
from deconvviz.results import ChannelTop, Projection, TopActivations, TopProjections


class _Listed(NamedTuple):
    """A unit in a channel's list."""

    image: int
    channel: int
    rank: int
    position: tuple[int, ...]


@takes(net=NET, progress=FLAG)
@on_the_cpu
def project_top(
    net: DeconvNet,
    dataset: Any,
    top: TopActivations,
    *,
    layer: LayerName | None = None,
    channel: int | Iterable[int] | None = None,
    batch_size: int = 16,
    progress: bool = True,
) -> TopProjections:
    """Project the strongest units of channels, as a scan found them: Figure 2 of Zeiler and Fergus.

    Args:
        net: The network that was scanned.
        dataset: The dataset that was scanned, with items by number.
        top: What `scan` found. Each unit must be as strong as it says, within rounding.
        layer: One of the layers that were scanned; None if it was only one.
        channel: One channel, several, or None for all that fire. A channel that never fires has no units.
        batch_size: Number of images that are recorded together.
        progress: Show a progress bar.

    Returns:
        One entry per channel, in the order given. `figure()` draws per channel the square of the projections beside
        the square of the patches.

    Raises:
        InputError: If the scan is of another model or dataset, or the layer has no such channel.
        UnknownLayerError: If the layer was not scanned.
        DataError: If an image cannot be read any more.

    Example:
        >>> import deconvviz as dv
        >>> from deconvviz.data import mnist_test
        >>> from deconvviz.models import mnist_cnn
        >>> net, images = dv.DeconvNet(mnist_cnn()), mnist_test()[0][:100]
        >>> top = dv.scan(net, images, layers="conv2", k=9, progress=False)
        >>> strokes = dv.project_top(net, images, top, channel=[3, 20], progress=False)
        >>> len(strokes), len(strokes[1].projection.units)
        (2, 9)
    """
    check_counts(batch_size=batch_size)
    data = as_dataset(dataset)
    check_scan(net, data, top, several_inputs=True)
    name = _layer(net, top, layer)
    check_scanned(top, [name])
    pictures = DatasetPictures(net, data, top.classes)
    units = {number: _listed(top, name, number) for number in channels_of(once(channel), len(top.values[name]), name)}
    batches = _batches(units, batch_size)
    projected: dict[tuple[int, int], tuple[Projection, str]] = {}  # by channel and rank, with the image's label
    for members in progress_bar(batches, unit="batch", desc="projections", shown=progress):
        numbers = list(dict.fromkeys(unit.image for unit in members))
        loaded = [pictures.inputs(number) for number in numbers]
        places = [(numbers.index(unit.image), unit.channel, unit.position) for unit in members]
        projection = net.project_units(stacked([inputs for inputs, _ in loaded]), name, places).cpu()
        recomputed = [(u.image, u.channel, u.rank, p.activation) for u, p in _pairs(members, projection)]
        check_recomputed(top, name, pictures.dtype, recomputed, pictures.check_steady)
        for row, unit in enumerate(members):
            label = loaded[numbers.index(unit.image)][1]
            projected[unit.channel, unit.rank] = _single(projection, row), label
    of_channels = ((number, listed) for number, listed in units.items() if listed)
    return TopProjections(
        name,
        tuple(
            ChannelTop(
                channel=number,
                projection=Projection.concatenate([projected[number, unit.rank][0] for unit in listed]),
                images=tuple(unit.image for unit in listed),
                names=tuple(pictures.name(unit.image) for unit in listed),
                labels=tuple(projected[number, unit.rank][1] for unit in listed),
                called=top.labels[name].name(number) if name in top.labels else "",
            )
            for number, listed in of_channels
        ),
    )


def stacked(inputs: Sequence[Any]) -> Any:
    """A batch of inputs, or a tuple of batches if the network takes several."""
    if isinstance(inputs[0], tuple):
        return tuple(map(torch.stack, zip(*inputs, strict=True)))
    return torch.stack(list(inputs))


def _batches(units: Mapping[int, Sequence[_Listed]], size: int) -> list[list[_Listed]]:
    """The units in batches of so many images."""
    by_image: dict[int, list[_Listed]] = {}
    for unit in itertools.chain.from_iterable(units.values()):
        by_image.setdefault(unit.image, []).append(unit)
    images = sorted(by_image)
    return [
        [unit for image in images[start : start + size] for unit in by_image[image]]
        for start in range(0, len(images), size)
    ]


def _layer(net: DeconvNet, top: TopActivations, layer: LayerName | None) -> str:
    if layer is not None:
        return layer_name(layer, net.model)
    if len(top.layers) > 1:
        raise InputError(f"the scan has {len(top.layers)} layers; give one of them as layer, such as {top.layers[0]!r}")
    return top.layers[0]


def _listed(top: TopActivations, layer: str, channel: int) -> list[_Listed]:
    """A channel's units that fire, strongest first."""
    values, images, positions = (part[layer][channel].tolist() for part in (top.values, top.images, top.positions))
    return [
        _Listed(image, channel, rank, tuple(position))
        for rank, (value, image, position) in enumerate(zip(values, images, positions, strict=True))
        if value > 0 and image >= 0
    ]


def _pairs(members: Sequence[_Listed], projection: Projection) -> Iterable[tuple[_Listed, Any]]:
    return zip(members, projection.units, strict=True)


def _single(projection: Projection, row: int) -> Projection:
    """One unit with its image alone."""
    only, images, sample = projection[row], projection.image(row)[None].clone(), projection.units[row].sample
    return replace(
        only,
        pixels=cast(Tensor, only.held),
        images=images,
        units=(replace(only.units[0], sample=0),),
        other_images={name: shown[sample : sample + 1].clone() for name, shown in only.other_images.items()},
    )
