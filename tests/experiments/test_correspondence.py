"""Correspondence: exact values where they are known, a transcription in float64, and files that mark parts."""

from __future__ import annotations

import json
import math
import re

import pytest
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz.data import mnist_test, read_parts
from deconvviz.errors import DataError, InputError, MissingFileError, UnknownLayerError
from deconvviz.experiments import correspondence
from deconvviz.images import Preprocess
from deconvviz.models import mnist_cnn
from deconvviz.results import Correspondence
from tests.helpers.command_line import run

SIDE = 12


def network():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 4, 3, stride=2), nn.Flatten(), nn.Linear(64, 9)
    ).double()


def noise(count=4):
    return torch.randn(count, 2, SIDE, SIDE, dtype=torch.float64)


PARTS = {
    "eye": [(1, 2, 5, 6), (2, 2, 6, 6), (0, 3, 4, 7), (1, 1, 5, 5)],
    "nose": [(6, 4, 9, 10), (6, 5, 9, 11), (5, 4, 8, 10), (7, 4, 10, 10)],
}


def test_the_same_part_of_the_same_image_differs_by_nothing():
    x = noise(1).expand(3, -1, -1, -1).clone()
    found = correspondence(dv.DeconvNet(network()), x, {"eye": [(3, 3, 8, 8)] * 3}, progress=False)
    assert found.layers == ("0", "2", "4")
    assert not found.differences["eye"].any()
    assert found.changed["eye"][-1] == 1
    assert found.average(found.control, "eye")[-1].min() > 0
    assert [row["p, random"] for row in found.table()] == [1 / 21] * 3
    assert not found.aligned["eye"].any()  # the same place of the same image, too: what is alike need not be the part
    assert [row["p, same"] for row in found.table()] == [1, 1, 1]
    assert "but no more than one fixed place does (Delta 0.000; random" in found.verdict


class Bars(nn.Module):
    """Every value hears a little of all pixels, and a lot of whether there is a full column of ones somewhere."""

    def __init__(self):
        super().__init__()
        self.pixels, self.bars = nn.Linear(SIDE * SIDE, 400).double(), nn.Parameter(torch.randn(400).double() * 1000)

    def forward(self, x):
        return self.pixels(x.flatten(1)) + self.bars * x.sum(2).amax(2)


def test_a_part_that_moves_is_related_beyond_places_that_do_not():
    x = torch.randn(2, 1, SIDE, SIDE, dtype=torch.float64) / 3
    x[0, 0, :, 1:3], x[1, 0, :, 9:11] = 1, 1
    parts = {"bar": [(0, 1, SIDE, 3), (0, 9, SIDE, 11)], "other": [(0, 5, SIDE, 7), (0, 1, SIDE, 3)]}
    found = correspondence(dv.DeconvNet(Bars()), x, parts, layers="output", random_state=1, fill=0, progress=False)
    assert found.delta("bar").tolist() == [0]
    assert float(found.delta("other")) == pytest.approx(0.5, abs=0.1)
    for control in (found.control, found.aligned):
        assert float(found.average(control, "bar").mean()) == pytest.approx(0.5, abs=0.1)
    assert "covering bar changes the images more consistently than both controls do, so" in found.verdict
    assert "covering other changes the images no more consistently than random places do" in found.verdict


def test_signs_of_independent_noise_differ_in_half_of_the_values():
    """The linear layer sees each image through rows of its own: eps is independent normal noise."""
    count, dimension = 6, 4096
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * SIDE * SIDE, dimension, bias=False)).double()
    nn.init.normal_(model[1].weight)
    x = torch.zeros(count, 2, SIDE, SIDE, dtype=torch.float64)
    places = [(row, column, row + 4, column + 4) for row in (0, 4) for column in (0, 4, 8)]
    for n, (top, left, bottom, right) in enumerate(places):
        x[n, :, top:bottom, left:right] = torch.randn(2, 4, 4)
    found = correspondence(dv.DeconvNet(model), x, {"own": places}, layers="1", fill=0, draws=1, progress=False)
    assert found.differences["own"].shape == (1, 15)
    # The weights under different boxes are independent, so signs are, too: a pair's share is binomial.
    error = math.sqrt(0.25 / dimension)
    assert (found.differences["own"] - 0.5).abs().max() < 4 * error
    assert float(found.delta("own")) == pytest.approx(0.5, abs=4 * error / math.sqrt(15))


