"""Deletion in three rankings, beside baselines and negative controls, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.evidence import BASELINES, METHODS, deletion
from deconvviz.evidence.deletion_verdict import verdict_of
from deconvviz.evidence.methods import Judged, brightness, centre, rankings
from deconvviz.models import MnistCNN, mnist_cnn
from deconvviz.results import Deletion


def linear_unit(seed: int = 0) -> dv.DeconvNet:
    torch.manual_seed(seed)
    return dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 1, 6, bias=False)).double())


def images(count: int, channels: int = 1, side: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(count, channels, side, side, dtype=torch.float64, generator=generator)


def inserted(order: torch.Tensor, effect: torch.Tensor) -> float:
    """The area for a linear unit, where a pixel is worth its weight times its value."""
    curve = torch.cat([torch.zeros(1).double(), effect.flatten()[order].cumsum(0)]) / effect.sum()
    return float(torch.trapezoid(curve, torch.linspace(0, 1, len(curve), dtype=torch.float64)))


def test_pixels_are_ranked_in_three_ways():
    net, x = linear_unit(), images(24)
    weight = net.model[0].weight.detach()[0]
    fires = [n for n in range(24) if float((weight * x[n]).sum()) > 0.1]
    found = deletion(net, x[fires], "0", methods=["gradient"], steps=36, seeds=0, progress=False)
    for name, ranked in (
        ("gradient", lambda image: weight.abs()),
        ("gradient, signed", lambda image: weight),
        ("gradient, times image", lambda image: weight * image),
    ):
        expected = [inserted(ranked(x[n]).flatten().argsort(descending=True), weight * x[n]) for n in fires]
        assert found.insertion_scores[name].mean == pytest.approx(sum(expected) / len(fires)), name
    assert found.insertion_scores["gradient, times image"].mean > found.insertion_scores["gradient"].mean
    assert list(found.gains) == ["gradient", *BASELINES, "gradient, signed", "gradient, times image"]


def test_rankings_sum_over_channels():
    picture, image = torch.tensor([[[1.0, -2.0]], [[-3.0, 1.0]]]), torch.tensor([[[2.0, 1.0]], [[1.0, 3.0]]])
    found = {name: heat.flatten().tolist() for name, heat in rankings(picture, image).items()}
    assert found == {"absolute": [4, 3], "signed": [-2, -1], "times image": [-1, 1]}
    grey = rankings(picture[:1], image)  # a map without colours
    assert grey["times image"].flatten().tolist() == [1.5, -4]


def test_baselines_that_know_nothing_of_the_network():
    net, x = dv.DeconvNet(nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(2, 1, 3)).double()), images(2, 3, 8)
    judged = Judged(net, x, "1", 0, (2, 3))
    assert torch.allclose(brightness(net.model, x, "1", judged.places)[:, 0], x.mean(1) - x.mean(1).amin((1, 2), True))
    near = centre(net.model, x, "1", judged.places)
    (top, bottom), (left, right) = judged.box(0)
    assert (top, bottom, left, right) == (1, 6, 2, 7)
    assert near[0, 0].argmax() == 3 * 8 + 4  # the middle of the field, which is not that of the image
    assert float(near[0, 0, 3, 4]) == pytest.approx(1)
    assert near[0, 0, 3, 3] == near[0, 0, 3, 5] == near[0, 0, 2, 4] > near[0, 0, 2, 3] > near[0, 0, 2, 2]


def verdict(own: torch.Tensor, **others: torch.Tensor) -> str:
    areas = {"random": torch.full((len(own),), 0.3).double(), "mine": own, **others}
    return verdict_of(areas, {}, ["mine"])


def test_better_than_edges_is_a_paired_test():
    """Images differ much more than methods do on one image: only pairs can tell."""
    spread = torch.linspace(0.4, 0.9, 12, dtype=torch.float64)
    wobble = torch.tensor([0.01, -0.01] * 6, dtype=torch.float64)
    assert "better than edges (+0.03)" in verdict(spread + 0.03 + wobble, edges=spread)
    assert "worse than edges (-0.03)" in verdict(spread - 0.03 + wobble, edges=spread)
    assert "no better than edges (+0.00)" in verdict(spread + wobble, edges=spread)
    once = spread.clone()
    once[0] += 0.5  # a mean above, by one image
    assert "no better than edges (+0.04)" in verdict(once + wobble, edges=spread)


def test_an_untrained_network_is_not_said_to_have_learnt():
    """It finds pixels, better than edges do: that is the architecture's doing."""
    torch.manual_seed(0)
    net, x = dv.DeconvNet(MnistCNN()), mnist_test()[0][:24]
    found = deletion(net, x, "conv2", methods=["guided"], steps=6, seeds=3, progress=False)
    assert "guided finds pixels that activate the unit" in found.verdict
    assert "but not surely more than in an untrained network" in found.verdict
    assert found.controls["untrained network"]["guided"].images == 8


