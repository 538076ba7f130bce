"""Situations of the table, on the command line: several inputs, lists, other layouts, and how pictures are shown."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

import deconvviz as dv
from deconvviz import figures
from deconvviz.images import as_rgb
from deconvviz.results import Projection
from tests.helpers.command_line import run
from tests.helpers.other_inputs import OfLists, OfPairs, OfPictures

FACTORIES = """
import torch
from deconvviz.images import Preprocess
from tests.helpers.other_inputs import ChannelsLast, OfLists, OfPairs, OfPictures

def made(kind, *options):
    torch.manual_seed(0)
    return kind(*options), Preprocess(None, (0.0,) * 3, (1.0,) * 3)

def pictures():
    return made(OfPictures)

def bare():
    return made(OfPictures)[0]

def last():
    return made(ChannelsLast, made(OfPictures)[0])

def lists():
    return made(OfLists)

def pairs():
    return made(OfPairs)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(FACTORIES)
    return tmp_path


def made(kind, *options):
    torch.manual_seed(0)
    return kind(*options)


def photo(name, height=16, width=16):
    """Pixels (3, H, W) from 0 to 1, which are written as a file."""
    numbers = np.random.default_rng(len(name) + ord(name[0])).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(numbers).save(name)
    return torch.from_numpy(numbers).permute(2, 0, 1).float() / 255


def printed(capsys):
    return json.loads(capsys.readouterr().out)


def highest(maps):
    """Of a unit's maps by channel (C, ...) the maxima."""
    return maps.detach().flatten(1).amax(1).tolist()


def activations(capsys):
    return {unit["channel"]: unit["activation"] for unit in printed(capsys)["units"]}


@pytest.fixture
def shown(monkeypatch):
    """The projections that are drawn, and their figures."""
    found = []
    for name in ("figure", "overlay"):
        own = getattr(Projection, name)

        def drawn(self, *given, own=own, **named):
            found.append((self, own(self, *given, **named)))
            return found[-1][1]

        monkeypatch.setattr(Projection, name, drawn)
    return found


def texts(figure):
    return " ".join(text.get_text().replace("\n", " ") for text in figure.findobj(matplotlib.text.Text))


# Several inputs in one call


def test_several_pictures_and_a_number(folder, capsys, shown):
    left, right = photo("left.png"), photo("right.png")
    run("project", "nets.py:pairs", "left.png", "right.png", "0.25", "--together", "--layer", "output", "--json")
    model = made(OfPairs)
    leaves = [left[None].requires_grad_(), right[None].requires_grad_()]
    maps = model(*leaves, torch.tensor([0.25]))[0]
    assert activations(capsys) == pytest.approx(dict(enumerate(highest(maps))), abs=1e-5)
    ((projection, _),) = shown
    maps[2].flatten()[maps[2].argmax()].backward()
    fields = [projection.receptive_fields[2], projection.other_fields["[1]"][2]]
    for field, leaf in zip(fields, leaves, strict=True):
        seen = leaf.grad[0].abs().sum(0).nonzero()
        assert field.tolist() == [[int(axis.min()), int(axis.max()) + 1] for axis in seen.T]
    assert torch.allclose(projection.other_images["[1]"][0], right, atol=1e-6)
    assert Path("left-output.png").exists()


@pytest.mark.parametrize("form", ["npz", "factory"])
def test_a_dataset_of_pairs(folder, capsys, form):
    draw = np.random.default_rng(5)
    left, right = (draw.random((6, 3, 16, 16), np.float32) for _ in range(2))
    ages = draw.random(6, np.float32)
    np.savez("pairs.npz", left=left, right=right, age=ages)
    data = "pairs.npz"
    if form == "factory":
        Path("data.py").write_text(
            "import numpy as np, torch\ndef pairs():\n    held = np.load('pairs.npz')\n"
            "    rows = [torch.from_numpy(held[name]) for name in ('left', 'right', 'age')]\n"
            "    return list(zip(*rows))\n"
        )
        data = "data.py:pairs"
    run("top", "nets.py:pairs", data, "--layer", "both", "--k", 2, "--channel", 2, "--json")
    model = made(OfPairs)
    maps = model(torch.from_numpy(left), torch.from_numpy(right), torch.zeros(6))[:, 2].amax((1, 2))  # the number
    values, numbers = maps.detach().topk(2)  # is added later
    rows = printed(capsys)["table"]
    assert [int(row["image"]) for row in rows] == numbers.tolist()
    assert [row["activation"] for row in rows] == pytest.approx(values.tolist(), abs=1e-5)
    with Image.open("top-both.png") as opened:  # both pictures of each pair, so it is wider than of one
        assert opened.width > 1.5 * opened.height


