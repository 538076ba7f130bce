"""What goes into an atlas: the right units with the right pictures, and which channels feed which."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.atlas.build import _histogram_bars
from deconvviz.atlas.channel_inputs import ChannelInputs
from deconvviz.data import MnistTest
from deconvviz.errors import InputError, UnknownLayerError
from deconvviz.images import Preprocess, as_rgb, signed_as_rgb
from deconvviz.models import mnist_cnn
from tests.helpers.synthetic_atlas import read_script


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    net, data = dv.DeconvNet(mnist_cnn()), torch.utils.data.Subset(MnistTest(), range(300))
    top = dv.scan(net, data, layers=["conv1", "conv2", "fc2"], k=4, progress=False)
    out = tmp_path_factory.mktemp("atlas") / "site"
    page = dv.build_atlas(net, data, top, out=out, batch_size=7, progress=False)
    assert page == out / "index.html"
    return net, data, top, out


def test_every_unit_has_its_own_patch_and_projection(built):
    net, data, top, out = built
    layer = read_script(out / "data" / "index.js")["layers"][1]
    assert (layer["name"], layer["channels"], layer["field"]) == ("conv2", 48, [16, 16])
    height, width, factor = layer["tile"]
    for channel in (0, 20, 47):
        block, row = divmod(channel, layer["block"])
        units = read_script(out / "data" / f"1-{block}.js")[row]["units"]
        sheet = np.asarray(Image.open(out / "sheets" / f"1-{block}.webp"))
        assert [unit[1] for unit in units] == top.images["conv2"][channel].tolist()
        for rank, (value, number, name, label, box, position) in enumerate(units):
            image, target = data[number]
            projection = net.project(image[None], "conv2", channel=channel, position=position)
            assert value == pytest.approx(projection.units[0].activation, rel=1e-4)
            assert (name, label, position) == (str(number), str(int(target)), list(projection.units[0].position))
            (upper, lower), (left, right) = projection.receptive_fields[0].tolist()
            assert box == [upper, left, lower, right]
            shown = (as_rgb(image), signed_as_rgb(projection.pixels[0]))
            expected = [
                signed_as_rgb(projection.pixels[0][:, upper:lower, left:right]),
                shown[0][upper:lower, left:right],
            ]
            for part, picture in ((1, expected[0]), (0, expected[1])):
                # The last row and column of the tile lie in the image, or were cut: look from the side that is there.
                y = (2 * row + part) * (height + 2) + (height - factor * (lower - upper) if upper == 0 else 0)
                x = rank * (width + 2) + (width - factor * (right - left) if left == 0 else 0)
                tile = sheet[y + factor // 2 :: factor, x + factor // 2 :: factor, :3][: lower - upper, : right - left]
                assert np.abs(tile / 255 - picture.numpy()).mean() < (0.02 if factor < 7 else 0.003)


def shares_of_conv1(model, data, top, channel):
    """What each channel of conv1 adds to the three strongest units of a channel of conv2, over their activations."""
    shares = []
    for rank in range(3):
        row, column = top.positions["conv2"][channel, rank].tolist()
        with torch.no_grad():
            read = F.pad(
                F.max_pool2d(F.relu(model.conv1(data[int(top.images["conv2"][channel, rank])][0][None])), 2), [2] * 4
            )
        window = read[0, :, row : row + 5, column : column + 5]
        added = (window * model.conv2.weight[channel].detach()).sum((1, 2))
        shares.append(added / top.values["conv2"][channel, rank])
    return torch.stack(shares).mean(0)


def test_statistics_and_links_of_a_channel(built):
    net, data, top, out = built
    found = read_script(out / "data" / "1.js")
    assert np.allclose(found["maximum"], top.statistics["conv2"].maximum, rtol=1e-3)
    assert np.allclose(found["firing"], top.statistics["conv2"].fires, atol=1e-4)
    details = read_script(out / "data" / "1-0.js")[3]
    shares = shares_of_conv1(net.model, data, top, 3)
    order = shares.abs().argsort(descending=True)[:8].tolist()
    assert [one[1] for one in details["inputs"]] == order
    assert {one[0] for one in details["inputs"]} == {"conv1"}
    assert [one[2] for one in details["inputs"]] == pytest.approx(shares[order].tolist(), rel=2e-3)
    assert sum(count for _, _, count in details["histogram"]) == 300
    assert read_script(out / "data" / "0-0.js")[0]["inputs"] == []  # the image itself


def test_only_some_layers_and_channels(built, tmp_path):
    net, data, top, _ = built
    out = tmp_path / "site"
    dv.build_atlas(net, data, top, out=out, layers=["conv2"], channel={"conv2": [5]}, progress=False)
    layer = read_script(out / "data" / "index.js")["layers"][0]
    assert layer["empty"] == [channel for channel in range(48) if channel != 5]


def test_what_does_not_fit_is_refused(built, tmp_path):
    net, data, top, _ = built
    other = mnist_cnn()
    nn.init.zeros_(other.fc2.weight)
    with pytest.raises(InputError, match="the scan is of a MnistCNN with other weights than this MnistCNN"):
        dv.build_atlas(dv.DeconvNet(other), data, top, out=tmp_path / "a", progress=False)
    with pytest.raises(InputError, match="the scan is of 300 items, and the dataset has 10000"):
        dv.build_atlas(net, MnistTest(), top, out=tmp_path / "a", progress=False)
    with pytest.raises(UnknownLayerError, match="the scan has no layer 'conv3'; did you mean 'conv"):
        dv.build_atlas(net, data, top, out=tmp_path / "a", layers=["conv3"], progress=False)
    with pytest.raises(InputError, match="'conv1' has channels 0 to 23, not 24"):
        dv.build_atlas(net, data, top, out=tmp_path / "a", channel={"conv1": [24]}, progress=False)
    with pytest.raises(InputError, match="from a dataset with a length"):
        dv.build_atlas(net, iter(data), top, out=tmp_path / "a", progress=False)


def test_sounds_have_no_atlas(tmp_path):
    net, data = dv.DeconvNet(nn.Sequential(nn.Conv1d(1, 2, 3))), torch.randn(4, 1, 9)
    with pytest.raises(InputError, match=r"an atlas shows images \(C, H, W\)"):
        dv.build_atlas(net, data, dv.scan(net, data, progress=False), out=tmp_path / "a", progress=False)


def test_channels_that_never_fire_have_no_pictures(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
    nn.init.constant_(model[0].bias, -100.0)
    net, data = dv.DeconvNet(model), torch.rand(5, 3, 12, 12)
    model[0].bias.data[1] = 1
    dv.build_atlas(net, data, dv.scan(net, data, progress=False), out=tmp_path / "a", progress=False)
    layer = read_script(tmp_path / "a" / "data" / "index.js")["layers"][0]
    assert (layer["dead"], layer["always"], layer["empty"]) == (1, 1, [0])


def test_bars_cover_what_was_counted():
    net, data = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 1, 1))), (torch.randn(400, 1, 1, 1) * 20).exp()
    found = dv.scan(net, data, progress=False).statistics["0"]
    bars = _histogram_bars(found, 0)
    assert sum(count for *_, count in bars) == 400
    assert len(bars) <= 48
    assert all(low < high for low, high, _ in bars)
    assert all(one[1] == other[0] for one, other in itertools.pairwise(bars))
    assert all(np.isfinite([low, high]).all() for low, high, _ in bars)


# Which channels feed which


class Branches(nn.Module):
    """Two branches concatenated, pooled, summed with a skip, and flattened into a linear layer."""

    def __init__(self):
        super().__init__()
        self.first, self.left, self.right = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 2, 1), nn.Conv2d(4, 3, 1)
        self.after, self.norm = nn.Conv2d(5, 4, 3, padding=1, groups=1), nn.BatchNorm2d(4)
        self.grouped, self.up = nn.Conv2d(4, 4, 3, groups=2), nn.ConvTranspose2d(4, 6, 2)
        self.last = nn.Linear(6 * 25, 3)

    def forward(self, x):
        x = F.relu(self.first(x))
        both = F.max_pool2d(torch.cat([self.left(x), self.right(x).relu()], 1), 2)
        x = F.avg_pool2d(x, 2) + self.norm(self.after(both))
        x = self.up(self.grouped(x).relu_())
        return self.last(x.flatten(1))


def test_inputs_are_followed_through_rectifiers_pools_sums_and_concatenations():
    torch.manual_seed(0)
    model, x = Branches().eval(), torch.randn(4, 1, 12, 12)
    layers = ["first", "left", "right", "after", "grouped", "up", "last"]
    trace = dv.DeconvNet(model).trace(x)

    def found(layer, channel, names=layers):
        maps = trace.activations[layer][:, channel].reshape(4, -1)
        places = [
            (n, channel, np.unravel_index(int(maps[n].argmax()), trace.activations[layer].shape[2:])) for n in (1, 3)
        ]
        inputs = ChannelInputs(dv.DeconvNet(model), layer, names)
        inputs.add(x, trace, places)
        shares = inputs.of_channel(channel)
        assert [abs(one[2]) for one in shares] == sorted((abs(one[2]) for one in shares), reverse=True)
        return shares, [float(maps[n].max()) for n in (1, 3)]

    assert found("first", 0)[0] == ()
    for channel in range(4):
        shares, values = found("after", channel)
        assert {one[0] for one in shares} == {"left", "right"}
        bias = float(model.after.bias[channel].detach())
        assert sum(one[2] for one in shares) == pytest.approx(1 - sum(bias / value for value in values) / 2, rel=1e-3)
    below = [{one[:2] for one in found("grouped", channel)[0]} for channel in (0, 3)]
    assert below[0] <= {(name, index) for name in ("first", "after") for index in (0, 1)}  # of a sum of two layers,
    assert below[1] <= {(name, index) for name in ("first", "after") for index in (2, 3)}  # half for each group
    assert {one[0] for one in found("up", 5)[0]} == {"grouped"}
    assert {one[0] for one in found("last", 2)[0]} == {"up"}
    assert {one[0] for one in found("after", 0, ["first", "after"])[0]} == {"first"}  # through layers not in the atlas


# The command line


def test_scan_then_atlas_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digits = MnistTest()
    for number in range(12):
        (tmp_path / "photos" / f"kind {number % 2}").mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((digits[number][0][0] * 255).byte().numpy())
        picture.save(tmp_path / "photos" / f"kind {number % 2}" / f"{number}.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"x")
    asked = ["mnist", "photos", "--layers", "conv2", "--k", "3"]
    assert cli.main(["scan", *asked, "--state", "state"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-2:] == ["12 images of photos, 1 could not be read", "top.safetensors"]
    assert "left out: broken.png" in said.err
    assert (tmp_path / "state" / "rank-0.safetensors").exists()
    assert cli.main(["atlas", *asked, "--top", "top.safetensors", "--out", "site"]) == 0
    assert capsys.readouterr().out == "site/index.html\n"
    units = read_script(tmp_path / "site" / "data" / "0-0.js")[0]["units"]
    assert units[0][2].startswith("kind ")
    assert units[0][3] == units[0][2].split("/")[0]
    assert cli.main(["atlas", *asked, "--out", "again", "--batch-size", "5"]) == 0
    other = ["--out", "other.safetensors"]
    for bad, sentence in (
        (["scan", "mnist", "nowhere", *other], "there is no folder 'nowhere' of images"),
        (
            ["scan", "mnist", "torchvision:MNIST", *other],
            "torchvision:MNIST needs the folder that holds it: --root DIR",
        ),
        (["scan", "mnist", "torchvision:MNISD", "--root", ".", *other], "did you mean 'MNIST'"),
        (["scan", "mnist", "torchvision:MNIST", "--root", ".", *other], "cannot be read from '.'"),
        (["scan", *asked, "--on-error", "raise", *other], "item broken.png cannot be read"),
        (["scan", *asked, "--k", "4", "--state", "state", *other], "belongs to another scan: its k was 3 and is now 4"),
        (["atlas", *asked, "--out", "top.safetensors"], "top.safetensors"),
    ):
        capsys.readouterr()
        assert cli.main(bad) == 2
        told = capsys.readouterr().err
        assert sentence in told
        assert "Traceback" not in told


def test_colour_photographs(tmp_path):
    torch.manual_seed(0)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        Image.fromarray((torch.rand(40, 60, 3) * 255).byte().numpy()).save(photos / f"{number}.png")
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(3, 4, 5, stride=2)), preprocess=Preprocess(32))
    top = dv.scan(net, photos, k=2, progress=False)
    page = dv.build_atlas(net, photos, top, out=tmp_path / "site", progress=False)
    index = read_script(tmp_path / "site" / "data" / "index.js")
    assert index["input"] == [3, 32, 32]
    assert page.name == "index.html"


class Frozen(nn.Module):
    """A head on features that are detached, and a layer that reaches its own by another way."""

    def __init__(self):
        super().__init__()
        self.body, self.head, self.beside = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)

    def forward(self, x):
        features = torch.relu(self.body(x))
        return self.head(features.detach()), self.beside(features + (features.round() - features).detach())


def test_detaches_that_are_passed_are_listed_with_their_layer(tmp_path):
    torch.manual_seed(0)
    net, data = dv.DeconvNet(Frozen()), torch.rand(4, 1, 8, 8)
    top = dv.scan(net, data, layers=["body", "head", "beside"], k=1, progress=False)
    dv.build_atlas(net, data, top, out=tmp_path / "at", progress=False, evidence=False)
    shown = {layer["name"]: layer["detached"] for layer in read_script(tmp_path / "at/data/index.js")["layers"]}
    assert shown == {"body": [], "head": ["aten.detach in detach"], "beside": []}
    for name, detached in shown.items():
        assert list(net.project(data[:1], name, channel=0).provenance.detached) == detached