def test_a_sign_of_zero_is_a_sign_of_its_own():
    """Ones are covered with zeros: a value either falls or does not change, as its box says."""
    model = nn.Sequential(nn.Conv2d(2, 1, 1, bias=False)).double()
    nn.init.ones_(model[0].weight)
    x = torch.ones(3, 2, 4, 4, dtype=torch.float64)
    x[2] = -1
    parts = {"part": [(0, 0, 2, 2), (0, 1, 2, 3), (0, 0, 2, 2)]}
    found = correspondence(dv.DeconvNet(model), x, parts, fill=0, progress=False)
    # 0 and 1 share two pixels and have two each alone; 0 and 2 differ in sign on all four; 1 and 2 on all six.
    assert found.differences["part"].tolist() == [[4 / 16, 4 / 16, 6 / 16]]
    assert found.changed["part"].tolist() == [4 / 16]
    row = found.table()[0]
    assert row["Delta"] == pytest.approx(14 / 48)
    assert row["std"] == pytest.approx(torch.tensor([4.0, 4, 6]).std() / 16)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_as_the_paper_writes_it(batch_size):
    """Delta_l = mean over i != j of H(sign(eps_i), sign(eps_j)) / dimension, one forward pass at a time."""
    model, x = network(), noise()
    asked = {"draws": 3, "random_state": 5, "fill": "mean", "batch_size": batch_size, "progress": False}
    found = correspondence(dv.DeconvNet(model), x, PARTS, layers=["0", "1", "4"], **asked)
    sets = {(part, None): boxes for part, boxes in found.boxes.items()}
    sets |= {(part, draw): boxes[draw] for part, boxes in found.controls.items() for draw in range(3)}
    model.eval()
    for (part, draw), boxes in sets.items():
        signs = {"0": [], "1": [], "4": []}
        for n, ((top, bottom), (left, right)) in enumerate(boxes.tolist()):
            covered = x[n : n + 1].clone()
            covered[0, :, top:bottom, left:right] = x[n].mean((1, 2))[:, None, None]
            with torch.no_grad():
                for name, end in (("0", 1), ("1", 2), ("4", 5)):
                    f, f_covered = (model[:end](one.clone()).clone() for one in (x[n : n + 1], covered))
                    signs[name].append((f - f_covered).sign().flatten())
        for place, name in enumerate(found.layers):
            total = 0.0
            for i in range(4):
                for j in range(4):
                    if i != j:
                        total += float((signs[name][i] != signs[name][j]).sum()) / len(signs[name][i])
            delta = found.delta(part)[place] if draw is None else found.average(found.control, part)[place, draw]
            assert float(delta) == pytest.approx(total / 12, rel=1e-12)


def test_random_places_are_of_the_parts_size_and_from_the_seed():
    net, x = dv.DeconvNet(network()), noise()
    found = correspondence(net, x, PARTS, layers="4", draws=9, progress=False)
    for part, boxes in found.boxes.items():
        drawn = found.controls[part]
        assert torch.equal(drawn.diff(dim=-1), boxes.diff(dim=-1)[None].expand(9, -1, -1, -1))
        assert drawn.min() == 0  # over the whole image, from border to border
        assert drawn.max() == SIDE
    again = correspondence(net, x, PARTS, layers="4", draws=9, progress=False)
    other = correspondence(net, x, PARTS, layers="4", draws=9, random_state=1, progress=False)
    assert torch.equal(again.controls["eye"], found.controls["eye"])
    assert not torch.equal(other.controls["eye"], found.controls["eye"])
    inside = correspondence(net, x, PARTS, layers="4", within=[(2, 1, 9, 12)] * 4, draws=9, progress=False).controls[
        "eye"
    ]
    assert (inside[:, :, 0].min(), inside[:, :, 0].max(), inside[:, :, 1].min(), inside[:, :, 1].max()) == (2, 9, 1, 12)


def test_points_become_boxes_inside_the_image():
    net, x = dv.DeconvNet(network()), noise(2)
    found = correspondence(net, x, {"eye": [(5, 6), (0, 11)]}, layers="4", size=(4, 5), draws=1, progress=False)
    assert found.boxes["eye"].tolist() == [[[3, 7], [4, 9]], [[0, 4], [7, 12]]]


def test_the_model_is_left_as_it_was():
    model, x = network(), noise()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state, pixels = torch.get_rng_state(), x.clone()
    correspondence(dv.DeconvNet(model), x, PARTS, draws=1, progress=False)
    assert torch.equal(x, pixels)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_saved_loaded_and_drawn(tmp_path):
    found = correspondence(dv.DeconvNet(network()), noise(), PARTS, draws=4, progress=False)
    again = Correspondence.load(found.save(tmp_path / "correspondence"))
    assert str(again) == str(found)
    figure = found.figure()
    assert len(figure.axes) == 4 + 2
    panel = figure.axes[4]
    drawn = [container.lines[0].get_ydata().tolist() for container in panel.containers]
    controls = [found.average(control, "eye").mean(1).tolist() for control in (found.control, found.aligned)]
    assert drawn == [*controls, found.delta("eye").tolist()]
    assert [text.get_text() for text in panel.get_legend().get_texts()] == [
        "random places",
        "the same place in all",
        "eye",
    ]
    assert [text.get_text() for text in panel.get_xticklabels()] == ["0", "2", "4"]
    frames = [(patch.get_xy(), patch.get_width(), patch.get_height()) for patch in figure.axes[1].patches]
    assert frames == [((1.5, 1.5), 4, 4), ((4.5, 5.5), 6, 3)]
    pair = correspondence(
        dv.DeconvNet(network()), noise(2), {"eye": PARTS["eye"][:2]}, layers="4", draws=1, progress=False
    )
    assert math.isnan(pair.table()[0]["std"])
    pair.figure().savefig(tmp_path / "pair.png")


