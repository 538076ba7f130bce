"""On an accelerator, a convolution's way back takes memory for its signals, and none for the shape of its input."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deconvviz as dv
from tests.helpers.pretend_device import pretending

SIDE, CHANNELS = 48, 8


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_two_maps_of_signals_are_the_most(layout):
    layers = [nn.Conv2d(1, CHANNELS, 3, padding=1), *(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(4))]
    model = nn.Sequential(*layers).eval().to(memory_format=layout)
    x = torch.rand(4, 1, SIDE, SIDE).to(memory_format=layout)
    expected = dv.DeconvNet(model).project(x, "4", channel=2, window="full").pixels
    with pretending("cuda") as device:
        net = dv.DeconvNet(model.to(device.name))
        trace = net.trace(x.to(device.name), "4")
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        pixels = net.project(trace, "4", channel=2, window="full").pixels
        peak = torch.cuda.max_memory_allocated() - before
    maps = peak / (4 * CHANNELS * SIDE * SIDE * 4)
    assert 2 <= maps < 2.5  # with the pixels, an eighth, and the input
    torch.testing.assert_close(pixels, expected)
