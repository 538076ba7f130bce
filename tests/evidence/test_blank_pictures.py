"""Pictures that show nothing are no evidence: they are left out and counted, and nothing is said of too few."""

from __future__ import annotations

import itertools
import math
import re

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.evidence import METHODS, clarity, deletion, localisation, randomisation, selectivity
from deconvviz.evidence.metrics import ssim
from deconvviz.experiments import correspondence, diagnose, evolution, invariance, occlusion
from deconvviz.models import mnist_cnn
from deconvviz.results import Selectivity
from tests.helpers.synthetic_atlas import read_script


def images(count: int, side: int = 10) -> torch.Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(3))


def dead(layer: str = "relu") -> dv.DeconvNet:
    """A network whose rectifier never lets anything through: all pictures behind it are blank."""
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("conv", nn.Conv2d(1, 4, 3))
    model.add_module("relu", nn.ReLU())
    model.add_module("last", nn.Conv2d(4, 3, 3))
    model.add_module("flat", nn.Flatten())
    model.add_module("fc", nn.Linear(3 * 6 * 6, 3))
    model.conv.bias.data.fill_(-100)
    return dv.DeconvNet(model)


def shows_nothing_on(*numbers: int):
    """A method: the image itself, and nothing on some images."""

    def method(model, x, layer, places):
        shown = x.clone()
        shown[list(numbers)] = 0
        return shown

    return method


def ranks(values: torch.Tensor) -> torch.Tensor:
    """Mean ranks, written out."""
    smaller = (values[None] < values[:, None]).sum(1).double()
    return smaller + ((values[None] == values[:, None]).sum(1).double() - 1) / 2


def rank_correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = (ranks(one.flatten()) for one in (a, b))
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (a.norm() * b.norm()))


def test_selectivity_leaves_blank_pairs_out_and_counts_them():
    """Behind a rectifier, on units of which some are silent: against gradients by autograd and ranks written out."""
    model, x = mnist_cnn().eval(), mnist_test()[0][:6]
    found = selectivity(dv.DeconvNet(model), x, "relu2", methods=["gradient"])
    means, blank = [], 0
    for number in range(6):
        heats = []
        units = [unit for unit in found.units if unit.sample == number]
        for unit in units:
            leaf = x[number : number + 1].clone().requires_grad_()
            value = model.relu2(model.conv2(model.pool1(model.relu1(model.conv1(leaf)))))
            value[(0, unit.channel, *unit.position)].backward()
            heats.append(leaf.grad[0, 0].abs())
        top, left = units[0].position  # conv2 sees 16 pixels: 5 of pool1, two apart, each of 8
        rows, columns = (slice(max(0, 2 * at - 7), min(28, 2 * at + 9)) for at in (top, left))
        pairs = [(a[rows, columns], b[rows, columns]) for a, b in itertools.combinations(heats, 2)]
        known = [pair for pair in pairs if pair[0].any() and pair[1].any()]
        blank += len(pairs) - len(known)
        means.append(sum(rank_correlation(*pair) for pair in known) / len(known))
    assert found.pairs == 6 * 15
    assert found.blank == {"gradient": blank, "random": 0}
    assert 0 < blank < 45
    assert found.spearman["gradient"].mean == pytest.approx(sum(means) / 6, abs=0.02)
    assert f"({blank} of 90 pairs of gradient pictures include a blank one and are left out)" in found.verdict
    assert found.table()[0]["with a blank picture"] == blank


def test_a_dead_layer_gets_no_verdict(tmp_path):
    found = selectivity(dead(), images(3), "relu", count=3)
    assert found.pairs == 9
    assert found.blank == {"deconvnet": 0, "guided": 9, "gradient": 9, "random": 0}
    for name in ("guided", "gradient"):
        left_out = f"9 of 9 pairs of {name} pictures include a blank one"
        assert f"{left_out}, and too few are left for a verdict" in found.verdict
        assert found.spearman[name].images == 0
        assert found.as_json()["table"][1]["rank correlation"]["mean"] is None
    assert Selectivity.load(found.save(tmp_path / "a.safetensors")).blank == found.blank
    assert found.figure().axes


