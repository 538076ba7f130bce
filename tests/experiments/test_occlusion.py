"""Occlusion: exact maps on networks that one can compute by hand, and one forward pass per place as the reference."""

from __future__ import annotations

import json
import re
from collections import OrderedDict

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.errors import InputError, UnknownLayerError
from deconvviz.experiments import invariance, occlusion
from deconvviz.images import Preprocess
from deconvviz.models import mnist_cnn
from deconvviz.projection.fill import fill_of
from deconvviz.results import Occlusion
from tests.helpers.command_line import run


class Quadrants(nn.Module):
    """Channel 0 is the sum of the upper left quadrant, channel 1 of the lower right; both are class scores."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 1, 8, 8, dtype=torch.float64))
        self.weight.data[0, 0, 4:], self.weight.data[0, 0, :4, 4:] = 0, 0
        self.weight.data[1, 0, :4], self.weight.data[1, 0, 4:, :4] = 0, 0
        self.conv = nn.Conv2d(1, 2, 8, bias=False, dtype=torch.float64)
        self.conv.weight = self.weight

    def forward(self, x):
        return self.conv(x).flatten(1)


def noise(count=2, size=(9, 11), channels=3):
    return torch.randn(count, channels, *size, dtype=torch.float64)


def network():
    """A convolution, a rectifier that works in place, and three classes."""
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(3)
    ).double()
    model.eval()(noise())
    return model.train()


def test_the_sum_of_a_quadrant_loses_what_the_patch_covers_of_it():
    x = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    found = occlusion(
        dv.DeconvNet(Quadrants()), x, target=0, layer="conv", channel=0, patch=2, stride=2, fill=0, progress=False
    )
    assert found.tops.tolist() == found.lefts.tolist() == [0, 2, 4, 6]
    expected = torch.full((4, 4), 16.0)
    expected[:2, :2] = 12
    assert found.activation[0].tolist() == expected.tolist()
    assert found.whole_activation.tolist() == [16]
    other = torch.full((4, 4), 16.0)
    other[2:, 2:] = 12
    assert torch.allclose(found.probability[0], torch.sigmoid(expected - other).double())
    assert found.whole_probability.tolist() == [0.5]
    predicted = torch.zeros(4, 4)  # of equals the first; where the first quadrant is covered it loses
    predicted[:2, :2] = 1
    assert found.predicted[0].tolist() == predicted.tolist()
    assert found.changed.tolist() == [0.25]
    assert found.table()[0]["at row"] == found.table()[0]["column"] == 0


def test_the_strongest_map_and_the_most_probable_class_are_each_images_own():
    x = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    x[0, 0, 1, 1], x[1, 0, 6, 5] = 3, 2
    found = occlusion(dv.DeconvNet(Quadrants()), x, layer="conv", patch=(2, 3), stride=1, fill=0, progress=False)
    assert [unit.channel for unit in found.projection.units] == found.targets.tolist() == [0, 1]
    assert found.whole_activation.tolist() == [3, 2]
    for n, (row, column, value) in enumerate(((1, 1, 3), (6, 5, 2))):
        covers = (found.tops <= row) & (row < found.tops + 2), (found.lefts <= column) & (column < found.lefts + 3)
        expected = value * (1 - (covers[0][:, None] & covers[1][None]).double())
        assert torch.equal(found.activation[n], expected)
    given = occlusion(
        dv.DeconvNet(Quadrants()), x, target=[1, 0], layer="conv", channel=[1, 0], patch=2, fill=0, progress=False
    )
    assert given.whole_activation.tolist() == [0, 0]
    assert given.targets.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("patch", "stride", "fill", "batch_size"),
    [(3, 1, "grey", 32), ((2, 5), (3, 4), "mean", 7), (4, 3, 0.25, 1), ((9, 11), 1, -1, 3), (1, (8, 10), "grey", 5)],
)
def test_one_forward_pass_per_place_gives_the_same(patch, stride, fill, batch_size):
    model, x = network(), noise()
    target, channel = [2, 0], [1, 4]
    asked = {"patch": patch, "stride": stride, "fill": fill, "batch_size": batch_size, "progress": False}
    found = occlusion(dv.DeconvNet(model), x, target=target, layer="0", channel=channel, **asked)
    height, width = patch if isinstance(patch, tuple) else (patch, patch)
    colour = fill_of(fill, x, None)
    model.eval()
    covered = torch.zeros(x.shape[2:])
    with torch.no_grad():
        for n, (r, top), (c, left) in [
            (n, row, column) for n in range(2) for row in enumerate(found.tops) for column in enumerate(found.lefts)
        ]:
            one = x[n : n + 1].clone()
            one[0, :, top : top + height, left : left + width] = colour[n]
            covered[top : top + height, left : left + width] += 1
            maps, scores = model[0](one), model(one)
            assert float(found.activation[n, r, c]) == pytest.approx(float(maps[0, channel[n]].sum()), rel=1e-10)
            assert float(found.probability[n, r, c]) == pytest.approx(float(scores.softmax(1)[0, target[n]]), rel=1e-10)
            assert int(found.predicted[n, r, c]) == int(scores.argmax())
    steps = stride if isinstance(stride, tuple) else (stride, stride)
    for starts, size, step, length in zip((found.tops, found.lefts), (height, width), steps, (9, 11), strict=True):
        assert starts[0] == 0
        assert starts[-1] == length - size  # flush with the border
        assert (starts[:-1].diff() == step).all()
        assert len(starts) < 2 or 0 < int(starts[-1] - starts[-2]) <= step
    if steps[0] <= height and steps[1] <= width:
        assert covered.min() >= 1


def test_the_default_map_is_the_last_convolutions_behind_its_rectifier():
    x = noise()
    found = occlusion(dv.DeconvNet(network()), x, patch=3, progress=False)
    assert found.projection.provenance.layer == "2"
    model = network().eval()
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid(), nn.Flatten(), nn.LazyLinear(2)).double()
    model(x)
    assert occlusion(dv.DeconvNet(model), x, patch=3, progress=False).projection.provenance.layer == "0"


def test_the_projection_is_of_the_strongest_unit_of_the_strongest_map():
    net, x = dv.DeconvNet(mnist_cnn()), mnist_test()[0][:3]
    found = occlusion(net, x, patch=9, stride=9, progress=False)
    maps = net.trace(x, "relu2").activations["relu2"]
    channels = maps.sum((2, 3)).argmax(1).tolist()
    assert [unit.channel for unit in found.projection.units] == channels
    for n, channel in enumerate(channels):
        expected = net.project(x[n : n + 1], "relu2", channel=channel)
        assert found.projection.units[n].position == expected.units[0].position
        assert torch.allclose(found.projection.pixels[n], expected.pixels[0], atol=1e-6)


def test_a_model_that_ends_in_a_softmax_gets_no_second_one():
    x = noise()
    model = network()
    plain = occlusion(dv.DeconvNet(model), x, layer="0", patch=4, progress=False)
    ended = occlusion(dv.DeconvNet(nn.Sequential(*model, nn.Softmax(1))), x, layer="0", patch=4, progress=False)
    assert torch.allclose(plain.probability, ended.probability)


def test_a_first_layer_that_writes_into_its_input():
    class Shifting(nn.Module):
        def forward(self, x):
            return x.sub_(1)

    x, model = noise(), network()
    before = x.clone()
    found = occlusion(dv.DeconvNet(nn.Sequential(Shifting(), model)), x, layer="1.0", patch=4, progress=False)
    plain = occlusion(dv.DeconvNet(model), x - 1, layer="0", patch=4, fill="mean", progress=False)
    again = occlusion(
        dv.DeconvNet(nn.Sequential(Shifting(), model)), x, layer="1.0", patch=4, fill="mean", progress=False
    )
    assert torch.equal(x, before)
    assert torch.allclose(again.activation, plain.activation)
    assert not torch.allclose(found.activation, plain.activation)


def test_the_model_is_left_as_it_was():
    model, x = network(), noise()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    occlusion(dv.DeconvNet(model), x, patch=4, progress=False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)


# What a patch is filled with


def test_grey_is_the_middle_of_what_is_displayed():
    preprocess = Preprocess(8, (0.4, 0.5, 0.6), (0.2, 0.25, 0.5))
    x = noise()
    colours = fill_of("grey", x, preprocess)
    assert torch.allclose(preprocess.inverse(colours), torch.full((2, 3, 1, 1), 0.5, dtype=torch.float64))

    def by_hand(image):  # says neither mean nor std
        return (preprocess(image) * 2) + 1

    assert torch.allclose(fill_of("grey", x, by_hand), colours * 2 + 1, atol=0.05)
    assert fill_of("grey", torch.rand(1, 1, 4, 4), None).tolist() == [[[[0.5]]]]
    stretched = torch.tensor([[[[-1.0, 5.0]]], [[[0.0, 1.0]]]])
    assert fill_of("grey", stretched, None).flatten().tolist() == [2, 0.5]
    assert torch.allclose(fill_of("mean", x, None), x.mean((2, 3), keepdim=True))
    found = occlusion(
        dv.DeconvNet(mnist_cnn(), preprocess=Preprocess(28, (0.1,), (0.3,))),
        mnist_test()[0][:1],
        patch=9,
        progress=False,
    )
    assert found.fill.flatten().tolist() == pytest.approx([0.5])


# Results


def test_saved_loaded_and_drawn(tmp_path):
    names = [f"the digit {n}" for n in range(10)]
    found = occlusion(dv.DeconvNet(mnist_cnn()), mnist_test()[0][2:4], patch=7, stride=3, classes=names, progress=False)
    again = Occlusion.load(found.save(tmp_path / "occlusion"))
    assert torch.equal(again.probability, found.probability)
    assert str(again) == str(found)
    figure = found.figure()
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0] == "(a) the digit 1"
    assert sum(title == "(e) most probable class" for title in titles) == 2
    legend = figure.axes[4].get_legend()
    shown = {text.get_text() for text in legend.get_texts()}
    assert {names[number] for number in found.predicted[0].unique()[:2].tolist()} & shown
    mesh = figure.axes[3].collections[0]
    assert mesh.get_array().flatten().tolist() == found.probability[0].flatten().tolist()
    assert (figure.axes[3].get_xlim(), figure.axes[3].get_ylim()) == ((-0.5, 27.5), (27.5, -0.5))
    (top, left), frame = found.lowest(found.probability)[0].tolist(), figure.axes[0].patches[0]
    assert frame.get_xy() == (left - 0.5, top - 0.5)


def test_the_verdict_says_when_no_place_matters():
    x = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    model = Quadrants()
    matters = occlusion(
        dv.DeconvNet(model), x, target=0, layer="conv", channel=0, patch=2, fill=0, progress=False
    ).verdict
    assert matters.startswith(
        "At the worst position, a patch of 2 x 2 pixels lowers the probability of the class from 0.50 to 0.02"
    )
    assert "the map of conv overlaps the one that most reduces the class" in matters
    model.weight.data.mul_(1e-3)
    same = occlusion(dv.DeconvNet(model), x, target=0, layer="conv", channel=0, patch=2, fill=0, progress=False).verdict
    assert same.startswith("No position matters much: at the worst one, a patch")


# Errors

ONE_OUTPUT = nn.Sequential(nn.Conv2d(3, 1, (9, 11)), nn.Flatten()).double()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 10}, "a patch of 10 x 10 pixels is larger than the images of 9 x 11"),
        ({"patch": (9, 12)}, "a patch of 9 x 12 pixels is larger"),
        ({"patch": 0}, r"the patch is one integer of 1 or more, or two \(height, width\), not 0"),
        ({"patch": (1, 2, 3)}, "the patch is one integer"),
        ({"stride": 0}, "the stride is one integer of 1 or more"),
        ({"stride": 1.5}, "the stride is one integer of 1 or more"),
        ({"fill": "pink"}, "a fill is one of 'black', 'grey', 'white', 'mean', 'blur' or a finite number, not 'pink'"),
        ({"fill": float("nan")}, "a fill is one of "),
        ({"target": 3}, "there is no class 3; give one from 0 to 2"),
        ({"target": [0]}, "give one class, or one for each of the 2 images, not 1"),
        ({"channel": -1}, "there is no channel -1; give one from 0 to 4"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, not 0"),
        ({"classes": ["cat"]}, "there are 1 names of classes and 3 classes"),
    ],
)
def test_mistakes_are_one_sentence(options, message):
    with pytest.raises(InputError, match=message):
        occlusion(dv.DeconvNet(network()), noise(), **options, progress=False)


def test_a_module_whose_name_begins_with_output_is_not_the_output():
    torch.manual_seed(0)
    x = noise()
    parts = {"output_map": nn.Conv2d(3, 4, 3), "pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten()}
    model = nn.Sequential(OrderedDict({**parts, "last": nn.Linear(4, 2)})).double()
    found = occlusion(dv.DeconvNet(model), x, target=1, progress=False)
    assert torch.allclose(found.whole_probability, model(x).softmax(1)[:, 1])


def test_scores_at_one_position_are_scores():
    torch.manual_seed(0)
    x = noise()
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1)).double()  # (N, classes, 1, 1)
    expected = model(x).flatten(1).softmax(1)
    found = occlusion(dv.DeconvNet(model), x, target=1, progress=False)
    assert torch.allclose(found.whole_probability, expected[:, 1])
    moved = invariance(dv.DeconvNet(model), x, layers=["0"], values=[0], target=1)
    assert torch.allclose(moved.probability, expected[None, :, 1])


def test_models_and_layers_that_do_not_fit():
    with pytest.raises(UnknownLayerError, match="there is no layer 'conv5'"):
        occlusion(dv.DeconvNet(network()), noise(), layer="conv5", progress=False)
    with pytest.raises(InputError, match=r"the scores of two classes or more, \(N, classes\), not \(1, 1\)"):
        occlusion(dv.DeconvNet(ONE_OUTPUT), noise(), layer="0", progress=False)
    with pytest.raises(InputError, match=r"the scores of two classes .*, not \(1, 4, 7, 9\)"):
        occlusion(dv.DeconvNet(nn.Sequential(nn.Conv2d(3, 4, 3)).double()), noise(), progress=False)
    with pytest.raises(InputError, match="runs no convolution; name the layers that are meant"):
        occlusion(dv.DeconvNet(nn.Sequential(nn.Flatten(), nn.Linear(297, 2)).double()), noise(), progress=False)
    with pytest.raises(InputError, match=r"takes? one batch of images|take one batch of images"):
        occlusion(dv.DeconvNet(network()), (noise(), noise()), progress=False)
    mixing = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten(), nn.LazyLinear(2)
    ).double()
    mixing(noise())
    with pytest.raises(InputError, match="mixes the samples of a batch; give batch_size=1"):
        occlusion(dv.DeconvNet(mixing), noise(), layer="1", patch=3, progress=False)
    assert occlusion(
        dv.DeconvNet(mixing), noise(1), layer="0", patch=3, batch_size=1, progress=False
    ).changed.shape == (1,)


def test_the_command_writes_the_figure_and_the_result(tmp_path, capsys):
    names = tmp_path / "names.txt"
    names.write_text("".join(f"digit {n}\n" for n in range(10)))
    out = tmp_path / "out"
    run(
        "occlusion",
        "mnist",
        "mnist:2",
        "mnist:3",
        "--patch",
        7,
        "--stride",
        5,
        6,
        "--fill",
        "0",
        "--classes",
        names,
        "--out",
        out,
    )
    printed = capsys.readouterr()
    found = Occlusion.load(out / "occlusion.safetensors")
    expected = occlusion(
        dv.DeconvNet(mnist_cnn()), mnist_test()[0][2:4], patch=7, stride=(5, 6), fill=0, progress=False
    )
    assert torch.equal(found.probability, expected.probability)
    assert printed.out.splitlines() == [
        *str(found).splitlines(),
        str(out / "occlusion.png"),
        str(out / "occlusion.safetensors"),
    ]
    assert "digit 1" in printed.out
    assert (out / "occlusion.png").stat().st_size > 10_000
    run("occlusion", "mnist", "mnist:2", "--patch", 9, "--out", out, "--json")
    assert json.loads(capsys.readouterr().out)["table"][0]["class"] == "1"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--patch", 29], "a patch of 29 x 29 pixels is larger than the images of 28 x 28"),
        (["--stride", 0], "the stride is one integer of 1 or more"),
        (["--patch", 1, 2, 3], "the patch is one integer of 1 or more, or two"),
        (
            ["--fill", "pink"],
            "a fill is one of 'black', 'grey', 'white', 'mean', 'blur' or a finite number, not 'pink'",
        ),
        (["--target", 10], "there is no class 10; give one from 0 to 9"),
        (["--layer", "conv9"], "there is no layer 'conv9'"),
        (["--classes", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_mistakes_on_the_command_line(arguments, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("occlusion", "mnist", "mnist:0", *arguments, status=2)
    said = capsys.readouterr().err
    assert re.match(f"deconvviz: .*{re.escape(sentence)}", said.splitlines()[-1]), said
    assert not list(tmp_path.rglob("*.png"))