def test_arrays_of_different_lengths_are_no_pairs(folder, capsys):
    np.savez("pairs.npz", left=np.zeros((6, 3, 16, 16)), right=np.zeros((5, 3, 16, 16)))
    run("scan", "nets.py:pairs", "pairs.npz", status=2)
    assert "'pairs.npz' holds no images: left (6, 3, 16, 16), right (5, 3, 16, 16)" in capsys.readouterr().err


def test_a_list_of_pictures(folder, capsys, shown):
    """As a detector takes it: images of different sizes in one call, each with its gradient."""
    pictures = [photo("street.png", 20, 24), photo("b.png", 16, 18)]
    common = ["--together", "--layer", "inner.second", "--style", "gradient", "--seed", "one", "--json"]
    run("project", "nets.py:lists", "street.png", "b.png", *common)
    leaves = [picture.requires_grad_() for picture in pictures]
    maps = made(OfLists)(leaves)
    assert activations(capsys) == pytest.approx(dict(enumerate(highest(maps.transpose(0, 1)))), abs=1e-5)
    ((projection, _),) = shown
    maps[:, 3].flatten()[maps[:, 3].argmax()].backward()
    arrived = [projection.pixels[3], projection.others["[0][1]"][3]]
    for pixels, leaf in zip(arrived, leaves, strict=True):
        assert torch.allclose(pixels, torch.zeros_like(leaf) if leaf.grad is None else leaf.grad, atol=1e-5)
    run("activations", "nets.py:lists", "street.png", "b.png", "--together", "--layer", "inner.first", "--json")
    assert printed(capsys)["files"] == ["street-inner.first-maps.png"]


def test_inputs_that_do_not_fit(folder, capsys):
    photo("a.png")
    for images, said in (
        (["a.png", "a.png", "0.5"], "the model takes left, right, age; give --together with a file or a number for"),
        (["a.png", "0.5", "--together"], "the model takes left, right, age, and 2 inputs came"),
        (["a.png", "0.5", "none.png", "--together"], "there is no image file 'none.png'"),
    ):
        run("project", "nets.py:pairs", *images, "--layer", "both", status=2)
        assert said in capsys.readouterr().err
    np.save("words.npy", np.array(["a"]))
    run("project", "nets.py:pairs", "a.png", "a.png", "words.npy", "--together", "--layer", "both", status=2)
    assert "'words.npy' holds <U1, not numbers" in capsys.readouterr().err


# Layouts


@pytest.mark.parametrize("given", ["image", "bytes", "numbers"])
def test_pictures_with_the_channels_last(folder, capsys, shown, given):
    """The units, and the figure, of the same network of (N, C, H, W)."""
    x = photo("a.png", 14, 18)
    if given != "image":
        pixels = x.permute(1, 2, 0).numpy()
        np.save("a.npy", pixels if given == "numbers" else (pixels * 255).round().astype(np.uint8))
    name = "a.png" if given == "image" else "a.npy"
    run("project", "nets.py:last", name, "--channels-last", "--layer", "inner.second", "--json")
    maps = made(OfPictures)(x[None])[0]
    assert activations(capsys) == pytest.approx(dict(enumerate(highest(maps))), abs=1e-5)
    ((last, _),) = shown
    first = dv.DeconvNet(made(OfPictures)).project(x[None], "second", channel=[*range(5)])
    assert np.array_equal(*(np.asarray(figures.projection_image(p)) for p in (first, last)))


def test_layers_of_a_network_of_pictures_with_the_channels_last(folder, capsys):
    run("layers", "nets.py:last", "--channels-last", "--size", "14", "18", "--json")
    assert printed(capsys)["table"][-1]["shape"] == [1, 5, 10, 14]
    run("scan", "nets.py:last", "a", "--channels-last", status=2)
    assert "there is no folder 'a'" in capsys.readouterr().err


# How images are shown


