"""`mixed_channels`: channels that respond to two things.

The guided projections of a channel's strongest units show what fired each of them; a deconvnet projection paints all
that the channel looks for, whichever fired. If they fall into two groups, the channel responds to two things. Each
rectifier passes the signal by how much it fired: if one that hardly fires passed all of it, as in guided projections,
pictures of one thing would fall into those with it and those without it, and nothing between.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deconvviz.arguments import FLAG, NET, RANDOM_STATE, check_counts, once, takes
from deconvviz.data.batches import is_indexed
from deconvviz.data.datasets import as_dataset
from deconvviz.errors import InputError
from deconvviz.intervals import holm
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.mining.dataset_pictures import DatasetPictures
from deconvviz.mining.project_top import project_top
from deconvviz.mining.scan import scan
from deconvviz.net import DeconvNet
from deconvviz.operations.styles import STYLES
from deconvviz.projection.units import channels_of
from deconvviz.reading.conditions import as_picture
from deconvviz.reading.cut_pictures import cut_patches, in_bytes, seen_by
from deconvviz.reading.groups import Groups, likenesses, two_groups
from deconvviz.reading.observers import REACH, reduced
from deconvviz.reading.pieces import UnitWindows, small
from deconvviz.reading.stability import COMPARED_SIDE
from deconvviz.recording.layer_names import LayerName, layer_name
from deconvviz.results import Broken, ChannelTop
from deconvviz.results.mixed import FEWEST_PICTURES, MixedChannels, PictureGroups

BY_STRENGTH = STYLES["guided"].but(rectifier="weighted")
EXAMPLE_CHANNELS = 6
SHOWN_UNITS = 9  # of a group
CHANNELS_TOGETHER = 16  # channels


@takes(net=NET, random_state=RANDOM_STATE, progress=FLAG)
@on_the_cpu
def mixed_channels(
    net: DeconvNet,
    dataset: Any,
    layer: LayerName,
    *,
    channel: int | Iterable[int] | None = None,
    units: int = 40,
    batch_size: int = 64,
    random_state: int = 0,
    progress: bool = True,
) -> MixedChannels:
    """Find channels that respond to two things, with the pictures of both.

    The guided projections of each channel's strongest units, in which each rectifier passes the signal by how much it
    fired, are split by two-means on their directions, each pair compared at the shift at which they are most alike, up
    to the distance of two units. The separation says how far the groups are apart: what share of its group is nearer to
    a picture than all of the other group. Two-means splits any pictures, also those of one thing that varies without a
    gap, such as strokes of every length, so the separation is compared with that of places on a line. Pictures with a
    cosine of 0.99 or more count as the same. Groups of less than a tenth of the units are outliers.

    Images must not depend on each other: copies that are equal in each pixel count once, but frames of a video, or
    crops of the same photographs, fall into groups by themselves.

    Args:
        net: The network; its style is not used.
        dataset: Images, as for `scan`, with items by number.
        layer: The layer.
        channel: One channel, several, or None for all. Channels that fire on fewer than `units` images, or whose
            units see fewer than 24 that differ, are left out.
        units: Number of a channel's strongest units, one per image; at least 24.
        batch_size: Number of images in a batch.
        random_state: Seed of the random numbers.
        progress: Show progress bars.

    Returns:
        A `deconvviz.results.MixedChannels`.

    Raises:
        InputError: If an argument does not fit.
        UnknownLayerError: If the layer does not run.

    Example:
        >>> import deconvviz as dv
        >>> from deconvviz.data import mnist_test
        >>> from deconvviz.models import mnist_cnn
        >>> net, images = dv.DeconvNet(mnist_cnn()), mnist_test()[0][:200]
        >>> found = dv.mixed_channels(net, images, "conv2", channel=[3, 20], units=24, progress=False)
        >>> found.groups.shape
        torch.Size([2, 24])
    """
    check_counts(batch_size=batch_size)
    check_counts(FEWEST_PICTURES, units=units)
    name = layer_name(layer, net.model)
    data = as_dataset(dataset)
    if not is_indexed(data):
        raise InputError(
            f"mixed channels need a dataset with a length and items by number, not a {type(data).__name__}"
        )
    guided = DeconvNet(net.model, BY_STRENGTH, preprocess=net.preprocess, strict=net.strict)
    windows, _ = seen_by(guided, DatasetPictures(guided, data).first(), name)
    top = scan(guided, data, layers=[name], k=units, batch_size=batch_size, labels=False, progress=progress)
    given = channels_of(once(channel), len(top.values[name]), name)
    firing = set((top.values[name][:, -1] > 0).nonzero().flatten().tolist())
    able = [number for number in given if number in firing]
    found: list[_Split] = []
    with progress_bar(total=len(able), unit="channel", desc="mixed", shown=progress) as bar:
        for start in range(0, len(able), CHANNELS_TOGETHER):
            block = able[start : start + CHANNELS_TOGETHER]
            for one in project_top(guided, data, top, layer=name, channel=block, batch_size=batch_size, progress=False):
                split = _split(one, windows, len(able), random_state)
                found += [] if split is None else [split]
            found = _with_clearest_pictures(found)
            bar.update(len(block))
    return _result(name, given, found, units, top.broken)


class _Split(NamedTuple):
    channel: int
    groups: Groups
    pictures: PictureGroups | None


def _split(top: ChannelTop, windows: UnitWindows, channels: int, random_state: int) -> _Split | None:
    """The groups of a channel's units; None if too few see different images."""
    pictures = small(windows.projected(top.projection))
    kinds = _by_what_they_see(top, windows)
    firsts = [kinds.index(kind) for kind in range(max(kinds) + 1)]
    if len(firsts) < FEWEST_PICTURES:
        return None
    compared = reduced(pictures[firsts], COMPARED_SIDE)
    likeness = likenesses(compared, _reach(windows, compared.shape[-2:]))
    groups = two_groups(likeness, channels=channels, random_state=random_state)
    groups = groups._replace(labels=groups.labels[kinds])
    members = [(groups.labels == number).nonzero().flatten().tolist()[:SHOWN_UNITS] for number in (0, 1)]
    shown, seen = in_bytes(as_picture(pictures)), in_bytes(cut_patches(top, windows))
    return _Split(
        top.channel,
        groups,
        PictureGroups(
            channel=top.channel,
            pictures=(shown[members[0]], shown[members[1]]),
            patches=(seen[members[0]], seen[members[1]]),
            names=(tuple(top.names[row] for row in members[0]), tuple(top.names[row] for row in members[1])),
        ),
    )


