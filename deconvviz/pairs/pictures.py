"""The pictures of a pair of channels: the strongest nine of each, and how alike their mean projections are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deconvviz.data.batches import is_indexed
from deconvviz.mining.dataset_pictures import DatasetPictures
from deconvviz.mining.project_top import project_top
from deconvviz.net import DeconvNet
from deconvviz.reading.conditions import as_picture
from deconvviz.reading.cut_pictures import cut_patches, in_bytes
from deconvviz.reading.mixed import CHANNELS_TOGETHER
from deconvviz.reading.observers import reduced
from deconvviz.reading.pieces import UnitWindows, small
from deconvviz.reading.stability import COMPARED_SIDE
from deconvviz.recording.placement import required_arguments
from deconvviz.results import ChannelTop, TopActivations
from deconvviz.results.network_diff import PairPictures

SHOWN_SIDE = 48  # pixels of the longer side of the pictures that are kept


class PicturedChannel(NamedTuple):
    """The pictures of a channel.

    Attributes:
        mean: The mean projection, (C, h, w).
        size: Height and width of a unit's window in the image, in pixels.
        patches: (units, C, h, w), bytes.
        projections: (units, C, h, w), bytes.
        names: The names of the images.
    """

    mean: Tensor
    size: tuple[int, int]
    patches: Tensor
    projections: Tensor
    names: tuple[str, ...]


def can_be_shown(net: DeconvNet, data: Any, shape: Sequence[int]) -> bool:
    """Whether there are pictures of units: the dataset has items by number, which are images (C, H, W)."""
    return is_indexed(data) and len(shape) == 3 and len(required_arguments(net.model)) < 2


def pictures_of(
    net: DeconvNet, data: Any, top: TopActivations, layer: str, channels: Sequence[int], *, batch_size: int
) -> dict[int, PicturedChannel]:
    """The pictures of those of the channels that fire."""
    first = DatasetPictures(net, data).load(int(top.images[layer][0, 0]))[0]
    windows = UnitWindows.of(net.layers(first[None])[layer], first.shape)
    found: dict[int, PicturedChannel] = {}
    for start in range(0, len(channels), CHANNELS_TOGETHER):
        block = list(channels[start : start + CHANNELS_TOGETHER])
        for one in project_top(net, data, top, layer=layer, channel=block, batch_size=batch_size, progress=False):
            found[one.channel] = _of_channel(one, windows)
    return found


def _of_channel(top: ChannelTop, windows: UnitWindows) -> PicturedChannel:
    pictures = small(windows.projected(top.projection))
    return PicturedChannel(
        mean=pictures.mean(0),
        size=windows.size,
        patches=in_bytes(reduced(cut_patches(top, windows), SHOWN_SIDE)),
        projections=in_bytes(as_picture(reduced(pictures, SHOWN_SIDE))),
        names=top.names,
    )


def cosines(a: Sequence[PicturedChannel], b: Sequence[PicturedChannel]) -> Tensor:
    """(channels of a, channels of b), the signed cosines of mean projections; NaN for a blank one.

    Of windows of different sizes the smaller size is compared, about the middle.
    """
    if not a or not b:
        return torch.zeros(len(a), len(b), dtype=torch.float64)
    one, other = (_directions(side, min_size(a[0].size, b[0].size)) for side in (a, b))
    if one.shape[1] != other.shape[1]:
        return torch.full((len(a), len(b)), math.nan, dtype=torch.float64)
    return one @ other.T


def min_size(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """The height and width that both have."""
    return min(a[0], b[0]), min(a[1], b[1])


def _directions(pictures: Sequence[PicturedChannel], size: tuple[int, int]) -> Tensor:
    """(n, d), the mean projections, grey, cut to a size of the window, at the resolution of the comparison."""
    vectors = []
    for one in pictures:
        picture = one.mean.mean(0, keepdim=True) if one.mean.shape[0] != 3 else one.mean
        rows, columns = (
            round(side * wanted / whole) for side, wanted, whole in zip(picture.shape[1:], size, one.size, strict=True)
        )
        top, left = (picture.shape[1] - rows) // 2, (picture.shape[2] - columns) // 2
        cut = picture[:, top : top + rows, left : left + columns]
        vectors.append(reduced(cut[None], COMPARED_SIDE).flatten().double())
    stacked = torch.stack(vectors)
    lengths = stacked.norm(dim=1, keepdim=True)
    return torch.where(lengths > 0, stacked / lengths, math.nan)


def pair_pictures(row: int, one: PicturedChannel, other: PicturedChannel) -> PairPictures:
    """The pictures of a pair."""
    return PairPictures(
        pair=row,
        patches=(one.patches, other.patches),
        projections=(one.projections, other.projections),
        names=(one.names, other.names),
    )
