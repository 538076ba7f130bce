"""Evidence on networks made by hand, where it is known what a picture must show; and beside Quantus."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.errors import InputError, UnknownLayerError
from deconvviz.evidence import METHODS, clarity, deletion, digit_benchmark, localisation, randomisation, selectivity
from deconvviz.evidence.metrics import heatmap, spearman
from deconvviz.evidence.randomisation import randomise, weighted_layers
from deconvviz.models.mnist import mnist_cnn
from deconvviz.projection.fill import fill_of

PATCH = ((4, 7), (6, 9))  # rows and columns that the unit reads


def reads_one_patch(value: float = 1.0) -> dv.DeconvNet:
    """A unit that is the sum of a 3 x 3 patch of a 12 x 12 image."""
    model = nn.Sequential(nn.Conv2d(1, 1, 12, bias=False))
    model[0].weight.data.zero_()
    model[0].weight.data[0, 0, 4:7, 6:9] = value
    return dv.DeconvNet(model.double())


def images(count=6, side=12, channels=1):
    generator = torch.Generator().manual_seed(3)
    return torch.rand(count, channels, side, side, dtype=torch.float64, generator=generator) + 0.5


# Deletion and insertion


def test_deletion_finds_the_picture_of_one_patch_perfect_and_chance_at_a_half():
    x = torch.ones(40, 1, 12, 12, dtype=torch.float64)
    found = deletion(reads_one_patch(), x, "0", steps=144, seeds=0)
    # The 9 pixels of the patch go first: a straight line from 1 to 0, then nothing.
    perfect = 9 / 2 / 144
    for name in METHODS:
        assert found.deletion_scores[name].mean == pytest.approx(perfect)
        assert found.insertion_scores[name].mean == pytest.approx(1 - perfect)
        assert found.gains[name].low > 0.3
    assert found.deletion_scores["random"].mean == pytest.approx(0.5, abs=0.06)
    assert found.insertion_scores["random"].mean == pytest.approx(0.5, abs=0.06)
    assert found.gains["random"].mean == 0
    assert "deconvnet finds pixels that activate the unit" in found.verdict


def test_a_ranking_that_is_upside_down_is_said_to_be_worse_than_chance():
    def elsewhere(model, x, layer, places):
        return 1 - METHODS["gradient"](model, x, layer, places)

    found = deletion(reads_one_patch(), images(8), "0", methods={"elsewhere": elsewhere}, steps=24)
    assert found.insertion_scores["elsewhere"].mean < 0.1
    assert found.gains["elsewhere"].high < 0
    assert "elsewhere ranks pixels worse than chance" in found.verdict


def test_deletion_by_brute_force():
    """The curve of one image against the pixels deleted one after another."""
    net, x = reads_one_patch(), images(1)
    net.model[0].weight.data.normal_(generator=torch.Generator().manual_seed(0)).abs_()
    found = deletion(net, x, "0", methods=["gradient"], steps=144)
    weight = net.model[0].weight.data[0, 0]
    order = weight.flatten().argsort(descending=True)
    left, curve = x.clone(), []
    for pixel in [None, *order.tolist()]:
        if pixel is not None:
            left.view(-1)[pixel] = 0
        curve.append(float((left[0, 0] * weight).sum()))
    expected = torch.tensor(curve, dtype=torch.float64) / curve[0]
    assert torch.allclose(found.deletion["gradient"][0], expected, atol=1e-12)
    assert torch.allclose(found.insertion["gradient"][0], 1 - expected, atol=1e-12)


def test_only_the_receptive_field_is_ranked():
    """A unit of a small window: what lies outside would make chance look worse than it is."""
    model = nn.Sequential(nn.Conv2d(1, 1, 3, bias=False)).double()
    model[0].weight.data.fill_(1)
    x = images(30)
    found = deletion(dv.DeconvNet(model), x, "0", position=(4, 5), steps=9)
    assert found.deletion_scores["random"].mean == pytest.approx(0.5, abs=0.05)
    outside = x.clone()
    outside[:, :, 4:7, 5:8] = 0
    deleted = deletion(dv.DeconvNet(model), outside, "0", position=(4, 5), steps=9)
    assert deleted.deletion_scores["random"].images == 0
    assert "so there is no verdict" in deleted.verdict


def test_images_on_which_the_unit_does_not_fire_are_left_out_and_counted():
    x = images(4)
    x[1, :, 4:7, 6:9] = 0
    found = deletion(reads_one_patch(), x, "0", steps=12)
    assert found.deletion_scores["deconvnet"].images == 3
    assert found.deletion["deconvnet"][1].isnan().all()
    assert "Scored on 3 of 4 images" in found.verdict


def test_what_stands_for_a_deleted_pixel():
    x = images(2, channels=3)
    assert (fill_of(0, x, None) == 0).all()
    assert torch.allclose(fill_of("mean", x, None)[1, 2, 0, 0], x[1, 2].mean())
    blurred = fill_of("blur", x, None)
    assert blurred.shape == x.shape
    assert blurred.std() < 0.5 * x.std()
    assert torch.allclose(blurred.mean(), x.mean(), atol=0.02)
    by_mean = deletion(reads_one_patch(), images(2), "0", fill="mean", steps=4)
    assert by_mean.fill == "mean"


# Randomisation


class TwoLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 5, 3)
        self.gain = nn.Parameter(torch.tensor([0.5, 2.0, 1.0, 3.0, 1.5]))
        self.never = nn.Conv2d(1, 1, 1)
        self.behind = nn.Conv2d(5, 2, 1)

    def forward(self, x):
        return self.behind(self.second(torch.relu(self.first(x))) * self.gain[:, None, None])


def test_layers_are_made_random_from_the_unit_down():
    torch.manual_seed(0)
    net = dv.DeconvNet(TwoLayers())
    x = torch.rand(3, 1, 14, 14)
    assert weighted_layers(net, x, "output") == ["first", "second", "", "behind"]  # the gain is the model's own
    assert weighted_layers(net, x, "second") == ["first", "second"]
    before = {name: one.clone() for name, one in net.model.state_dict().items()}
    found = randomisation(net, x, "second", channel=2)
    assert found.layers == ("second", "first")
    assert all(torch.equal(one, before[name]) for name, one in net.model.state_dict().items())
    alone = randomisation(net, x, "second", channel=2, mode="independent")
    for name in METHODS:  # the first step is the same in both modes
        assert torch.equal(found.spearman[name][0], alone.spearman[name][0])
        assert not torch.equal(found.spearman[name][1], alone.spearman[name][1])
        assert float(found.spearman[name].mean()) < 0.9


def test_a_picture_of_the_image_alone_is_found_out():
    def shows_the_image(model, x, layer, places):
        return x

    def shows_the_weights(model, x, layer, places):
        return model.first.weight.flatten().detach().expand(len(x), -1).reshape(x.shape)

    torch.manual_seed(0)
    net, x = dv.DeconvNet(TwoLayers()), torch.randn(8, 1, 6, 6)
    methods = {"image": shows_the_image, "weights": shows_the_weights}
    found = randomisation(net, x, "second", position=(0, 0), methods=methods)
    assert found.kept["image"].mean == pytest.approx(1)
    assert found.spearman["weights"][0].tolist() == pytest.approx([1] * 8)  # the first layer is still the old one
    assert abs(float(found.spearman["weights"][1].mean())) < 0.6
    assert "the image picture keeps a cosine of 1.00 (1.00 to 1.00) with itself (" in found.verdict
    assert "is that of another unit's on another image): it depends only weakly on these layers" in found.verdict
    assert abs(found.floors["image"].both.mean) < 0.2
    assert found.floors["image"].other_unit.mean == pytest.approx(1)


def test_an_empty_picture_is_no_picture():
    """As of a silent unit behind a rectifier: nothing is compared, and nothing is said of it."""

    def empty_where_dark(model, x, layer, places):
        return x * (x.flatten(1).mean(1) > 0.2).view(-1, 1, 1, 1)

    torch.manual_seed(0)
    net, x = dv.DeconvNet(TwoLayers()), torch.rand(3, 1, 6, 6)
    x[1] *= 0.01
    found = randomisation(net, x, "second", position=(0, 0), methods={"dark": empty_where_dark})
    assert found.spearman["dark"][0, [0, 2]].tolist() == pytest.approx([1, 1])
    assert found.spearman["dark"][:, 1].isnan().all()
    assert found.kept["dark"].images == 2
    assert found.figure().axes
    none = randomisation(net, x[1:2], "second", position=(0, 0), methods={"dark": empty_where_dark})
    assert "the dark picture is blank" in none.verdict
    assert str(none.kept["dark"]) == "none"
    assert none.figure().axes


@pytest.mark.parametrize("normed", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm])
def test_weights_that_a_module_computes_are_made_random(normed):
    torch.manual_seed(0)
    model = nn.Sequential(normed(nn.Conv2d(1, 3, 3, bias=False)), nn.ReLU(), nn.Conv2d(3, 2, 3)).eval()
    assert weighted_layers(dv.DeconvNet(model), torch.rand(1, 1, 8, 8), "output") == ["0", "2"]
    old = model[0].weight.clone()
    randomise(model, ["0"], 0)
    assert (model[0].weight - old).norm() > 0.3 * old.norm()


def test_new_weights_are_random_and_the_same_for_a_seed():
    torch.manual_seed(0)
    model = TwoLayers()
    old = model.first.weight.clone()
    state = torch.random.get_rng_state()
    randomise(model, ["first", ""], 5)
    new, gain = model.first.weight.clone(), model.gain.clone()
    assert torch.equal(state, torch.random.get_rng_state())
    assert not torch.allclose(new, old)
    assert torch.allclose(new.std(), old.std(), rtol=0.4)
    assert not torch.allclose(gain, torch.tensor([0.5, 2.0, 1.0, 3.0, 1.5]))
    torch.manual_seed(0)
    again = TwoLayers()
    randomise(again, ["first", ""], 5)
    assert torch.equal(again.first.weight, new)


# Selectivity


def test_units_that_see_other_things_have_other_pictures():
    model = nn.Sequential(nn.Conv2d(1, 3, 6, bias=False)).double()
    model[0].weight.data.zero_()
    model[0].weight.data[0, 0, 0:2] = 1
    model[0].weight.data[1, 0, 2:4] = 1
    model[0].weight.data[2, 0, 4:6] = 1
    x = images(8, 6)
    found = selectivity(dv.DeconvNet(model), x, "0", count=3, methods=["deconvnet"])
    assert found.spearman["deconvnet"].mean == pytest.approx(-0.5)  # thirds that do not meet
    assert found.floors["deconvnet"].other_unit.mean == pytest.approx(0)
    assert found.floors["deconvnet"].other_image.mean == pytest.approx(1)  # a linear unit's picture is its filter
    assert "deconvnet" in found.verdict
    assert "the picture is specific to the unit" in found.verdict
    same = selectivity(dv.DeconvNet(model), x, "0", count=3, methods={"image": lambda model, x, *_: x - 1})
    assert same.spearman["image"].mean == pytest.approx(1)
    assert same.ssim["image"].mean == pytest.approx(1)
    assert same.floors["image"].other_unit.mean == pytest.approx(1)
    assert same.floors["image"].other_image == same.floors["image"].both
    assert abs(same.spearman["random"].mean) < 0.3
    assert "shows the image more than the unit" in same.verdict
    assert [unit.sample for unit in same.units] == [n for n in range(8) for _ in range(3)]


def test_duplicate_channels_are_not_compared():
    """Their pictures are alike because the units are: it says nothing about pictures."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3, bias=False)).double()
    model[0].weight.data[2] = 2 * model[0].weight.data[1]
    found = selectivity(dv.DeconvNet(model), images(8), "0", count=3, methods=["deconvnet"])
    assert (found.pairs, found.duplicates) == (16, 8)
    assert found.verdict.endswith("; 8 pairs of units are of duplicate channels and left out.")
    model[0].weight.data[:] = model[0].weight.data[:1] * torch.tensor([1.0, 2, 3]).view(3, 1, 1, 1)
    none = selectivity(dv.DeconvNet(model), images(8), "0", count=3, methods=["deconvnet"])
    assert none.verdict == "24 pairs of units are of duplicate channels, and no other pair is left."
    assert none.figure().axes