def _reach(windows: UnitWindows, size: Sequence[int]) -> tuple[int, int]:
    """How far pictures (h, w) of a window are shifted: to the next unit's window, at most by half of their sides."""
    step = windows.stride or [side / REACH for side in windows.size]
    pixels = zip(step, windows.size, size, strict=True)
    down, right = (min(math.ceil(one * side / whole), side // 2) for one, whole, side in pixels)
    return down, right


def _by_what_they_see(top: ChannelTop, windows: UnitWindows) -> list[int]:
    """A number for each unit, from 0: the same for those that see the same pixels at the same place."""
    found: dict[tuple[tuple[int, ...], bytes], int] = {}
    return [
        found.setdefault((unit.position, _bytes(windows.cut(top.projection.image(row), unit.position))), len(found))
        for row, unit in enumerate(top.projection.units)
    ]


def _bytes(pixels: Tensor) -> bytes:
    return pixels.detach().float().cpu().contiguous().numpy().tobytes()


def _by_clarity(found: Sequence[_Split]) -> list[_Split]:
    return sorted(found, key=lambda one: (one.groups.p, -one.groups.separation))


def _with_clearest_pictures(found: Sequence[_Split]) -> list[_Split]:
    """The same without pictures of channels that no figure shows, so that memory does not grow with the channels."""
    kept = {one.channel for one in _by_clarity(found)[:EXAMPLE_CHANNELS]}
    return [one if one.channel in kept else one._replace(pictures=None) for one in found]


def _result(
    layer: str, given: Sequence[int], found: Sequence[_Split], units: int, broken: tuple[Broken, ...]
) -> MixedChannels:
    tested = tuple(one.channel for one in found)
    numbers = [[one.groups.separation, one.groups.expected, one.groups.p] for one in found]
    columns = torch.tensor(numbers, dtype=torch.float64).view(-1, 3)
    return MixedChannels(
        layer=layer,
        channels=tested,
        untested=tuple(number for number in given if number not in tested),
        separations=columns[:, 0],
        expected=columns[:, 1],
        p=torch.tensor(holm(columns[:, 2].tolist()), dtype=torch.float64),
        groups=torch.stack([one.groups.labels for one in found]) if found else torch.zeros(0, units, dtype=torch.long),
        examples=tuple(one.pictures for one in _by_clarity(found) if one.pictures is not None),
        broken=broken,
    )
