"""The positions that a scan returns are positions of evidence: the strongest units of a channel can be judged."""

from __future__ import annotations

import pytest
import torch

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.errors import DeconvVizError
from deconvviz.evidence import deletion, leak, localisation, randomisation
from deconvviz.models import mnist_cnn


def test_the_strongest_nine_are_judged():
    net, data = dv.DeconvNet(mnist_cnn()), mnist_test()[0][:40]
    top = dv.scan(net, data, layers="conv2", k=9, progress=False)
    images, positions = top.images["conv2"][5], top.positions["conv2"][5]
    x = data[images]
    expected = [(5, tuple(position)) for position in positions.tolist()]
    boxes = torch.tensor([[[0, 9], [0, 9]]]).expand(9, 2, 2)
    given = {"channel": 5, "position": positions, "progress": False}
    for found in (
        deletion(net, x, "conv2", methods=["guided"], steps=1, seeds=0, **given),
        randomisation(net, x, "conv2", methods=["guided"], seeds=1, **given),
        leak(net, x, "conv2", seeds=1, **given),
    ):
        assert [(unit.channel, unit.position) for unit in found.units] == expected
        assert [unit.activation for unit in found.units] == pytest.approx(top.values["conv2"][5].tolist(), rel=1e-5)
    assert localisation(net, x, boxes, layer="conv2", methods=["guided"], **given).points["guided"].shape == (9, 2)


def test_positions_for_other_images_are_refused():
    net, x = dv.DeconvNet(mnist_cnn()), mnist_test()[0][:3]
    with pytest.raises(DeconvVizError, match="position"):
        leak(net, x, "conv2", position=torch.zeros(2, 2, dtype=torch.long), progress=False)
