"""Each channel of an atlas has one verdict, from its own pictures and their controls."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.atlas.held_out import AskedChannel, HeldOut
from deconvviz.data import MnistTest
from deconvviz.evidence.limits import ALIKE
from deconvviz.intervals import FEWEST
from deconvviz.models import mnist_cnn
from deconvviz.reading.pieces import UnitWindows
from tests.helpers.synthetic_atlas import read_script

SHOWN = {"conv2": [0, 5, 20, 47]}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    net, data = dv.DeconvNet(mnist_cnn()), torch.utils.data.Subset(MnistTest(), range(120))
    top = dv.scan(net, data, layers=list(SHOWN), k=9, progress=False)
    out = tmp_path_factory.mktemp("atlas") / "site"
    dv.build_atlas(net, data, top, out=out, channel=SHOWN, batch_size=7, progress=False)
    return net, data, top, out


def details(out, number, channel):
    block = read_script(out / "data" / "index.js")["layers"][number]["block"]
    return read_script(out / "data" / f"{number}-{channel // block}.js")[channel % block]


def field(pixels, position):
    """A unit's picture (1, 16, 16) in conv2's receptive field, also where that lies over the border."""
    padded = torch.nn.functional.pad(pixels, (16, 16, 16, 16))
    top, left = (2 * place - 7 + 16 for place in position)
    return padded[:, top : top + 16, left : left + 16]


@pytest.mark.parametrize("channel", SHOWN["conv2"])
def test_cosines_are_those_of_single_projections(built, channel):
    net, data, top, out = built
    row = net.layers(data[0][0][None])["conv2"]
    assert (row.receptive_field, row.stride, row.offset) == ((16, 16), (2, 2), (-7, -7))
    own, others, beside = [], [], []
    for number, place in zip(top.images["conv2"][channel], top.positions["conv2"][channel].tolist(), strict=True):
        x = data[int(number)][0][None]
        values = net.trace(x, "conv2").activations["conv2"][0][(slice(None), *place)]
        beside.append(next(one for one in values.argsort(descending=True).tolist() if one != channel))
        for unit, kept in ((channel, own), (beside[-1], others)):
            pixels = net.project(x, "conv2", channel=unit, position=tuple(place), seed="one").pixels[0]
            kept.append(field(pixels, place))
    found = details(out, 0, channel)

    def mean(a, b):
        return torch.cosine_similarity(torch.stack(a).flatten(1), torch.stack(b).flatten(1)).mean().item()

    assert found["beside"] == beside
    assert found["evidence"]["images"] == 9
    assert found["evidence"]["other_unit"] == pytest.approx(mean(own, others), abs=2e-3)
    assert found["evidence"]["other_image"] == pytest.approx(mean(own, [*own[1:], own[0]]), abs=2e-3)
    assert found["evidence"]["floor"] == pytest.approx(mean(own, [*others[1:], others[0]]), abs=2e-3)


def test_what_the_page_reads(built):
    *_, out = built
    about, manifest = read_script(out / "data" / "index.js"), json.loads((out / "manifest.json").read_text("utf-8"))
    assert about["limits"] == manifest["limits"] == {"alike": list(ALIKE.limits), "images": FEWEST, "level": 0.05}
    verdicts = read_script(out / "data" / "0.js")["verdict"]
    assert {channel for channel, one in enumerate(verdicts) if one != "none"} == set(SHOWN["conv2"])
    assert about["layers"][0]["verdicts"] == {
        kind: verdicts.count(kind) for kind in ("specific", "partly", "not", "none")
    }
    assert "channels' projections are specific to them" in about["layers"][0]["said"]
    for ending in ("n", "r"):
        assert (out / "sheets" / f"0-{ending}0.webp").exists()


def test_the_network_for_digits_is_read_and_the_controls_are_not(built):
    *_, out = built
    found = [details(out, 0, channel)["evidence"]["reading"] for channel in SHOWN["conv2"]]
    assert [one["questions"] for one in found] == [20] * 4
    mean = {name: sum(one[name] for one in found) / 4 for name in ("score", "other", "random")}
    assert mean["score"] > max(0.8, mean["other"] + 0.1)


class Bars(nn.Module):
    """Two channels, for upright and for level bars."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 5, bias=False)
        with torch.no_grad():
            self.conv.weight.fill_(-0.25)
            self.conv.weight[0, 0, :, 2] = 1
            self.conv.weight[1, 0, 2, :] = 1

    def forward(self, x):
        return self.conv(x)


def bars(count=80):
    x = 0.05 * torch.rand(count, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    for n in range(count):
        x[(n, 0, slice(None), n % 9 + 1) if n % 2 else (n, 0, n % 9 + 1)] = 1
    return x


def test_questions_are_about_images_that_the_pictures_do_not_show():
    net, data = dv.DeconvNet(Bars()), bars()
    top = dv.scan(net, data, k=9, progress=False)
    held = HeldOut(net, data, top, ["conv"], batch_size=16)
    listed, seen = set(top.images["conv"][0].tolist()), []
    load = held.picture
    held.picture = lambda number: (seen.append(held.numbers[number]), load(number))[1]
    upright = torch.zeros(9, 1, 5, 5)
    upright[..., 2] = 1
    pictures = {"own": upright, "other": upright.mT}
    windows = UnitWindows((5, 5), (1, 1), (0, 0))
    answers = held.ask(AskedChannel("conv", 0, listed), windows, (8, 8), pictures)
    assert answers.questions == (80 - 9) // 5
    assert answers.right["template"]["own"] == answers.questions
    assert answers.right["template"]["other"] < answers.questions
    assert seen
    assert not listed & set(seen)
    assert held.ask(AskedChannel("conv", 0, set(range(45))), windows, (8, 8), pictures) is None, "35 images are few"


def small(model, tmp_path, x, **options):
    net = dv.DeconvNet(model)
    top = dv.scan(net, x, k=9, progress=False)
    dv.build_atlas(net, x, top, out=tmp_path / "a", layers=[list(top.layers)[-1]], progress=False, **options)
    return read_script(tmp_path / "a" / "data" / "0.js"), read_script(tmp_path / "a" / "data" / "index.js")["layers"][0]


def test_duplicates_are_no_neighbours(tmp_path):
    model = Bars()
    model.conv.weight.data = model.conv.weight.data[[0, 0, 1]].contiguous()
    model.conv.out_channels = 3
    small(model, tmp_path, bars(24))
    for channel in (0, 1):
        assert set(details(tmp_path / "a", 0, channel)["beside"]) == {2}
    alone = Bars()
    alone.conv.weight.data = 2 * alone.conv.weight.data[[0, 0]]
    found, about = small(alone, tmp_path, bars(24))
    assert found["verdict"] == ["none", "none"]
    assert about["said"] == "No channel's projections could be judged: look at the patches."


def test_few_images_get_no_verdict_and_dead_channels_no_picture(tmp_path):
    model = Bars()
    found, _ = small(model, tmp_path, bars(7))
    assert found["verdict"] == ["none", "none"]
    model.conv.weight.data[0] = -1
    found, about = small(nn.Sequential(model, nn.ReLU()), tmp_path, bars(9))
    assert found["verdict"][0] == "none"
    assert about["empty"] == [0]
