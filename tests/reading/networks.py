"""Networks of which it is known what they read, and images for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

import deconvviz as dv

CHANNELS, SIDE, FIELD = 12, 20, 7


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def templates(count: int = CHANNELS) -> Tensor:
    """Random filters (count, 1, 7, 7) without a mean, of length 1."""
    filters = torch.randn(CHANNELS, 1, FIELD, FIELD, generator=seeded(3))
    filters = filters - filters.mean((2, 3), keepdim=True)
    return (filters / filters.flatten(1).norm(dim=1).view(-1, 1, 1, 1))[:count]


def planted_images(count: int = 240, planted: Sequence[int] = range(CHANNELS)) -> Tensor:
    """Noise in which each template, or each of some, stands in about a third of the images, at some place."""
    generator = seeded(4)
    images = 0.5 + 0.05 * torch.randn(count, 1, SIDE, SIDE, generator=generator)
    for image in images:
        for filters in templates()[list(planted)]:
            if torch.rand((), generator=generator) < 0.3:
                top, left = torch.randint(SIDE - FIELD + 1, (2,), generator=generator).tolist()
                strength = 0.6 + 0.4 * torch.rand((), generator=generator)
                image[:, top : top + FIELD, left : left + FIELD] += strength * filters
    return images.clamp(0, 1)


class Planted(nn.Module):
    """One convolution with given filters, on images or on what `before` makes of them."""

    def __init__(self, filters: Tensor, before: Any = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, len(filters), filters.shape[-1], bias=False)
        self.conv.weight.data.copy_(filters)
        self.before = before or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(self.before(x))
        return out


class Pairs(nn.Module):
    """Six channels that respond to two templates each, and six that respond to one."""

    def __init__(self) -> None:
        super().__init__()
        self.templates = nn.Conv2d(1, 12, FIELD, bias=False)
        self.templates.weight.data.copy_(templates())
        self.relu = nn.ReLU()
        self.units = nn.Conv2d(12, 12, 1, bias=False)
        weights = torch.zeros(12, 12)
        for unit in range(6):
            weights[unit, 2 * unit] = weights[unit, 2 * unit + 1] = 1
            weights[6 + unit, 2 * unit] = 1
        self.units.weight.data.copy_(weights[..., None, None])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.units(self.relu(self.templates(x) - 0.2))
        return out


class Invisible(nn.Module):
    """What remains of pixels beyond 12 bits, which no person sees."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.frac(x * 4096) - 0.5


class Energy(nn.Module):
    """Squared distance from grey."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5).square()


class Constant(nn.Module):
    """A channel that is 1 everywhere, whatever the image is."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.ones_like(x) + 0 * x


def net_of(filters: Tensor, before: Any = None) -> dv.DeconvNet:
    return dv.DeconvNet(Planted(filters, before).eval())


def read(net: dv.DeconvNet, images: Tensor, **options: Any) -> Any:
    return dv.reading_test(net, images, "conv", progress=False, **{"questions": 12, **options})