def test_a_trained_network_beats_the_controls():
    found = deletion(
        dv.DeconvNet(mnist_cnn()), mnist_test()[0][:20], "conv2", methods=["guided"], steps=6, progress=False
    )
    assert "guided finds pixels that activate the unit" in found.verdict
    assert ", more than in an untrained network (+0.1" in found.verdict
    assert "another image" not in found.verdict  # its picture of another image does worse, as it should
    assert set(found.controls) == {"untrained network", "lower layers kept", "another image"}


def test_a_picture_that_is_the_same_for_every_image_is_found_out():
    """The picture of a linear unit is its filter: that of another image ranks as well."""
    model = nn.Sequential(nn.Conv2d(1, 1, 12, bias=False))
    model[0].weight.data.zero_()
    model[0].weight.data[..., 2:4, 2:4] = 1
    x = torch.rand(10, 1, 12, 12)
    found = deletion(dv.DeconvNet(model), x, "0", methods=["gradient"], seeds=0, steps=16, progress=False)
    assert set(found.controls) == {"another image"}
    assert found.verdict.endswith("and no better than its picture of another image (+0.00).")
    drawn = deletion(dv.DeconvNet(model), x, "0", methods=["gradient"], seeds=2, steps=2, progress=False)
    assert set(drawn.controls) == {"untrained network", "another image"}  # one layer has no lower ones


def test_the_controls_are_what_they_say():
    """The gain with random weights, measured again by `deletion` itself on the network with these weights."""
    from deconvviz.evidence.randomisation import randomise

    x, net = mnist_test()[0][:8], dv.DeconvNet(mnist_cnn())
    found = deletion(net, x, "conv2", methods=["gradient"], steps=4, seeds=2, random_state=5, progress=False)
    gains = []
    for seed in (5, 1005):
        model = mnist_cnn()
        randomise(model, ["conv2", "conv1"], seed)
        again = deletion(dv.DeconvNet(model), x, "conv2", methods=["gradient"], steps=4, seeds=0, progress=False)
        gains.append(again.gains["gradient"].mean)
    assert found.controls["untrained network"]["gradient"].mean == pytest.approx(sum(gains) / 2)

    def of_another(model, pixels, layer, places):
        return METHODS["gradient"](model, pixels.roll(-1, 0), layer, places)

    other = deletion(net, x, "conv2", methods={"other": of_another}, steps=4, seeds=0, progress=False)
    assert found.controls["another image"]["gradient"].mean == pytest.approx(other.gains["other"].mean)


def test_older_files_are_shown(tmp_path):
    found = deletion(linear_unit(), images(8), "0", methods=["gradient"], steps=4, progress=False)
    kept = {name: value for name, value in vars(found).items() if name != "controls"}
    names = ["gradient", "edges", "random"]
    for name, value in kept.items():
        if isinstance(value, dict):
            kept[name] = {method: value[method] for method in names}
    loaded = Deletion.load(Deletion(**kept).save(tmp_path / "old.safetensors"))
    assert loaded.figure().axes
    assert [row["method"] for row in loaded.table()] == names
    again = Deletion.load(found.save(tmp_path / "new.safetensors"))
    assert again.controls == found.controls
    assert str(again) == str(found)


def test_captums_methods_get_the_same_rankings_and_baselines():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 64, 4)).double()
    x = images(1, 1, 10)
    found = dv.compare(model, x, target=2, methods=["Saliency", "edges", "brightness", "random"], scores="all")
    judged = deletion(dv.DeconvNet(model), x, "output", channel=2, methods=["gradient"], seeds=0, progress=False)
    for ranking in ("", ", signed", ", times image"):
        for score, table in (("insertion", judged.insertion_scores), ("deletion", judged.deletion_scores)):
            assert found.scores[score + ranking]["Saliency"] == pytest.approx(table["gradient" + ranking].mean)
    for name in ("edges", "brightness", "random"):
        assert found.scores["insertion"][name] == pytest.approx(judged.insertion_scores[name].mean)
        assert found[name].by == "baseline"
        assert math.isnan(found.scores["insertion, signed"][name])  # it has one ranking
    assert found.figure().axes
