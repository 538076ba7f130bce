"""What is known of a layer's channels once their units are projected: one verdict each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from deconvviz.atlas.held_out import FROM_OTHER, FROM_OWN, FROM_RANDOM, AskedChannel, ChannelAnswers, readings
from deconvviz.atlas.projected_units import LayerProjections, ProjectedUnit
from deconvviz.evidence.specificity import Specificity, specificity
from deconvviz.intervals import FEWEST
from deconvviz.reading.conditions import as_picture


def judged_channels(projections: LayerProjections, channels: Sequence[int], threads: int) -> dict[int, Specificity]:
    """The verdict on each channel.

    Args:
        projections: With all units of these channels, which have at least one each.
        channels: The channels.
        threads: How many channels are asked about at once; 0 or 1 for one after the other.
    """
    if projections.source.judge is None:
        return {}
    answers = _each(lambda channel: answers_about(projections, channel, channels), channels, threads)
    found = zip(channels, readings(answers), strict=True)
    return {channel: specificity(*_pictures(projections, channel), reading) for channel, reading in found}


def _each(ask: Callable[[int], ChannelAnswers | None], channels: Sequence[int], threads: int) -> list[Any]:
    """Answers about channels, in their order. Each is computed on one thread, so that sums are rounded alike."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(max(1, threads), "deconvviz-atlas-reading", torch.set_num_threads, (1,))
    try:
        return list(pool.map(ask, channels))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # which threads that begin later take over from the last one that set it


def answers_about(projections: LayerProjections, channel: int, channels: Sequence[int]) -> ChannelAnswers | None:
    """What an observer answers about a channel; channels: those of which one stands for another channel."""
    held_out, windows = projections.source.held_out, projections.windows
    own, _, random = _pictures(projections, channel)
    if held_out is None or windows is None or len(own) < FEWEST:
        return None
    pictures = {FROM_OWN: as_picture(torch.stack(own))}
    other = channels[(list(channels).index(channel) + len(channels) // 2) % len(channels)]
    if other != channel:
        pictures[FROM_OTHER] = as_picture(torch.stack(_pictures(projections, other)[0]))
    drawn = [picture for picture in random if picture is not None]
    if drawn:
        pictures[FROM_RANDOM] = as_picture(torch.stack(drawn))
    listed = {unit.image for unit in projections.of_channel(channel)}
    return held_out.ask(AskedChannel(projections.layer, channel, listed), windows, projections.dims, pictures)


def _pictures(
    projections: LayerProjections, channel: int
) -> tuple[list[Tensor], list[Tensor | None], list[Tensor | None]]:
    """The signed pictures of a channel's units, of the neighbours and of random weights: one unit of each image."""
    units = list(_one_of_each_image(projections.of_channel(channel)))
    found = [projections.judged(unit) for unit in units]
    own = [first for first, _, _ in found if first is not None]
    return own, [second for _, second, _ in found], [third for _, _, third in found]


def _one_of_each_image(units: Sequence[ProjectedUnit]) -> Iterator[ProjectedUnit]:
    """The strongest unit of each image, strongest first."""
    seen: set[int] = set()
    for unit in units:
        if unit.image not in seen:
            seen.add(unit.image)
            yield unit
