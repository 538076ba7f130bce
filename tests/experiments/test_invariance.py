"""Invariance: networks whose distances are known, a transcription one image and one t at a time, ZF's observation."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.data import mnist_test
from deconvviz.errors import InputError, UnknownLayerError
from deconvviz.experiments import invariance
from deconvviz.experiments._layers import features, hidden_layers
from deconvviz.experiments._transforms import fills_borders, transformation
from deconvviz.images import Preprocess
from deconvviz.models import mnist_cnn
from deconvviz.results import Invariance
from tests.helpers.autograd_reference import untouched


def rolled(images, t):
    return torch.roll(images, t, 2)


class Linear(nn.Module):
    """Twice the image, then a linear layer: distances are known in closed form."""

    def __init__(self):
        super().__init__()
        self.twice = nn.Conv2d(1, 1, 1, bias=False)
        self.head = nn.Linear(16, 3, bias=False)
        nn.init.constant_(self.twice.weight, 2.0)

    def forward(self, x):
        return self.head(self.twice(x).flatten(1))


def test_pooling_over_the_whole_map_is_invariant_to_circular_shifts():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).double()
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    found = invariance(dv.DeconvNet(model), x, layers=["1", "3"], transform=rolled, values=[1, 3, 7])
    assert found.transform == "rolled"
    assert float(found.distances["3"].max()) < 1e-15
    assert float(found.relative["1"].min()) > 0.05


def test_a_linear_network_has_the_distance_of_the_images():
    model = Linear()
    x = torch.rand(5, 1, 4, 4)
    found = invariance(
        dv.DeconvNet(model), x, layers=["twice", "output"], transform=lambda images, t: t * images, values=[0, 1, 3]
    )
    norm = 2 * x.flatten(1).double().norm(dim=1)
    for row, t in enumerate([0, 1, 3]):
        assert torch.allclose(found.distances["twice"][row], abs(t - 1) * norm, rtol=1e-6)
        for layer in found.layers:
            assert torch.allclose(found.relative[layer][row], torch.full((5,), abs(t - 1.0)).double(), rtol=1e-6)
    assert found.transform == "lambda"
    expected = model(3 * x).double().softmax(1).gather(1, model(x).argmax(1)[:, None])[:, 0]
    assert torch.allclose(found.probability[2], expected, rtol=1e-5)
    assert found.targets == tuple(model(x).argmax(1).tolist())


def test_the_distance_to_another_image_is_to_the_one_before():
    x = torch.rand(5, 1, 4, 4)
    found = invariance(dv.DeconvNet(Linear()), x, layers="twice", transform=rolled, values=[1], batch_size=2)
    before = (2 * x - 2 * x.roll(1, 0)).flatten(1).double().norm(dim=1) / (2 * x.flatten(1).double().norm(dim=1))
    assert torch.allclose(found.others["twice"], before, rtol=1e-6)
    assert bool(
        invariance(dv.DeconvNet(Linear()), x[:1], layers="twice", transform=rolled, values=[1])
        .others["twice"]
        .isnan()
        .all()
    )


@pytest.mark.parametrize("t", [-3, -1, 0, 2, 8, 30])
def test_a_translation_moves_whole_pixels_down(t):
    x = torch.rand(2, 1, 8, 8)
    seen = invariance(dv.DeconvNet(Linear16()), x, layers="0", transform="translation", values=[t], fill=0.25).examples
    shifted = torch.full_like(x, 0.25)
    for row in range(8):
        if 0 <= row - t < 8:
            shifted[:, :, row] = x[:, :, row - t]
    assert torch.equal(seen, shifted[:1])


def Linear16():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 4))


def test_scales_enlarge_and_rotations_turn_counter_clockwise():
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 1, 4] = 1.0  # above the centre
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 1, 3)))
    turned = invariance(net, x, layers="0", transform="rotation", values=[90, 180, 270], fill=0).examples[:, 0]
    expected = torch.zeros(3, 9, 9)
    expected[0, 4, 1] = expected[1, 7, 4] = expected[2, 4, 7] = 1.0  # left, below, right
    assert torch.allclose(turned, expected, atol=1e-5)
    larger = invariance(net, torch.ones(1, 1, 9, 9), layers="0", transform="scale", values=[0.5, 2.0], fill=0).examples[
        :, 0
    ]
    half = F.pad(torch.ones(5, 5), (2, 2, 2, 2))
    assert torch.allclose(larger, torch.stack([half, torch.ones(9, 9)]), atol=1e-6)


def test_nothing_moves_where_the_transform_changes_nothing():
    x = mnist_test()[0][:5]
    for transform, same in (("translation", 0), ("scale", 1), ("rotation", 0), (lambda images, t: images, 3)):
        found = invariance(
            dv.DeconvNet(mnist_cnn()), x, layers=["conv1", "fc2"], transform=transform, values=[same], batch_size=2
        )
        assert all(float(one.abs().max()) == 0 for one in found.distances.values())
        assert "changes no image" in found.verdict


def test_one_image_and_one_t_at_a_time_give_the_same():
    images, labels = mnist_test()
    x, y = images[:7], labels[:7]
    model = mnist_cnn().train()
    with untouched(model):
        found = invariance(dv.DeconvNet(model), x, transform="rotation", values=[0, 20, 45], target=y, batch_size=3)
    assert found.layers == ("relu1", "relu3")
    model.eval()

    def by_hand(image):
        first = F.relu(model.conv1(image))
        pooled = F.max_pool2d(F.relu(model.conv2(F.max_pool2d(first, 2))), 2)
        last = F.relu(model.fc1(pooled.flatten(1)))
        return {"relu1": first, "relu3": last}, model.fc2(last).double().softmax(1)

    from torchvision.transforms.functional import InterpolationMode, rotate

    with torch.no_grad():
        for n in range(7):
            plain, _ = by_hand(x[n : n + 1])
            for row, t in enumerate([0, 20, 45]):
                moved = rotate(x[n : n + 1], t, InterpolationMode.BILINEAR)
                layers, scores = by_hand(moved)
                for name, one in layers.items():
                    distance = float((one - plain[name]).double().norm())
                    assert float(found.distances[name][row, n]) == pytest.approx(distance, rel=1e-4, abs=1e-4)
                    relative = distance / float(plain[name].double().norm())
                    assert float(found.relative[name][row, n]) == pytest.approx(relative, rel=1e-4, abs=1e-5)
                assert float(found.probability[row, n]) == pytest.approx(float(scores[0, y[n]]), rel=1e-4, abs=1e-6)


def test_small_shifts_move_the_first_layer_more_than_the_last():
    """What Zeiler and Fergus saw; and an untrained network shows it, too, unless one asks how far images are apart."""
    x = mnist_test()[0][:50]
    shifts = [-3, -2, -1, 1, 2, 3]
    trained = invariance(dv.DeconvNet(mnist_cnn()), x, values=shifts)
    first, last = (trained.relative[name].mean(1) for name in ("relu1", "relu3"))
    assert bool((last < 0.55 * first).all())
    assert bool((trained.relative["relu3"].mean(0) < trained.relative["relu1"].mean(0)).all())
    assert float(trained.probability.mean()) > 0.99
    assert "relu3 moves less than relu1 on 50 of 50 images" in trained.verdict
    random = invariance(dv.DeconvNet(mnist_cnn(pretrained=False)), x, values=shifts)
    assert float(random.relative["relu3"].mean()) < float(random.relative["relu1"].mean())
    kept = [float(one.relative["relu3"].mean() / one.others["relu3"].mean()) for one in (trained, random)]
    assert kept[0] < 0.36
    assert kept[1] > 0.45


def test_borders_show_the_brightness_asked_for():
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(3, 4, 3)), preprocess=Preprocess(size=16))
    found = invariance(
        net, Image.new("RGB", (16, 16), (200, 100, 50)), layers="0", transform="translation", values=[8], fill="white"
    )
    assert torch.allclose(found.examples[0, :, :8], torch.ones(3, 8, 16), atol=1e-6)
    assert torch.allclose(found.examples[0, 0, 8:], torch.tensor(200 / 255), atol=1e-6)
    assert found.probability is None
    assert found.targets == ()
    found.figure()


def test_borders_of_any_preprocess():
    x = torch.zeros(1, 3, 8, 8)
    known = Preprocess(size=8)
    by_hand = [(0.5 - mean) / std for mean, std in zip(known.mean, known.std, strict=True)]
    assert fills_borders("grey", x, known)[0] == pytest.approx(by_hand)
    assert fills_borders("grey", x, lambda image: known(image))[0] == pytest.approx(by_hand, abs=0.01)  # of eight bits
    assert fills_borders("white", x, None)[0] == [1, 1, 1]
    assert fills_borders(-2, x, known)[0] == [-2, -2, -2]
    with pytest.raises(InputError, match="3 channels, and the network's preprocess makes 1"):
        fills_borders("grey", x, Preprocess(8, (0.5,), (0.5,)))[0]


def test_the_usual_values():
    def usual(transform, height=28):
        return transformation(transform, None, torch.zeros(1, 3, height, 20), "black", None).values

    assert usual("translation") == list(range(-7, 8))
    assert usual("translation", 224) == list(range(-54, 55, 6))
    assert usual("translation", 3) == [0]
    assert usual("scale") == [1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8]
    assert usual("rotation") == list(range(0, 360, 15))


def test_probabilities_that_the_model_returns_stay_as_they_are():
    model = nn.Sequential(Linear(), nn.Softmax(1))
    x = torch.rand(2, 1, 4, 4)
    found = invariance(dv.DeconvNet(model), x, layers="0.twice", transform=rolled, values=[1], target=2)
    assert torch.allclose(found.probability[0], model(rolled(x, 1))[:, 2].double(), rtol=1e-6)
    assert found.targets == (2, 2)


def test_hidden_layers_are_those_behind_rectifiers_and_what_the_last_filter_reads():
    branches = nn.Sequential(nn.Conv2d(1, 2, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    assert hidden_layers(dv.DeconvNet(branches).trace(torch.rand(1, 1, 8, 8))) == ["1", "3"]
    scores = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    assert hidden_layers(dv.DeconvNet(scores).trace(torch.rand(1, 1, 8, 8))) == ["1"]
    assert hidden_layers(dv.DeconvNet(Linear()).trace(torch.rand(1, 1, 4, 4))) == ["twice", "flatten"]
    with pytest.raises(InputError, match="no hidden layers"):
        hidden_layers(dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 2, 3))).trace(torch.rand(1, 1, 8, 8)))


def test_features_are_one_vector_for_each_image():
    trace = dv.DeconvNet(mnist_cnn()).trace(mnist_test()[0][:3])
    maps = trace.activations["conv2"]
    assert torch.equal(features(trace, "conv2"), maps.flatten(1))
    assert torch.allclose(features(trace, "conv2", pool=2), F.avg_pool2d(maps, 7).flatten(1))
    assert torch.equal(features(trace, "conv2", pool=50), maps.flatten(1))
    assert torch.equal(features(trace, "fc1", pool=2), trace.activations["fc1"])


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1, track_running_stats=False)

    def forward(self, x):
        return self.norm(x)


def test_bad_input_is_one_sentence():
    net, x = dv.DeconvNet(mnist_cnn()), mnist_test()[0][:4]

    def refused(message, *arguments, kind=InputError, given=x, model=net, **options):
        with pytest.raises(kind, match=message):
            invariance(model, given, *arguments, **options)

    refused("no layer 'relu9'.*did you mean 'relu", layers=["relu9"], kind=UnknownLayerError)
    refused("no layer to look at", layers=[])
    refused("is one of 'translation', 'scale', 'rotation' or a function, not 'rotatoin'; did", transform="rotatoin")
    refused("no values to transform by", values=[])
    refused("finite numbers, not nan", values=[math.nan])
    refused("finite numbers, not 'far'", values=["far"])
    refused("whole pixels, not 0.5", values=[0.5])
    refused("above zero, not 0", transform="scale", values=[0])
    refused("has no usual values", transform=rolled)
    refused("returned \\(2, 1, 28, 28\\) at t = 1", transform=lambda images, t: images[:2], values=[1])
    refused("as a tensor, not list", transform=lambda images, t: [1, 2], values=[1])
    refused("NaN or infinite", transform=lambda images, t: images * math.inf, values=[1])
    refused("no class 10; give one from 0 to 9", target=10)
    refused("no class -1", target=[0, 1, -1, 2])
    refused("give one class, or one for each of the 4 images, not 2", target=[1, 2])
    refused("a class is given by its number, not by 0.5", target=[0.5] * 4)
    refused("has one colour; give another fill than .blur.", fill="blur")
    refused("a finite number, not inf", fill=math.inf)
    refused("batch_size must be a whole number of at least 1", batch_size=0)
    refused("one batch of images", given=(x, x))
    one_axis = dv.DeconvNet(nn.Sequential(nn.Conv1d(1, 2, 3)))
    refused("images \\(N, C, H, W\\), not an input of shape", layers="0", given=torch.rand(2, 1, 9), model=one_axis)
    plain = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 2, 3)))
    refused("returns no classes", layers="0", target=1, model=plain)
    refused("must keep the size", layers="0", transform=lambda images, t: images[..., :-1], values=[1], model=plain)
    mixing = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 1, 1), Mixing()))
    refused("mixes the samples of a batch; give batch_size=1", layers="1", model=mixing)
    assert invariance(mixing, x, layers="1", values=[1], batch_size=1).distances["1"].shape == (1, 4)


def test_the_result_is_kept_drawn_and_told(tmp_path):
    x = mnist_test()[0][:3]
    found = invariance(dv.DeconvNet(mnist_cnn()), x, values=[2, 0, -1])
    again = Invariance.load(found.save(tmp_path / "found.safetensors"))
    assert again.table() == found.table()
    assert [row["translation"] for row in again.table()] == [2, 0, -1]
    assert again.table()[0]["relu3 ±"] == pytest.approx(float(found.relative["relu3"][0].std()))
    curve = found.figure().subfigs[1].axes[0].lines[0]
    assert curve.get_xdata().tolist() == [-1, 0, 2]
    assert curve.get_ydata().tolist() == pytest.approx([float(found.relative["relu1"][n].mean()) for n in (2, 1, 0)])
    absolute = found.figure(absolute=True).subfigs[1].axes[0].lines
    assert absolute[0].get_ydata()[2] == pytest.approx(float(found.distances["relu1"][0].mean()))
    assert "another image is" in str(found)


def test_a_layer_that_is_silent_has_no_relative_distance():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Conv2d(1, 1, 1))
    nn.init.constant_(model[0].weight, -1.0)
    nn.init.constant_(model[0].bias, 0.0)
    found = invariance(dv.DeconvNet(model), torch.rand(2, 1, 6, 6), layers=["1", "2"], values=[0, 1])
    assert bool(found.relative["1"].isnan().all())
    assert found.figure().subfigs[1].axes[0].get_legend().get_texts()[0].get_text() == "1: silent"


def test_the_command(tmp_path, capsys):
    out = tmp_path / "found"
    images = ["mnist:0", "mnist:1"]
    assert cli.main(["invariance", "mnist", *images, "--values", "-1", "0", "1", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("translation  relu1 distance")
    assert "of 2 images" in printed
    assert Invariance.load(out / "invariance.safetensors").values == (-1, 0, 1)
    with Image.open(out / "invariance.png") as picture:
        assert picture.width > 600
    for wrong, said in (
        (["--transform", "shear"], "a transform is one of"),
        (["--values", "0.5"], "whole pixels"),
        (["--fill", "blue"], "a fill is"),
        (["--target", "12"], "no class 12"),
        (["--target", "1", "2", "3"], "one class, or one for each of the 2"),
        (["--layers", "conv7"], "no layer 'conv7'"),
    ):
        assert cli.main(["invariance", "mnist", *images, *wrong, "--out", str(out)]) == 2
        said_now = capsys.readouterr().err
        assert said in said_now
        assert said_now.count("\n") == 1
