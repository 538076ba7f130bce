"""The control beside the demonstration's claim that projections of a channel look alike."""

from __future__ import annotations

import pytest
import torch

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.demo import silent_control
from deconvviz.models import MnistCNN


def test_the_same_unit_where_it_is_silent():
    """Against projections of single units, one by one."""
    torch.manual_seed(0)
    net, images = dv.DeconvNet(MnistCNN((4, 5), 8)), mnist_test()[0][:30]
    top = dv.scan(net, images, layers=["conv2"], k=1, progress=False)
    maps = net.trace(images, "conv2").activations["conv2"]
    alike = []
    for channel in range(5):
        row, column = top.positions["conv2"][channel, 0].tolist()
        off = [n for n in range(30) if maps[n, channel, row, column] <= 0]
        if off and top.values["conv2"][channel, 0] > 0:
            both = [
                net.project(images[n : n + 1], "conv2", channel=channel, position=(row, column), seed="one").pixels
                for n in (int(top.images["conv2"][channel, 0]), off[0])
            ]
            alike.append(float(torch.nn.functional.cosine_similarity(*(each.flatten(1) for each in both))))
    assert len(alike) >= 2
    assert silent_control(net, top, images, "conv2") == pytest.approx(sum(alike) / len(alike), abs=1e-5)
