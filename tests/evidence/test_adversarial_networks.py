"""Networks that mislead: each must get the sentence that finds it out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.evidence import clarity, deletion, leak, localisation, randomisation, selectivity
from deconvviz.evidence.floor import distance_from_floor
from deconvviz.evidence.methods import Judged
from deconvviz.models import mnist_cnn
from tests.helpers.adversarial_networks import images_of_patterns, matched_filters, reads_box, with_fooling_circuit


def digits(count: int) -> torch.Tensor:
    return mnist_test()[0][:count]


# The fooling circuit


def test_a_fooling_circuit_draws_the_picture_and_leaks():
    honest = mnist_cnn()
    fooled, x = with_fooling_circuit(honest), digits(12)
    assert torch.equal(fooled(x), honest(x))
    before, after = (leak(dv.DeconvNet(model), x, "conv2", seeds=2, progress=False) for model in (honest, fooled))
    assert "these draw hardly any of it" in before.verdict
    assert before.leak.mean == pytest.approx(0.41, abs=0.03)
    assert after.leak.mean > 0.95
    assert after.dormant.mean > 0.95
    assert after.verdict.endswith(
        "these draw most of it, and it shows nothing that the network computes on these images."
    )
    guided = [dv.DeconvNet(model, "guided").project(x, "conv2").pixels for model in (honest, fooled)]
    assert torch.equal(*guided)  # units that are off pass nothing


def test_a_leak_by_hand():
    """Two linear paths; the second one's rectifier is off on every image, and off on one only."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([3.0, 4.0]).view(2, 1, 1, 1))
        model[0].bias.copy_(torch.tensor([0.0, -100.0]))
        model[2].weight.fill_(1)
    x = torch.ones(8, 1, 2, 2, dtype=torch.float64)
    found = leak(dv.DeconvNet(model), x, "2", seeds=0, progress=False)
    assert found.leak.mean == pytest.approx(4 / 7)  # 3 + 4 without the 4
    assert found.dormant.mean == pytest.approx(4 / 7)
    assert str(found.untrained) == "none"
    x[0] = 30  # now the second path fires on one image
    partly = leak(dv.DeconvNet(model), x, "2", seeds=0, progress=False)
    assert partly.by_image[0].tolist() == pytest.approx([0, *[4 / 7] * 7])
    assert partly.by_image[1].tolist() == pytest.approx([0] * 8)
    few = leak(dv.DeconvNet(model), x[:3], "2", seeds=0, progress=False)
    assert few.verdict.endswith(": 3 images are too few to say; use at least 8.")


def test_a_leak_is_saved_and_drawn(tmp_path):
    found = leak(dv.DeconvNet(mnist_cnn()), digits(8), "fc2", seeds=1, progress=False)
    loaded = type(found).load(found.save(tmp_path / "leak.safetensors"))
    assert str(loaded) == str(found)
    assert loaded.figure().axes


# Networks that read elsewhere, or a stamp


def shapes(count: int) -> torch.Tensor:
    return torch.rand(count, 1, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.1


def test_a_network_that_reads_elsewhere():
    """It is not said that chance would do this, too."""
    boxes = torch.tensor([[[0, 12], [4, 12]]]).expand(12, 2, 2)
    found = localisation(dv.DeconvNet(reads_box(12, 4, 0, 3)), shapes(12), boxes, layer="0", progress=False)
    for name in ("deconvnet", "guided", "gradient"):
        assert f"{name} points at the object on 0% of the images, far below chance: the network reads elsewhere" in (
            found.verdict
        )


def test_a_network_that_reads_the_stamp():
    boxes = torch.tensor([[[9, 12], [9, 12]]]).expand(12, 2, 2)
    found = localisation(dv.DeconvNet(reads_box(12, 9, 9, 3)), shapes(12), boxes, layer="0", progress=False)
    assert "deconvnet points at the object on 100% of the images, better than every baseline" in found.verdict
    deleted = deletion(dv.DeconvNet(reads_box(12, 9, 9, 3)), shapes(12), "0", seeds=0, steps=12, progress=False)
    assert "deconvnet finds pixels that activate the unit" in deleted.verdict
    assert "better than brightness" in deleted.verdict


# Matched filters, duplicates, the wrong class, nothing at all


def test_planted_matched_filters_are_shown():
    model, patterns = matched_filters()
    x, net = images_of_patterns(patterns, 16), dv.DeconvNet(model)
    units = Judged(net, x, "1").units
    assert [unit.channel for unit in units] == [n % 4 for n in range(16)]
    found = selectivity(net, x, "0", count=4, methods=["deconvnet"], progress=False)
    assert "the picture is specific to the unit" in found.verdict
    assert found.floors["deconvnet"].other_image.mean == pytest.approx(1)
    random = randomisation(net, x, "1", methods=["deconvnet"], progress=False)
    assert random.verdict.endswith("it depends on these layers.")
    deleted = deletion(net, x, "1", methods=["deconvnet"], seeds=0, steps=5, progress=False)
    assert "deconvnet finds pixels that activate the unit" in deleted.verdict


def test_duplicated_channels_say_nothing_about_pictures():
    model = mnist_cnn()
    with torch.no_grad():
        model.conv2.weight[1::2], model.conv2.bias[1::2] = model.conv2.weight[::2], model.conv2.bias[::2]
    found = selectivity(dv.DeconvNet(model), digits(8), "conv2", methods=["guided"], progress=False)
    assert found.duplicates >= 8
    assert f"; {found.duplicates} pairs of units are of duplicate channels and left out." in found.verdict
    assert found.floors["guided"].other_unit.mean < 0.95


def test_the_picture_of_the_wrong_class_is_not_believed():
    """A class that the image speaks against: there is nothing to find."""
    labels = mnist_test()[1][:16]
    net, x = dv.DeconvNet(mnist_cnn()), digits(16)
    wrong = ((labels + 5) % 10).tolist()
    found = deletion(net, x, "fc2", channel=wrong, methods=["guided"], seeds=0, steps=4, progress=False)
    assert "too few for a verdict" in found.verdict
    right = deletion(net, x, "fc2", channel=labels.tolist(), methods=["guided"], seeds=0, steps=4, progress=False)
    assert "guided finds pixels that activate the unit" in right.verdict


def test_a_constant_network_gets_no_verdict():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3))
    for parameter in model.parameters():
        parameter.data.fill_(0.5 if parameter.ndim == 1 else 0.0)
    net, x = dv.DeconvNet(model), digits(8)
    boxes = torch.tensor([[[0, 9], [0, 9]]]).expand(8, 2, 2)
    assert "so there is no verdict" in deletion(net, x, "2", progress=False).verdict
    assert "the deconvnet picture is blank" in randomisation(net, x, "2", progress=False).verdict
    assert "blank" in leak(net, x, "2", progress=False).verdict
    assert "blank on 8 of 8 images" in localisation(net, x, boxes, layer="2", progress=False).verdict
    assert "too many for a verdict" in clarity(net, x, progress=False).verdict
    assert "no other pair is left" in selectivity(net, x, "2", progress=False).verdict


def test_the_distance_from_the_floor():
    assert distance_from_floor(0.9, 0.8) == pytest.approx(0.5)
    assert distance_from_floor(1.0, 1.0) == 0