@pytest.mark.parametrize("known", [True, False])
def test_tensors_whose_normalisation_is_known_or_not(folder, capsys, shown, known):
    image = np.random.default_rng(2).random((3, 12, 12), np.float32)
    mean, std = np.array([0.4, 0.5, 0.6])[:, None, None], np.array([0.2, 0.3, 0.4])[:, None, None]
    x = ((image - mean) / std).astype(np.float32)
    np.save("x.npy", x)
    numbers = ["--mean", 0.4, 0.5, 0.6, "--std", 0.2, 0.3, 0.4] if known else []
    run("project", "nets.py:bare", "x.npy", "--layer", "second", *numbers, "--json")
    written = capsys.readouterr()
    units = {unit["channel"]: unit["activation"] for unit in json.loads(written.out)["units"]}
    maps = made(OfPictures)(torch.from_numpy(x)[None])[0]
    assert units == pytest.approx(dict(enumerate(highest(maps))), abs=1e-5)
    assert written.err == ""  # of images, that ImageNet's numbers are assumed
    ((projection, figure),) = shown
    assert ("Images are stretched from their lowest number" in texts(figure)) is not known
    assert np.allclose(projection.images[0], image if known else x, atol=1e-5)


@pytest.mark.parametrize("items", ["tensors", "pictures"])
def test_a_dataset_that_code_makes_of_tensors_or_of_pictures(folder, capsys, monkeypatch, items):
    """Of tensors, too, it is not assumed how they were normalised."""
    Path("data.py").write_text(
        "import torch\nfrom PIL import Image\n"
        "def made(item):\n    print('made', flush=True)\n    return [(item, 0)] * 3\n"
        "def tensors():\n    return made(torch.randn(3, 12, 12))\n"
        "def pictures():\n    return made(Image.effect_noise((12, 12), 60).convert('RGB'))\n"
    )
    drawn = []
    monkeypatch.setattr("deconvviz.cli.outputs.write_figure", lambda figure, *rest: drawn.append(figure))
    run("top", "nets.py:bare", f"data.py:{items}", "--layer", "first", "--channel", 0, "--size", 12)
    written = capsys.readouterr()
    assert ("the model brings no preprocessing" in written.err) == (items == "pictures")
    assert ("Images are stretched from their lowest number" in texts(drawn[0][0])) == (items == "tensors")
    assert written.out.count("made") == 1


def blurred(energy, sigma):
    """A Gaussian blur, place by place."""
    height, width = energy.shape
    rows, columns = np.mgrid[:height, :width]
    result = np.empty_like(energy)
    for row in range(height):
        for column in range(width):
            away = np.maximum(abs(rows - row), abs(columns - column)) <= math.ceil(4 * sigma)
            weights = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2)) * away
            result[row, column] = (weights * energy).sum()
    return result


def test_a_heat_map_over_the_image(folder, capsys, shown):
    x = photo("a.png", 14, 18)
    alpha, sigma = 0.7, 1.5
    options = ["--layer", "second", "--channel", 2, "--overlay", alpha, "--sigma", sigma]
    run("project", "nets.py:pictures", *options, "a.png")
    ((projection, figure),) = shown
    energy = blurred((projection.pixels[0].double().numpy() ** 2).sum(0), sigma)
    heat = (energy / energy.max())[..., None]
    colour = matplotlib.colormaps["inferno"](heat[..., 0])[..., :3]
    expected = (1 - alpha * heat) * x.permute(1, 2, 0).numpy() + alpha * heat * colour
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    enlarge = math.ceil(96 / 18)
    picture = sheet[-14 * enlarge :: enlarge, ::enlarge] if len(sheet) == 14 * enlarge else None
    if picture is None:  # below the room for the label, within a gap
        gap = (sheet.shape[1] - 18 * enlarge) // 2
        picture = sheet[-(14 * enlarge + gap) : -gap or None, gap:-gap][::enlarge, ::enlarge]
    assert np.allclose(picture, expected, atol=0.004)
    assert "energy of the projection over the image" in texts(figure)
    assert "a Gaussian of 1.5 pixels" in texts(figure)
    run("project", "nets.py:pictures", "--layer", "second", "--out", "usual.png", "--overlay", "a.png")
    assert "5% of the receptive field's longest side" in texts(shown[1][1])
    run("project", "nets.py:pictures", "a.png", "--layer", "second", "--overlay", "2", "--out", "c.png", status=2)
    assert "alpha is a number from 0 to 1, not 2" in capsys.readouterr().err


