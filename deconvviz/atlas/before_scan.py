"""What an atlas can show, as far as it is known before the scan, which may take hours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from deconvviz.arguments import check_counts
from deconvviz.errors import InputError
from deconvviz.mining.asked_channels import check_asked_channels
from deconvviz.mining.dataset_pictures import DatasetPictures
from deconvviz.mining.matching import check_shown
from deconvviz.net import DeconvNet


def check_before_scan(
    net: DeconvNet, data: Any, layers: Sequence[str], channels: Iterable[int] | None, limit: int | None
) -> None:
    """Check on the first image what `build_atlas` would refuse after the scan.

    Args:
        net: The network.
        data: The dataset.
        layers: The layers that are asked for, if they are.
        channels: The channels of each of them that are asked for, if they are.
        limit: The number of channels of each that is asked for, if it is.

    Raises:
        InputError: If an atlas cannot show the dataset or the network, or lacks such channels.
        UnknownLayerError: If a layer does not run.
        DataError: If no item can be read.
    """
    check_shown(net, data)
    if limit is not None:
        check_counts(limit=limit)
    check_images(DatasetPictures(net, data).first()[None])
    check_asked_channels(net, data, layers, channels)


def check_images(x: Tensor) -> None:
    """Raise InputError unless these are images, (N, C, H, W)."""
    if x.ndim != 4:
        raise InputError(f"an atlas shows images (C, H, W), and the inputs are of shape {tuple(x.shape[1:])}")