@pytest.mark.parametrize(("numbers", "enough"), [((0,), True), ((0, 1), True), ((0, 1, 2), False)])
def test_measures_count_the_pictures_that_are_left(numbers, enough):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3))
    for weight in model.parameters():
        weight.data.abs_().clamp_(min=0.1)
    net, x = dv.DeconvNet(model), images(4)
    method, left = {"mine": shows_nothing_on(*numbers)}, len(numbers)
    boxes = torch.tensor([[[0, 9], [0, 9]]] * 4)
    results = {
        "deletion": deletion(net, x, "1", methods=method, steps=2),
        "localisation": localisation(net, x, boxes, layer="1", methods=method),
        "randomisation": randomisation(net, x, "1", methods=method),
    }
    assert results["deletion"].gains["mine"].images == 4 - left
    assert results["deletion"].insertion["mine"][numbers[-1]].isnan().all()
    assert results["localisation"].hits["mine"].images == 4 - left
    assert results["localisation"].points["mine"][0].tolist() == [-1, -1]
    assert results["randomisation"].kept["mine"].images == 4 - left
    for name, found in results.items():
        said = f"the mine picture is blank on {left} of 4 images, too many for a verdict"
        assert (said in found.verdict) is not enough, name
        assert "nan" not in str(found).lower()
        assert found.figure().axes
        if enough:
            assert re.search(
                rf"without {left} (image{'' if left == 1 else 's'} )?on which (it|its picture) is blank", found.verdict
            ), name


def test_too_few_units_that_fire_get_no_verdict():
    x = images(5)
    x[:3] = 0
    model = nn.Sequential(nn.Conv2d(1, 1, 3, bias=False))
    model[0].weight.data.fill_(1)
    found = deletion(dv.DeconvNet(model), x, "0", steps=2)
    assert (
        found.verdict
        == "Only 2 of 5 units are more active on their images than on the blank one, too few for a verdict."
    )


def test_edges_of_a_constant_image_are_no_baseline():
    model = nn.Sequential(nn.Conv2d(1, 1, 3, bias=False))
    model[0].weight.data.fill_(1)
    found = deletion(dv.DeconvNet(model), torch.ones(2, 1, 6, 6), "0", steps=2)
    assert found.gains["edges"].images == 0
    assert "edge" not in found.verdict
    assert "nan" not in found.verdict


# Clarity


@pytest.mark.parametrize(("order", "said"), [(("pool", "conv"), "clearer than"), (("conv", "pool"), "less clear than")])
def test_clearer_is_not_called_as_clear(order, said):
    """Where the first layer named shows 0.10 of the image and the last 0.90, they are not as clear."""
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("conv", nn.Conv2d(1, 1, 1, bias=False))
    model.add_module("pool", nn.AvgPool2d(7, 7))
    model.conv.weight.data.fill_(1)
    for count in (8, 12):
        found = clarity(dv.DeconvNet(model), images(count, 28), layers=list(order))
        values = [found.trained_scores[name].mean for name in order]
        assert abs(values[0] - values[1]) > 0.5
        assert f"and is {said} the one from {order[0]}" in found.verdict
    alike = clarity(dv.DeconvNet(model), images(3, 28), layers=["conv"])
    assert "the one from" not in alike.verdict


def test_clarity_of_constant_images_is_not_measured():
    torch.manual_seed(0)
    net, x = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 3, 3), nn.Conv2d(3, 3, 3))), images(9)
    x[0] = 0.3
    found = clarity(net, x)
    assert found.trained[:, 0].isnan().all()
    assert not found.trained[:, 1:].isnan().any()
    assert found.verdict.endswith(" Scored on 8 of 9 images; the other has no correlation.")
    x[:6] = 0.3
    none = clarity(net, x)
    assert none.verdict.startswith("On 6 of 9 images, the image or its reconstruction from 0 or 1 is constant")
    for one in (found, none, clarity(net, x[:1]), clarity(dead(), images(3), layers=["conv", "relu"])):
        assert "nan" not in one.verdict
        assert one.figure().axes


