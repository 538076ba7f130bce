"""Channels that are asked for, checked on the first image: a scan may take hours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from deconvviz.data.batches import is_indexed
from deconvviz.mining.dataset_pictures import DatasetPictures
from deconvviz.net import DeconvNet
from deconvviz.projection.units import channels_of
from deconvviz.recording.placement import required_arguments


def check_asked_channels(net: DeconvNet, data: Any, layers: Sequence[str], channels: Iterable[int] | None) -> None:
    """Raise InputError if a layer has no such channels, where a dataset can be asked for its first image.

    Args:
        net: The network, of one input; others are not checked.
        data: The dataset.
        layers: Names of the layers.
        channels: The channels that are asked for of each; None for all.

    Raises:
        InputError: If a layer lacks one of them.
        UnknownLayerError: If a layer does not run.
        DataError: If no item can be read.
    """
    if channels is None or not layers or not is_indexed(data) or len(required_arguments(net.model)) > 1:
        return
    trace = net.trace(DatasetPictures(net, data).first()[None])
    for layer in layers:
        channels_of(channels, trace.activations_of(layer).channels, layer)
