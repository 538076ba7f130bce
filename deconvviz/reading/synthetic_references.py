"""Synthetic pictures of single units, as they stand for a channel in a test of reading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from deconvviz.io.progress_bar import progress_bar
from deconvviz.net import DeconvNet
from deconvviz.reading.pieces import UnitWindows, small
from deconvviz.results import SyntheticPictures
from deconvviz.synthesis.synthesis import ASCENT_STEPS, Begins, synthesized

SYNTHETIC = "synthetic"
SYNTHETIC_COUNT = 4  # pictures of a channel, each from other random numbers
WIDENED = (0, 1, 2)  # steps of the layer by which a picture is wider, until its middle unit sees nothing beyond it
WIDER_BY = 8  # a picture is wider than what its unit sees by the WIDER_BY-th part on either side


def synthetic_references(
    net: DeconvNet,
    layer: str,
    windows: UnitWindows,
    examples: Tensor,
    brightness: tuple[float, float],
    *,
    channels: Sequence[int],
    seed: int,
) -> dict[int, Tensor]:
    """Per channel what excites its unit in the middle, cut out as patches are, (count, C, h, w) in [0, 1].

    Args:
        net: The network.
        layer: The layer.
        windows: What the layer's units see.
        examples: Inputs of the network (N, C, H, W).
        brightness: The lowest and highest value of displayed images.
        channels: The channels.
        seed: Seed of the random numbers.
    """
    begin = partial(progress_bar, shown=False)
    made = of_units_in_the_middle(
        net, layer, windows, examples, channels=channels, variants=SYNTHETIC_COUNT, seed=seed, begin=begin
    )
    low, high = brightness
    place = () if isinstance(made.position, str) else made.position
    pictures = ((made.pictures - low) / (high - low)).clamp(0, 1)
    return {
        number: small(torch.stack([windows.cut(picture, place) for picture in of_channel]))
        for number, of_channel in zip(made.channels, pictures, strict=True)
    }


def of_units_in_the_middle(
    net: DeconvNet,
    layer: str,
    windows: UnitWindows,
    examples: Tensor,
    *,
    channels: Sequence[int],
    begin: Begins,
    variants: int = 1,
    steps: int = ASCENT_STEPS,
    seed: int = 0,
) -> SyntheticPictures:
    """What excites the unit in the middle of each channel's map, in pictures that are hardly larger than what it sees.

    Args:
        net: The network.
        layer: The layer.
        windows: What the layer's units see.
        examples: Inputs of the network (N, C, H, W).
        channels: The channels.
        begin: Begins to show how far the work is.
        variants: Pictures per channel.
        steps: Steps of gradient ascent.
        seed: Seed of the random numbers.
    """
    return synthesized(
        net,
        layer,
        channel=list(channels),
        position="middle",
        examples=examples,
        size=_size(net, layer, windows, examples),
        begin=begin,
        variants=variants,
        steps=steps,
        random_state=seed,
    )


def _size(net: DeconvNet, layer: str, windows: UnitWindows, examples: Tensor) -> tuple[int, int]:
    """The size of the pictures: a little more than the middle unit sees, if the network runs on so small ones."""
    height, width = examples.shape[-2:]
    if windows.stride is None:
        return height, width
    rows, columns = height, width
    for steps in WIDENED:
        rows, columns = (
            min(whole, size + 2 * -(-size // WIDER_BY) + 2 * steps * math.ceil(stride))
            for whole, size, stride in zip((height, width), windows.size, windows.stride, strict=True)
        )
        try:
            trace = net.trace(examples[:1, :, :rows, :columns], layer)
        except Exception:  # the model's own, if it insists on one size
            return height, width
        middle = [side // 2 for side in net.layers(trace)[layer].shape[2:]]
        (top, bottom), (left, right) = windows.box(middle, (rows, columns))
        if (bottom - top, right - left) == windows.size:
            break
    return rows, columns