# The experiments


def verdict_of(found) -> str:
    assert "nan" not in str(found).lower()
    assert found.figure().axes
    return found.verdict


def test_invariance_of_a_silent_layer():
    found = invariance(dead(), images(3), layers=["relu", "last"], values=[1, 2])
    assert found.relative["relu"].isnan().all()
    said = verdict_of(found)
    assert "relu is zero on 3 of 3 images, too many for a verdict" in said
    assert "moves less than" not in said


def test_correspondence_of_a_layer_that_nothing_changes():
    found = correspondence(dead(), images(3), {"corner": [(0, 0, 4, 4)] * 3}, layers=["relu"], draws=20, progress=False)
    assert verdict_of(found) == (
        "In relu, covering corner changes nothing, and neither does covering random places, so there is no verdict."
    )


def test_occlusion_of_a_map_that_nothing_changes():
    found = occlusion(dead(), images(2), layer="relu", patch=4, progress=False)
    said = verdict_of(found)
    assert "no position reduces the class more than another, so the two cannot be compared" in said
    assert "overlap" not in said
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3))
    model[0].bias.data[:] = torch.tensor([-100.0, 1])
    half = occlusion(dv.DeconvNet(model), images(2), layer="1", channel=[0, 1], patch=4, progress=False)
    assert ", without 1 on which no position differs from another)" in verdict_of(half)


def test_evolution_of_a_silent_layer():
    net = dead()
    net.model.last.weight.data.zero_()
    weights = net.model.state_dict()
    found = evolution(net, [weights, weights], images(4), layers=["conv", "last"], progress=False)
    assert math.isnan(found.settled["last"])
    assert found.settled["conv"] == 0
    assert "the pictures of last are blank at every checkpoint" in verdict_of(found)
    none = evolution(net, [weights, weights], images(4), layers=["last"], progress=False)
    assert verdict_of(none) == "Nothing was measured: the pictures of last are blank at every checkpoint."


def test_diagnosis_of_filters_of_zeros():
    net = dead()
    net.model.conv.weight.data.zero_()
    verdict_of(diagnose(net, images(3), progress=False))


def test_pictures_that_are_blank_agree_with_nothing():
    net = dead()
    found = dv.compare(net, images(1), layer="relu", methods=["deconvnet", "guided", "NeuronGradient"])
    table = found.agreement["Spearman"]
    assert not math.isnan(float(table[0, 0]))
    for measure in found.agreement.values():
        assert measure[1:].isnan().all()
    assert math.isnan(found.scores["deletion"]["guided"])


def test_structure_of_blank_pictures():
    assert math.isnan(ssim(torch.zeros(9, 9), torch.zeros(9, 9)))


# The atlas


def test_blank_pictures_get_no_verdict(tmp_path):
    """Channels that fire by their bias alone: pictures of nothing, which are not unlike each other."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    model[0].weight.data[:2] = 0
    model[0].weight.data[2:] = torch.rand(2, 1, 3, 3)
    model[0].bias.data.fill_(1)
    net, data = dv.DeconvNet(model), images(10)
    top = dv.scan(net, data, layers=["0"], k=9, progress=False)
    dv.build_atlas(net, data, top, out=tmp_path / "atlas", progress=False)
    written = read_script(tmp_path / "atlas" / "data" / "0.js")
    assert [one == "none" for one in written["verdict"]] == [True, True, False, False]


def test_every_method_has_a_word_for_a_dead_layer():
    x, boxes = images(3), torch.tensor([[[0, 4], [0, 4]]] * 3)
    for found in (
        deletion(dead(), x, "relu", methods=list(METHODS), steps=2),
        randomisation(dead(), x, "relu"),
        localisation(dead(), x, boxes, layer="relu"),
        selectivity(dead(), x, "relu"),
    ):
        verdict_of(found)
