"""Whether what a scan found fits together, and fits the network and the dataset that an atlas is to show."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from deconvviz.errors import InputError
from deconvviz.recording.rounding import share_of
from deconvviz.results import ChannelStatistics, TopActivations


def check_whole(top: TopActivations, items: int) -> None:
    """Raise InputError where a scan of so many items cannot have found this: `top` may come from anybody's file."""
    if not top.values:
        raise InputError("the scan has no layers; scan again")
    k = next(iter(top.values.values())).shape[-1:]
    for layer in top.layers:
        said = _misfit(top, layer, items)
        if not said and top.values[layer].shape[1:] != k:
            said = "its lists are of another length than those of other layers"
        if said:
            raise _no_whole(layer, said)


def check_channels(top: TopActivations, layer: str, channels: int) -> None:
    """Raise InputError where the network's layer has other channels than the scan found."""
    if len(top.values[layer]) != channels:
        raise _no_whole(layer, f"{len(top.values[layer])} channels, and the network has {channels}")


def _no_whole(layer: str, said: str) -> InputError:
    return InputError(f"the scan's data for layer {layer!r} are inconsistent: {said}; scan again")


def _misfit(top: TopActivations, layer: str, items: int) -> str:
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
    if bool(torch.isin(images, torch.tensor([one.image for one in top.broken], dtype=torch.long)).any()):
        return "an image that could not be read"
    there = images >= 0
    if not bool(torch.isfinite(values[there]).all()) or bool((values[~there] > 0).any()):
        return "values that are not finite, or of no image"
    if bool((positions[there] < 0).any()):
        return "positions below 0"
    return _statistics_misfit(top.statistics[layer], len(values))


def _statistics_misfit(found: ChannelStatistics, channels: int) -> str:
    bins = len(found.edges) - 1 if found.edges.ndim == 1 else 0
    shapes = {tuple(one.shape) for one in (found.fires, found.mean, found.maximum)}
    if shapes != {(channels,)} or bins < 1 or tuple(found.histogram.shape) != (channels, bins):
        return f"statistics of {shapes} and histograms {tuple(found.histogram.shape)} of {channels} channels"
    numbers = torch.stack([found.fires.double(), found.mean.double(), found.maximum.double()])
    if not bool(torch.isfinite(numbers).all()) or bool((found.histogram.sum(1) < 1).any()):
        return "statistics that are not finite, or of no image"
    return ""


def check_recomputed(
    top: TopActivations, layer: str, dtype: torch.dtype, found: Iterable[tuple[int, int, int, float]]
) -> None:
    """Raise InputError where units are not as strong now as the scan found them, within rounding.

    dtype: of the network. found: per unit image, channel, rank in the channel's list and activation.
    """
    values = top.values[layer]
    allowed = share_of(dtype) * float(values[top.images[layer] >= 0].abs().max())
    for image, channel, rank, activation in found:
        before = float(values[channel, rank])
        if not abs(activation - before) <= allowed:
            raise InputError(
                f"in image {image} the scan found {before:.4g} for channel {channel} of layer {layer!r}, but now it is "
                f"{activation:.4g}: the dataset or the network has changed; scan again"
            )