# Errors

EYES = {"eye": PARTS["eye"]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": {}}, "there is no part to cover"),
        ({"parts": {"eye": PARTS["eye"][:3]}}, "part 'eye' has 3 places for 4 images; give one for each"),
        (
            {"parts": {"eye": [*PARTS["eye"][:3], (1, 1, 5, 13)]}},
            r"part 'eye' of image 3: the box .* = \(1, 1, 5, 13\) is empty or lies outside the image of 12 x 12 pixels",
        ),
        ({"parts": {"eye": [(5, 5, 5, 6)] * 4}}, "part 'eye' of image 0: the box .* is empty or lies outside"),
        ({"parts": {"eye": [(1, 12)] * 4}}, r"the point \(1, 12\) lies outside the image of 12 x 12 pixels"),
        ({"parts": {"eye": [(1, 1)] * 4}}, "part 'eye' of image 0 is a point; give the size"),
        ({"parts": {"eye": [(1, 1)] * 4}, "size": 13}, "a box of 13 x 13 pixels is larger than the images of 12 x 12"),
        ({"parts": {"eye": [(1, 1)] * 4}, "size": 0}, "the size is one integer of 1 or more"),
        ({"parts": {"eye": [(1, 1, 2)] * 4}}, "a place is a box .* or a point"),
        ({"within": [(0, 0, 3, 3)] * 4}, r"part 'eye' of image 0, 4 x 4 pixels, has no room within \(0, 0, 3, 3\)"),
        ({"draws": 0}, "draws must be a whole number of at least 1, not 0"),
        ({"fill": "pink"}, "a fill is one of 'black', 'grey', 'white', 'mean', 'blur' or a finite number, not 'pink'"),
        ({"layers": []}, "there is no layer to look at"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, not 0"),
    ],
)
def test_mistakes_are_one_sentence(options, message):
    with pytest.raises(InputError, match=message):
        correspondence(dv.DeconvNet(network()), noise(), **{"parts": EYES, **options}, progress=False)


def test_images_and_layers_that_do_not_fit():
    with pytest.raises(InputError, match="compares two images or more, not 1"):
        correspondence(dv.DeconvNet(network()), noise(1), {"eye": PARTS["eye"][:1]}, progress=False)
    with pytest.raises(UnknownLayerError, match="there is no layer 'conv9'"):
        correspondence(dv.DeconvNet(network()), noise(), EYES, layers="conv9", progress=False)


# Files


def test_parts_from_files(tmp_path):
    boxes, points, both = tmp_path / "boxes.csv", tmp_path / "points.csv", tmp_path / "both.json"
    boxes.write_text("part,image,top,left,bottom,right\neye,a.png,1,2,3,4\neye,b.png,5,6,7,8\n")
    points.write_text("image,part,row,column\nb.png,eye,7,8\na.png,eye,5,6\na.png,nose,1,1\nb.png,nose,2,2\n")
    both.write_text(json.dumps({"eye": {"b.png": [5, 6], "x/a.png": [1, 2, 3, 4]}}))
    images = ["x/a.png", "b.png"]
    assert read_parts(boxes, images) == {"eye": [(1, 2, 3, 4), (5, 6, 7, 8)]}
    assert read_parts(points, images) == {"eye": [(5, 6), (7, 8)], "nose": [(1, 1), (2, 2)]}
    assert read_parts(both, images) == {"eye": [(1, 2, 3, 4), (5, 6)]}


