"""`project_top`: from what a scan found to the pictures of Figure 2 of Zeiler and Fergus."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz.cli import main
from deconvviz.data.by_name import load_data
from deconvviz.errors import InputError, UnknownLayerError
from deconvviz.models import mnist_cnn


def network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3), nn.ReLU())
    with torch.no_grad():
        model[3].weight[2] = 0  # a channel that never fires
        model[3].bias[2] = -1
    return dv.DeconvNet(model)


NET, IMAGES = network(), torch.rand(12, 3, 14, 14, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def top():
    return dv.scan(NET, IMAGES, layers=["1", "4"], k=3, progress=False)


def by_hand(top, layer, channel):
    """What README and tutorial did before: the list of units written out."""
    units = [(n, channel, place) for n, place in enumerate(top.positions[layer][channel].tolist())]
    return NET.project_units(IMAGES[top.images[layer][channel]], layer, units)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_it_is_the_list_of_units_written_out(top, batch_size):
    found = dv.project_top(NET, IMAGES, top, layer="4", channel=[3, 0], batch_size=batch_size, progress=False)
    assert [channel.channel for channel in found] == [3, 0]
    for channel in found:
        expected = by_hand(top, "4", channel.channel)
        torch.testing.assert_close(channel.projection.pixels, expected.pixels, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(channel.projection.images, expected.images)
        assert torch.equal(channel.projection.receptive_fields, expected.receptive_fields)
        for unit, same in zip(channel.projection.units, expected.units, strict=True):
            assert dataclasses.replace(unit, activation=0) == dataclasses.replace(same, activation=0)
            assert unit.activation == pytest.approx(same.activation, rel=1e-5)
        assert channel.images == tuple(top.images["4"][channel.channel].tolist())


def test_channels_that_never_fire_have_no_entry(top):
    assert [channel.channel for channel in dv.project_top(NET, IMAGES, top, layer="4", progress=False)] == [0, 1, 3, 4]
    found = dv.project_top(NET, IMAGES, top, layer="4", channel=2, progress=False)
    assert len(found) == 0
    with pytest.raises(InputError, match="there is no projection to show"):
        found.figure()


def test_the_table_names_images_and_labels(tmp_path):
    for name, kind in (("a", "cat"), ("b", "dog"), ("c", "cat")):
        (tmp_path / kind).mkdir(exist_ok=True)
        pixels = (torch.rand(14, 14, 3) * 255).byte().numpy()
        Image.fromarray(pixels).save(tmp_path / kind / f"{name}.png")
    net = dv.DeconvNet(NET.model, preprocess=dv.images.Preprocess(size=14))
    scanned = dv.scan(net, tmp_path, layers="4", k=2, progress=False)
    found = dv.project_top(net, tmp_path, scanned, channel=0, progress=False)
    rows = found.table()
    assert [row["rank"] for row in rows] == [1, 2]
    assert rows[0]["activation"] > rows[1]["activation"]
    for row in rows:
        kind = {"a.png": "cat", "b.png": "dog", "c.png": "cat"}[row["image"].rpartition("/")[2]]
        assert row["label"] == kind
    assert json.loads(json.dumps(found.as_json()))["table"][0]["channel"] == 0
    assert rows[0]["image"] in str(found)


def test_it_is_saved_and_loaded(top, tmp_path):
    found = dv.project_top(NET, IMAGES, top, layer="1", channel=1, progress=False)
    loaded = dv.results.TopProjections.load(found.save(tmp_path / "top.safetensors"))
    assert torch.equal(loaded[0].projection.pixels, found[0].projection.pixels)
    assert loaded[0].names == found[0].names
    assert len(repr(loaded).splitlines()) == 1


def test_what_does_not_belong_together_is_refused(top):
    other = dv.DeconvNet(nn.Sequential(nn.Conv2d(3, 4, 3)))
    calls = [
        (lambda: dv.project_top(NET, IMAGES, top, progress=False), InputError, "the scan has 2 layers; give one"),
        (lambda: dv.project_top(NET, IMAGES, top, layer="3", progress=False), UnknownLayerError, "no layer '3'"),
        (lambda: dv.project_top(NET, IMAGES[:9], top, layer="1", progress=False), InputError, "12 items"),
        (lambda: dv.project_top(NET, IMAGES.flip(0), top, layer="1", progress=False), InputError, "has changed"),
        (lambda: dv.project_top(other, IMAGES, top, layer="0", progress=False), InputError, "other weights"),
        (lambda: dv.project_top(NET, iter(IMAGES), top, layer="1", progress=False), InputError, "items by number"),
        (lambda: dv.project_top(NET, IMAGES, {}, layer="1", progress=False), InputError, "TopActivations"),
        (lambda: dv.project_top(NET, IMAGES, top, layer="1", channel=9, progress=False), InputError, "channel"),
        (lambda: dv.project_top(NET, IMAGES, top, layer="1", batch_size=0, progress=False), InputError, "batch_size"),
    ]
    for call, error, said in calls:
        with pytest.raises(error, match=said):
            call()


def test_the_figure_has_a_square_of_projections_beside_the_square_of_patches(top):
    found = dv.project_top(NET, IMAGES, top, layer="4", channel=[0, 1], progress=False)
    figure = found.figure()
    squares = [axes for axes in figure.axes if axes.images]
    assert len(squares) == 4
    sizes = {axes.images[0].get_array().shape for axes in squares}
    assert len(sizes) == 1, "all squares are of one size"
    assert [axes.get_title("left").partition(",")[0] for axes in squares[::2]] == ["channel 0", "channel 1"]
    texts = [axes.title.get_fontsize() for axes in figure.axes]
    assert min(texts) >= 9


def test_a_field_over_the_border_is_filled_up_with_grey_in_patch_and_projection():
    """A network whose strongest unit lies in the corner: two of the five rows and columns are outside the image."""
    conv = nn.Conv2d(3, 1, 5, padding=2)
    with torch.no_grad():
        conv.weight.fill_(0)
        conv.weight[:, :, 2, 2] = 1
        conv.bias.fill_(0)
    images = torch.zeros(2, 3, 9, 9)
    images[0, :, 0, 0], images[1, :, 4, 4] = 1.0, 0.5
    net = dv.DeconvNet(nn.Sequential(conv, nn.ReLU()))
    scanned = dv.scan(net, images, layers="1", k=2, progress=False)
    found = dv.project_top(net, images, scanned, channel=0, progress=False)
    drawn = np.asarray(dv.figures.top_image([found[0].projection], enlarge=1)).astype(int)
    tile = drawn[6 + 1 : 6 + 6, 6 + 1 : 6 + 6]  # of the first projection, behind the sheet's and the square's gap
    assert (abs(tile[:2] - 128) <= 1).all()  # above the image
    assert (tile[2, 2] == 255).all()  # the pixel that the unit saw
    patch = drawn[6 + 1 : 6 + 6, 6 + 13 + 1 : 6 + 13 + 6]
    assert (abs(patch[:2] - 128) <= 1).all()
    assert (patch[2, 2] == 255).all()
    assert (patch[3:, 3:] == 0).all()


def test_the_command_draws_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = dv.DeconvNet(mnist_cnn())
    scanned = dv.scan(net, load_data("mnist"), layers="conv1", k=4, progress=False).save("top.safetensors")
    arguments = ["top", "mnist", "mnist", "--layer", "conv1", "--top", str(scanned)]
    assert main([*arguments, "--channel", "3", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "top-conv1.png"
    with Image.open("top-conv1.png") as picture:
        assert picture.width > 700
    assert main([*arguments, "--out", "nine.pdf", "--json"]) == 0
    assert (tmp_path / "nine.pdf").read_bytes()[:5] == b"%PDF-"
    rows = json.loads(capsys.readouterr().out)["table"]
    fire = dv.results.TopActivations.load(scanned).values["conv1"][:, 0] > 0
    assert sorted({row["channel"] for row in rows}) == fire.nonzero().flatten().tolist()[:9]
    assert main(arguments) == 2
    assert "already exists" in capsys.readouterr().err
