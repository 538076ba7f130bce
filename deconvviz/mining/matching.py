"""Checks that a scan's results are consistent, and belong to a network and a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from deconvviz.data.batches import is_indexed
from deconvviz.errors import InputError, UnknownLayerError, did_you_mean
from deconvviz.net import DeconvNet
from deconvviz.recording.fingerprint import fingerprint
from deconvviz.recording.placement import required_arguments
from deconvviz.recording.rounding import share_of
from deconvviz.results import ChannelStatistics, TopActivations
from deconvviz.results.words import in_digits


def check_scan(net: DeconvNet, data: Any, top: TopActivations, *, several_inputs: bool = False) -> None:
    """Raise InputError unless these can be the results of a scan of this network over this dataset.

    several_inputs: whether the caller can show those of a network of several inputs.
    """
    check_shown(net, data, several_inputs=several_inputs)
    if not isinstance(top, TopActivations):
        raise InputError(f"what is shown is what `scan` found, a TopActivations, not a {type(top).__name__}")
    if top.provenance.fingerprint != fingerprint(net.model):
        model = type(net.model).__name__
        raise InputError(f"the scan is of a {top.provenance.model} with other weights than this {model}; scan again")
    if top.count + len(top.broken) != len(data):
        raise InputError(
            f"the scan is of {top.count + len(top.broken)} items, and the dataset has {len(data)}; scan again"
        )
    check_whole(top, len(data))


def check_shown(net: DeconvNet, data: Any, *, several_inputs: bool = False) -> None:
    """Raise InputError unless the strongest units of this network over this dataset can be shown, as `check_scan`."""
    if not is_indexed(data):
        raise InputError(
            f"the strongest units are shown from a dataset with a length and items by number, not a "
            f"{type(data).__name__}"
        )
    if not several_inputs and len(taken := required_arguments(net.model)) > 1:
        raise InputError(
            f"the strongest units are shown for networks of one input, and this one takes {', '.join(taken)}; project "
            f"the units that the scan found with `project_units`"
        )


def check_scanned(top: TopActivations, layers: Iterable[str]) -> None:
    """Raise UnknownLayerError unless these layers were scanned."""
    for name in layers:
        if name not in top.layers:
            raise UnknownLayerError(f"the scan has no layer {name!r}{did_you_mean(name, top.layers)}")


def check_whole(top: TopActivations, items: int) -> None:
    """Raise InputError unless these can be the results of a scan of so many items; they may come from any file."""
    if not top.values:
        raise InputError("the scan has no layers; scan again")
    k = next(iter(top.values.values())).shape[-1:]
    for layer in top.layers:
        misfit = _misfit(top, layer, items)
        if not misfit and top.values[layer].shape[1:] != k:
            misfit = "its lists are of another length than those of other layers"
        if misfit:
            raise _inconsistent(layer, misfit)


def check_channels(top: TopActivations, layer: str, channels: int) -> None:
    """Raise InputError unless the network's layer has as many channels as the scan found."""
    if len(top.values[layer]) != channels:
        raise _inconsistent(layer, f"{len(top.values[layer])} channels, and the network has {channels}")


def _inconsistent(layer: str, said: str) -> InputError:
    return InputError(f"the scan's data for layer {layer!r} are inconsistent: {said}; scan again")


def _misfit(top: TopActivations, layer: str, items: int) -> str:
    """What is inconsistent in the results for a layer; "" if nothing."""
    if not all(layer in part for part in (top.images, top.positions, top.statistics)):
        return "a part is missing"
    values, images, positions = top.values[layer], top.images[layer], top.positions[layer]
    shapes = values.ndim == 2 and 0 not in values.shape and images.shape == values.shape == positions.shape[:-1]
    if not shapes or positions.ndim != 3:
        return f"values {tuple(values.shape)}, images {tuple(images.shape)}, positions {tuple(positions.shape)}"
    if not values.is_floating_point() or images.dtype != torch.long or positions.dtype != torch.long:
        return f"values of {values.dtype}, images of {images.dtype}, positions of {positions.dtype}"
    if bool((images < -1).any()) or bool((images >= items).any()):
        return f"images {int(images.min())} to {int(images.max())} of {items}"
    if bool(torch.isin(images, torch.tensor([item.image for item in top.broken], dtype=torch.long)).any()):
        return "an image that could not be read"
    listed = images >= 0
    if not bool(torch.isfinite(values[listed]).all()) or bool((values[~listed] > 0).any()):
        return "values that are not finite, or of no image"
    if bool((positions[listed] < 0).any()):
        return "positions below 0"
    return _statistics_misfit(top.statistics[layer], len(values))


def _statistics_misfit(statistics: ChannelStatistics, channels: int) -> str:
    """What is inconsistent in a layer's statistics; "" if nothing."""
    histogram, edges = statistics.histogram, statistics.edges
    bins = len(edges) - 1 if edges.ndim == 1 else 0
    per_channel = (statistics.fires, statistics.mean, statistics.maximum)
    shapes = {tuple(numbers.shape) for numbers in per_channel}
    if shapes != {(channels,)} or bins < 1 or tuple(histogram.shape) != (channels, bins):
        return f"statistics of {shapes} and histograms {tuple(histogram.shape)} of {channels} channels"
    masks = [mask for mask in (statistics.is_dead, statistics.is_always_on) if mask is not None]
    if any(tuple(mask.shape) != (channels,) or mask.dtype != torch.bool for mask in masks):
        return f"dead and always-on channels {[tuple(mask.shape) for mask in masks]} of {channels} channels"
    finite = bool(torch.isfinite(torch.stack([numbers.double() for numbers in per_channel])).all())
    if not finite or bool((histogram.sum(1) < 1).any()):
        return "statistics that are not finite, or of no image"
    return ""


def check_recomputed(
    top: TopActivations,
    layer: str,
    dtype: torch.dtype,
    recomputed: Iterable[tuple[int, int, int, float]],
    check_steady: Callable[[int], None],
) -> None:
    """Check that units are as strong as a scan found them, up to rounding.

    Args:
        top: What the scan found.
        layer: The units' layer.
        dtype: Type of the network's parameters.
        recomputed: Per unit its image, channel, rank in the channel's list and activation.
        check_steady: Raises InputError if an image is another one each time it is read.

    Raises:
        InputError: If one is not.
    """
    values = top.values[layer]
    allowed = share_of(dtype) * float(values[top.images[layer] >= 0].abs().max())
    for image, channel, rank, activation in recomputed:
        before = float(values[channel, rank])
        if not abs(activation - before) <= allowed:
            check_steady(image)
            raise InputError(
                f"in image {image} the scan found {in_digits(before, 4)} for channel {channel} of layer {layer!r}, but "
                f"now it is {in_digits(activation, 4)}: the dataset or the network has changed; scan again"
            )