def test_places_in_files_move_with_the_preprocessing(tmp_path):
    """A single bright pixel, or block, of the file is found where the place says."""
    preprocess = Preprocess(10, (0.0,), (1.0,))
    wide, marked = Image.new("L", (80, 40)), tmp_path / "marked.json"
    wide.paste(255, (44, 8, 56, 24))
    wide.save(tmp_path / "wide.png")
    (tmp_path / "tall.png").touch()
    tall = Image.new("L", (20, 60))
    tall.paste(255, (6, 28, 8, 30))
    tall.save(tmp_path / "tall.png")
    marked.write_text(json.dumps({"part": {"wide.png": [8, 44, 24, 56], "tall.png": [29, 7]}}))
    images = [tmp_path / "wide.png", tmp_path / "tall.png"]
    box, point = read_parts(marked, images, preprocess=preprocess)["part"]
    assert box == (2, 6, 6, 9)
    bright = preprocess(wide)[0]
    assert bright[2:6, 6:9].min() > 0.5
    assert bright.sum() == pytest.approx(float(bright[1:7, 5:10].sum()))
    assert point == tuple(torch.unravel_index(preprocess(tall)[0].argmax(), (10, 10)))
    marked.write_text(json.dumps({"part": {"wide.png": [8, 4, 24, 56], "tall.png": [29, 7]}}))
    with pytest.raises(DataError, match="centre square of 40 pixels, which is all that the network gets of 40 x 80"):
        read_parts(marked, images, preprocess=preprocess)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "image,part,x,y\n", "has the columns image, part, x, y; they must be image, part, and either top"),
        ("a.csv", "", "has the columns of an empty file"),
        ("a.csv", "image,part,row,column\n", "marks no parts"),
        ("a.csv", "image,part,row,column\na.png,eye,1,2\n", "does not mark the part 'eye' of 'b.png'"),
        ("a.csv", "image,part,row,column\na.png,eye,1,2\na.png,eye,1,2\n", "marks the part 'eye' of 'a.png' twice"),
        ("a.csv", "image,part,row,column\na.png,eye,1,two\n", r"line 2 of .* whole numbers, .* not \['1', 'two'\]"),
        ("a.csv", "image,part,row,column\na.png,eye,1\n", r"line 2 of .* not \['1', None\]"),
        ("a.csv", b"\xff\xfe\x00", "is not a CSV file"),
        ("a.json", "{", "is not a JSON file"),
        ("a.json", "[1]", "must hold"),
        ("a.json", '{"eye": {"a.png": [1, 2, 3]}}', r"part 'eye' of 'a.png' in .* not \[1, 2, 3\]"),
        ("a.json", '{"eye": {"a.png": [1, 2.5]}}', r"not \[1, 2.5\]"),
    ],
)
def test_files_that_mark_nothing_that_can_be_used(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        read_parts(tmp_path / name, ["a.png", "b.png"])
    with pytest.raises(MissingFileError, match=r"there is no file 'nowhere.csv' to read parts from"):
        read_parts("nowhere.csv", ["a.png"])


# The command


def test_the_command_writes_the_figure_and_the_result(tmp_path, capsys):
    marked = tmp_path / "marked.csv"
    lines = [f"mnist:{n},{place}" for n in (0, 17, 26) for place in ("top,8,14", "foot,22,12")]
    marked.write_text("\n".join(["image,part,row,column", *lines]))
    asked = [
        "correspond",
        "mnist",
        "mnist:0",
        "mnist:17",
        "mnist:26",
        "--parts",
        marked,
        "--part-size",
        7,
        "--draws",
        3,
    ]
    run(*asked, "--layers", "relu2", "fc2", "--out", tmp_path / "out")
    printed = capsys.readouterr().out.splitlines()
    found = Correspondence.load(tmp_path / "out" / "correspond.safetensors")
    parts = {"top": [(8, 14)] * 3, "foot": [(22, 12)] * 3}
    net, x = dv.DeconvNet(mnist_cnn()), mnist_test()[0][[0, 17, 26]]
    expected = correspondence(net, x, parts, layers=["relu2", "fc2"], size=7, draws=3, progress=False)
    assert str(found) == str(expected)
    assert printed[:-2] == str(found).splitlines()
    assert (tmp_path / "out" / "correspond.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("lines", "arguments", "sentence"),
    [
        (
            "mnist:0,eye,3,4\nmnist:1,eye,3,28",
            ["--part-size", 5],
            "part 'eye' of image 1: the point (3, 28) lies outside",
        ),
        ("mnist:0,eye,3,4\nmnist:1,eye,3,2", [], "part 'eye' of image 0 is a point; give the size"),
        ("mnist:0,eye,3,4", [], "does not mark the part 'eye' of 'mnist:1'"),
        ("mnist:0,eye,3,4\nmnist:1,eye,3,2", ["--within", "eyes"], "marks no part 'eyes'; did you mean 'eye'?"),
        ("mnist:0,eye,3,4\nmnist:1,eye,3,2", ["--part-size", 3, "--layers", "conv9"], "there is no layer 'conv9'"),
    ],
)
def test_mistakes_on_the_command_line(lines, arguments, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts.csv").write_text("image,part,row,column\n" + lines)
    run("correspond", "mnist", "mnist:0", "mnist:1", "--parts", "parts.csv", *arguments, status=2)
    said = capsys.readouterr().err
    assert re.match(f"deconvviz: .*{re.escape(sentence)}", said.splitlines()[-1]), said
    assert not list(tmp_path.rglob("*.png"))
