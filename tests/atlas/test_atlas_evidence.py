"""What an atlas says of its own pictures: numbers, pictures from random weights, and the page that shows them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz.data import MnistTest
from deconvviz.evidence.randomisation import randomise, weights_of
from deconvviz.images import signed_as_rgb
from deconvviz.models import mnist_cnn
from tests.helpers.synthetic_atlas import read_script

SHOWN = {"conv2": [0, 5, 20, 47], "fc2": [3]}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    net, data = dv.DeconvNet(mnist_cnn()), torch.utils.data.Subset(MnistTest(), range(200))
    top = dv.scan(net, data, layers=list(SHOWN), k=4, progress=False)
    out = tmp_path_factory.mktemp("atlas") / "site"
    dv.build_atlas(net, data, top, out=out, channel=SHOWN, batch_size=7, progress=False)
    return net, data, top, out


def strongest(built, layer, channel, count):
    """Image (1, C, H, W) and position of a channel's strongest units."""
    _, data, top, _ = built
    places = zip(top.images[layer][channel].tolist(), top.positions[layer][channel].tolist(), strict=True)
    return [(data[number][0][None], tuple(position)) for number, position in list(places)[:count]]


def test_pictures_from_random_weights_are_of_the_same_units(built):
    net, _, _, out = built
    model = copy.deepcopy(net.model)
    randomise(model, [name for name, module in model.named_modules() if weights_of(module)], 0)
    drawn = dv.DeconvNet(model)
    about = read_script(out / "data" / "index.js")
    height, width, factor = about["layers"][0]["tile"]
    for channel in SHOWN["conv2"]:
        block, row = divmod(channel, about["layers"][0]["block"])
        sheet = np.asarray(Image.open(out / "sheets" / f"0-r{block}.webp"))
        boxes = [unit[4] for unit in read_script(out / "data" / f"0-{block}.js")[row]["units"]]
        for rank, (x, position) in enumerate(strongest(built, "conv2", channel, 4)):
            upper, left, lower, right = boxes[rank]
            pixels = drawn.project(x, "conv2", channel=channel, position=position, seed="one").pixels[0]
            expected = signed_as_rgb(pixels[:, upper:lower, left:right])
            y = row * (height + 2) + (height - factor * (lower - upper) if upper == 0 else 0)
            x_ = rank * (width + 2) + (width - factor * (right - left) if left == 0 else 0)
            tile = sheet[y + factor // 2 :: factor, x_ + factor // 2 :: factor, :3][: lower - upper, : right - left]
            assert np.abs(tile / 255 - expected.numpy()).mean() < 0.02
            own = net.project(x, "conv2", channel=channel, position=position).pixels[0][:, upper:lower, left:right]
            assert np.abs(tile / 255 - signed_as_rgb(own).numpy()).mean() > 0.03


def test_the_network_is_left_as_it_was(built):
    assert all(torch.equal(a, b) for a, b in zip(built[0].model.parameters(), mnist_cnn().parameters(), strict=True))


def small(model, tmp_path, x=None, **options):
    """The statistics of the only layer in the atlas of a small network."""
    net, data = dv.DeconvNet(model), torch.rand(5, 1, 9, 9) if x is None else x
    top = dv.scan(net, data, k=2, progress=False)
    dv.build_atlas(net, data, top, out=tmp_path / "a", layers=[list(top.layers)[-1]], progress=False, **options)
    return read_script(tmp_path / "a" / "data" / "0.js")


class ChannelsLast(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, stride=3), nn.Linear(4, 3)

    def forward(self, x):
        return self.second(self.first(x).flatten(2).transpose(1, 2))


def test_layers_without_maps_of_channels_are_not_judged(tmp_path):
    torch.manual_seed(0)
    found = small(ChannelsLast(), tmp_path)
    assert found["verdict"] == ["none"] * 3
    assert (tmp_path / "a" / "sheets" / "0-r0.webp").exists(), "but there are pictures from random weights"


def test_random_weights_that_overflow_give_blank_pictures(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), *(nn.Conv2d(2, 2, 1) for _ in range(2)))
    nn.init.constant_(model[0].weight, 1)
    for one in model[1:]:  # what cancels here does not with random weights
        one.weight.data[:] = 2.0**63 * torch.tensor([[1, -1], [-1, 1]])[..., None, None]
        nn.init.constant_(one.bias, 1)
    nn.init.constant_(model[0].bias, 0)
    small(model, tmp_path, (1000 * torch.rand(5, 1, 9, 9)).round())
    sheet = np.asarray(Image.open(tmp_path / "a" / "sheets" / "0-r0.webp"))
    assert set(sheet[sheet[..., 3] == 255][:, 0].tolist()) == {255}, "white is zero"


def test_without_evidence_nothing_is_left_of_it(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 2, 3))
    assert "verdict" in small(model, tmp_path)
    assert (tmp_path / "a" / "sheets" / "0-r0.webp").exists()
    assert set(small(model, tmp_path, evidence=False)) == {"state", "firing", "mean", "maximum"}
    assert not (tmp_path / "a" / "sheets" / "0-r0.webp").exists()
    assert read_script(tmp_path / "a" / "data" / "index.js")["evidence"] is False