class Branches(nn.Module):
    """Channels that see one pixel, and channels that see nine."""

    def __init__(self):
        super().__init__()
        self.narrow, self.wide = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x):
        return torch.cat([self.narrow(x), self.wide(x)], 1)


def test_units_of_branches_are_compared_on_what_any_of_them_sees():
    torch.manual_seed(0)
    net, x = dv.DeconvNet(Branches()), torch.rand(2, 1, 8, 8)
    found = selectivity(net, x, "output", count=4, methods=["gradient"])
    means = []
    for n in range(2):
        unit = next(one for one in found.units if one.sample == n)
        (top, left), heats = unit.position, []
        for channel in range(4):
            pixels = net.project(x[n : n + 1], "output", channel=channel, position=unit.position, seed="one").pixels
            rows, columns = (slice(max(0, at - 1), at + 2) for at in (top, left))
            heats.append(heatmap(pixels)[0][rows, columns])
        assert {one.channel for one in found.units if one.sample == n} == {0, 1, 2, 3}
        alike = [spearman(a, b) for a, b in itertools.combinations(heats, 2)]
        means.append(sum(alike) / 6)
    assert found.spearman["gradient"].mean == pytest.approx(sum(means) / 2)


# Localisation


def test_the_pointing_game_on_the_network_that_reads_one_patch():
    x = images(8)
    boxes = torch.tensor([PATCH] * 8)
    found = localisation(reads_one_patch(), x, boxes, layer="0")
    assert all(found.hits[name].mean == 1 for name in METHODS)
    assert found.chance == pytest.approx(9 / 144)
    assert "deconvnet points at the object on 100% of the images" in found.verdict
    elsewhere = localisation(reads_one_patch(), x, boxes - 4, layer="0")
    assert all(elsewhere.hits[name].mean == 0 for name in METHODS)
    nothing = localisation(
        reads_one_patch(0.0), x, boxes - boxes[..., :1], layer="0"
    )  # an empty picture points nowhere
    assert nothing.hits["deconvnet"].images == 0


