"""The transposed convolution to few channels, on crops of a few positions, is one matrix product."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.operations import convolution

STEMS = [
    nn.Conv2d(3, 8, 3),
    nn.Conv2d(1, 8, (2, 5), bias=False),
    nn.Conv2d(3, 8, 3, padding=1),
    nn.Conv2d(2, 8, (3, 2), stride=(1, 2), padding=(0, 1)),
    nn.Conv2d(4, 8, 5, stride=2, padding=2),
    nn.Conv2d(3, 8, 3, dilation=2, padding=(2, 0)),
]
OTHERS = [nn.Conv2d(4, 8, 3, groups=2), nn.Conv2d(5, 8, 3), nn.ConvTranspose2d(3, 8, 3)]


def expected(model, x, units):
    """Each unit's activation times its derivative, by autograd."""
    pictures = []
    for n, c, place in units:
        leaf = x[n : n + 1].clone().requires_grad_()
        made = model(leaf)[(0, c, *place)]
        pictures.append(torch.autograd.grad(made * made.detach(), leaf)[0][0])
    return torch.stack(pictures)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("stem", [*STEMS, *OTHERS], ids=str)
def test_it_is_the_derivative(monkeypatch, stem, layout):
    ways = []
    monkeypatch.setattr(convolution, "_by_columns", noted(ways, convolution._by_columns))
    model = nn.Sequential(stem, nn.Conv2d(8, 2, 2)).double().to(memory_format=layout)
    x = torch.randn(2, stem.in_channels, 12, 11).double()
    last = [extent - 1 for extent in model(x).shape[2:]]
    units = [(0, 1, (0, 0)), (1, 0, (2, 1)), (1, 1, tuple(last))]
    net = dv.DeconvNet(model, "gradient")
    pixels = net.project_units(x, "1", units).pixels
    torch.testing.assert_close(pixels, expected(model, x, units), rtol=0, atol=1e-12)
    assert bool(ways) == (stem in STEMS)


def noted(ways, function):
    def called(*args):
        ways.append(args)
        return function(*args)

    return called


def test_more_positions_go_through_the_convolution(monkeypatch):
    ways = []
    monkeypatch.setattr(convolution, "_by_columns", noted(ways, convolution._by_columns))
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 6)).double()
    x = torch.randn(1, 3, 20, 20).double()
    pixels = dv.DeconvNet(model, "gradient").project_units(x, "1", [(0, 1, (3, 4))]).pixels
    torch.testing.assert_close(pixels, expected(model, x, [(0, 1, (3, 4))]), rtol=0, atol=1e-12)
    assert not ways