def test_heat_over_the_strongest_patches(folder, capsys):
    images = np.random.default_rng(6).random((5, 3, 14, 18), np.float32)
    np.save("x.npy", images)
    run("top", "nets.py:pictures", "x.npy", "--layer", "second", "--channel", 1, "--k", 4, "--overlay", "0.5")
    net = dv.DeconvNet(made(OfPictures))
    data = torch.from_numpy(images)
    found = dv.project_top(net, data, dv.scan(net, data, layers=["second"], k=4, progress=False), channel=[1])
    figure = found.figure(overlay=0.5)
    left, right = (np.asarray(axes.images[0].get_array()) for axes in figure.axes[:2])
    unit = found[0].projection[0]
    enlarge = math.ceil(100 / 5)
    (top, bottom), (first, last) = unit.receptive_fields[0].tolist()
    patch = as_rgb(unit.image(0))[top:bottom, first:last].numpy()
    energy = blurred((unit.pixels[0][:, top:bottom, first:last].double().numpy() ** 2).sum(0), 0.05 * 5)
    heat = (energy / energy.max())[..., None]
    colour = matplotlib.colormaps["inferno"](heat[..., 0])[..., :3]
    places = slice(3 + enlarge // 2, 3 + 5 * enlarge, enlarge)  # of the first tile, beside a line of 3 pixels
    assert np.allclose(right[places, places], patch, atol=1e-5)
    assert np.allclose(left[places, places], (1 - 0.5 * heat) * patch + 0.5 * heat * colour, atol=0.004)
    assert "energy of the projections over the patches, and the patches alone" in texts(figure)
    with Image.open("top-second.png") as opened:
        pixels = np.asarray(opened.convert("RGB")).reshape(-1, 3) / 255
    drawn = left[places, places].reshape(-1, 3)  # the same was drawn by the command
    assert max(np.abs(pixels - colour).max(1).min() for colour in drawn) < 0.01


# What has no equal on the command line: axes of one's own and notebooks


def test_a_file_for_each_image_to_place_in_a_figure_of_ones_own(folder, capsys, shown):
    """Where Python takes axes, the command line writes a file for each result, as drawing or as picture."""
    for name in ("a.png", "bb.png"):
        photo(name)
    run("project", "nets.py:pictures", "a.png", "bb.png", "--layer", "second", "--out", "drawn")
    assert sorted(path.name for path in Path("drawn").iterdir()) == ["a-second.png", "bb-second.png"]
    run("project", "nets.py:pictures", "a.png", "--layer", "second", "--out", "a.svg")
    ((_, figure),) = shown[2:]
    embedded = re.search(r"data:image/png;base64,\s*([^\"]+)", Path("a.svg").read_text())
    with Image.open(io.BytesIO(base64.b64decode(embedded[1]))) as opened:
        colours = {tuple(colour) for colour in np.asarray(opened.convert("RGB")).reshape(-1, 3)}
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    own = {tuple(colour) for colour in (sheet * 255).astype(np.uint8).reshape(-1, 3)}
    assert len(colours & own) > 0.9 * len(own) > 50
    with Image.open("drawn/a-second.png") as first, Image.open("drawn/bb-second.png") as second:
        assert np.asarray(first).tobytes() != np.asarray(second).tobytes()


def test_files_of_many_images_and_no_figure_that_stays(folder, capsys):
    """A command shows nothing on a screen and holds no figure: a notebook shows the files."""

    def held() -> list[int]:
        pyplot = sys.modules.get("matplotlib.pyplot")
        return pyplot.get_fignums() if pyplot else []

    before = held()
    names = [f"{number}.png" for number in range(3)]
    for name in names:
        photo(name)
    run("project", "nets.py:pictures", *names, "--layer", "second", "--out", "drawn", "--json")
    files = [image["files"] for image in printed(capsys)["images"]]
    assert files == [[f"drawn/{number}-second.png"] for number in range(3)]
    for (file,) in files:
        with Image.open(file) as opened:
            assert len(np.unique(np.asarray(opened.convert("RGB")).reshape(-1, 3), axis=0)) > 50
    assert held() == before