def test_digits_among_distractors():
    bench = digit_benchmark(count=20, distractors=4, side=70, random_state=1)
    again = digit_benchmark(count=20, distractors=4, side=70, random_state=1)
    assert torch.equal(bench.images, again.images)
    digits, labels = mnist_test()
    for image, label, (rows, columns) in zip(bench.images, bench.labels, bench.boxes.tolist(), strict=True):
        inside = image[:, rows[0] : rows[1], columns[0] : columns[1]]
        match = (digits == inside).flatten(1).all(1).nonzero().flatten()
        assert labels[match[0]] == label
        assert float((image > 0).sum()) > float((inside > 0).sum())  # there are distractors
    assert (bench.net.model(bench.images).argmax(1) == bench.labels).float().mean() > 0.6
    found = localisation(bench.net, bench.images, bench.boxes, channel=bench.labels.tolist())
    assert found.hits["deconvnet"].mean > 0.7
    assert found.hits["random"].mean < 0.5


def test_the_canvas_network_is_the_reference_network_at_every_place():
    bench = digit_benchmark(count=1, side=28, distractors=0)
    x = mnist_test()[0][:5]
    assert torch.allclose(bench.net.model(x), mnist_cnn()(x), atol=1e-4)


# Clarity


def test_clarity_is_the_correlation_of_a_reconstruction_with_the_image():
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Conv2d(1, 1, 1, bias=False)).double()
    model[0].weight.data.fill_(2)
    model[1].weight.data.fill_(-1)
    found = clarity(dv.DeconvNet(model), images(3))
    assert found.layers == ("0", "1")
    assert torch.allclose(found.trained, torch.ones(2, 3, dtype=torch.float64))  # 4 x, and (-2)^2 x
    two = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU(), nn.Conv2d(1, 1, 3, bias=False)).double()
    net, x = dv.DeconvNet(two), torch.randn(4, 1, 9, 9, dtype=torch.float64)
    pixels = net.reconstruct(x, "2").pixels
    expected = [np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(pixels.numpy(), x.numpy(), strict=True)]
    assert clarity(net, x, layers=["2"]).trained[0].tolist() == pytest.approx(expected)


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda net, x: deletion(net, x, "0", fill="blurr"),
            "'mean', 'blur' or a finite number, not 'blurr'; did you mean 'blur'",
        ),
        (lambda net, x: deletion(net, x, "0", steps=0), "in one step or more, not 0"),
        (lambda net, x: deletion(net, x, "0", methods=["mine"]), "there is no method 'mine'"),
        (lambda net, x: deletion(net, x, "0", channel=[0]), "one channel, or one for each of the 2 images, not 1"),
        (lambda net, x: deletion(net, x, "0", channel=3), "channels 0 to 0, not 3"),
        (lambda net, x: deletion(net, (x, x), "0"), "takes? one batch of images|take one batch of images"),
        (lambda net, x: randomisation(net, x, "0", mode="all"), "the mode is 'cascading' or 'independent', not 'all'"),
        (lambda net, x: selectivity(net, x, "0"), "layer '0' has one channel"),
        (lambda net, x: selectivity(net, x, "0", count=1), "count must be at least 2, to compare units, not 1"),
        (lambda net, x: localisation(net, x, torch.zeros(3, 2, 2), layer="0"), r"shape \(2, 2, 2\), .*not \(3, 2, 2\)"),
        (lambda net, x: digit_benchmark(2, distractors=40, side=56), "no room for so many distractors"),
        (lambda net, x: digit_benchmark(0), "1 image or more"),
        (lambda net, x: deletion(net, x, "0", methods={"flat": lambda *_: torch.zeros(2, 3)}), "returns pixels"),
    ],
)
def test_mistakes_are_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call(reads_one_patch(), images(2))


def test_a_layer_that_is_not_there():
    with pytest.raises(UnknownLayerError, match="there is no layer 'conv'"):
        deletion(reads_one_patch(), images(1), "conv")


def test_one_image_has_no_interval():
    found = deletion(reads_one_patch(), images(1), "0", steps=2)
    assert math.isnan(found.insertion_scores["deconvnet"].low)
    assert "(" not in str(found.insertion_scores["deconvnet"])
