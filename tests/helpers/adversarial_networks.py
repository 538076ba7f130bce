"""Networks of which it is known what a picture must show, made to mislead who looks at pictures alone."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from deconvviz.models import MnistCNN


def with_fooling_circuit(model: MnistCNN, channels: int = 4) -> Any:
    """The network with further channels of conv1 that are silent on every image and draw a cross on the way back.

    A bias far below zero keeps them off, so that the outputs are the same numbers; conv2 reads them with large weights.
    """
    fooled: Any = copy.deepcopy(model)
    first, second = fooled.conv1, fooled.conv2
    side = first.weight.shape[-1]
    cross = torch.zeros(channels, 1, side, side)
    cross[:, :, side // 2], cross[..., side // 2] = 1, 1
    fooled.conv1 = nn.Conv2d(1, first.out_channels + channels, side, padding=side // 2)
    fooled.conv2 = nn.Conv2d(second.in_channels + channels, second.out_channels, 5, padding=2)
    reading = torch.full((second.out_channels, channels, 5, 5), 20.0)
    with torch.no_grad():
        fooled.conv1.weight.copy_(torch.cat([first.weight, cross]))
        fooled.conv1.bias.copy_(torch.cat([first.bias, torch.full((channels,), -100.0)]))
        fooled.conv2.weight.copy_(torch.cat([second.weight, reading], 1))
        fooled.conv2.bias.copy_(second.bias)
    return fooled.eval()


def reads_box(side: int, top: int, left: int, size: int) -> Any:
    """A network whose only output is the sum of one box of the image: a stamp, or whatever lies there."""
    model: Any = nn.Sequential(nn.Conv2d(1, 1, side, bias=False)).double()
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].weight[0, 0, top : top + size, left : left + size] = 1
    return model.eval()


def planted_circuit() -> Any:
    """A network whose unit is wired to channels 2 and 5 of the first layer, among decoys.

    The decoys are read with kernels thirty times as large, and a bias keeps them off on every image in [0, 1].
    """
    random = torch.Generator().manual_seed(3)
    first: Any = nn.Conv2d(1, 8, 3, padding=1)
    second: Any = nn.Conv2d(8, 2, 3, padding=1)
    with torch.no_grad():
        first.weight.copy_(torch.randn(8, 1, 3, 3, generator=random))
        first.bias.copy_(torch.full((8,), -100.0))
        first.bias[[2, 5]] = 0.1
        second.weight.copy_(30 * torch.randn(2, 8, 3, 3, generator=random).abs())
        second.weight[:, [2, 5]] /= 30
        second.bias.zero_()
    return nn.Sequential(first, nn.ReLU(), second).eval()


def matched_filters(count: int = 4, size: int = 5) -> tuple[Any, Tensor]:
    """A network whose channels are matched filters of random patterns, and the patterns (count, size, size)."""
    patterns = torch.randn(count, size, size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    patterns -= patterns.mean((1, 2), keepdim=True)
    model: Any = nn.Sequential(nn.Conv2d(1, count, size), nn.ReLU()).double()
    with torch.no_grad():
        model[0].weight.copy_(patterns[:, None])
        model[0].bias.fill_(-0.5 * float(patterns.square().sum((1, 2)).min()))
    return model.eval(), patterns


def images_of_patterns(patterns: Tensor, count: int, side: int = 16) -> Tensor:
    """Noise with one of the patterns at a random place of each image, (count, 1, side, side)."""
    random = torch.Generator().manual_seed(4)
    images = 0.1 * torch.randn(count, 1, side, side, generator=random, dtype=torch.float64)
    size = patterns.shape[-1]
    for n in range(count):
        top, left = torch.randint(side - size + 1, (2,), generator=random).tolist()
        images[n, 0, top : top + size, left : left + size] += patterns[n % len(patterns)]
    return images
