"""Verdicts from so few samples that chance would do the same say that, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.evidence import deletion, localisation
from deconvviz.experiments import correspondence, diagnose

BOX = torch.tensor([[4, 7], [6, 9]])


def reads_one_patch() -> dv.DeconvNet:
    """A unit that is the sum of a 3 x 3 patch of a 12 x 12 image."""
    model = nn.Sequential(nn.Conv2d(1, 1, 12, bias=False)).double()
    model[0].weight.data.zero_()
    model[0].weight.data[0, 0, 4:7, 6:9] = 1
    return dv.DeconvNet(model)


# Correspondence


@pytest.mark.parametrize(
    ("draws", "words"),
    [
        (
            1,
            "1 draw of random places is too few to say how consistently covering eye changes the images (Delta 0.000; ",
        ),
        (
            18,
            "18 draws of random places are too few to say how consistently covering eye changes the images (Delta 0.0",
        ),
    ],
)
def test_draws_that_can_never_be_sure_decide_nothing(draws, words):
    """The same image twice: no random place is as alike as the part, and still 1 / (1 + 18) is above 0.05."""
    torch.manual_seed(1)
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(400, 30)).double())
    x = torch.randn(1, 1, 12, 12, dtype=torch.float64).expand(2, -1, -1, -1)
    asked = {"parts": {"eye": [(3, 3, 8, 8)] * 2}, "layers": "2", "progress": False}
    found = correspondence(net, x, draws=draws, **asked)
    assert words in found.verdict
    assert found.verdict.endswith("). Use at least 19 draws.")
    assert "consistently than" not in found.verdict
    assert found.average(found.control, "eye").min() > 0
    assert (
        "eye changes the images more consistently than random places do"
        in correspondence(net, x, draws=19, **asked).verdict
    )


# Deletion and localisation


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_ranking_is_not_told_from_chance_on_few_images(count):
    x = torch.rand(8, 1, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    few = deletion(reads_one_patch(), x[:count], "0", methods=["gradient"], steps=12)
    assert few.gains["gradient"].mean > 0.3
    images = "1 image is" if count == 1 else f"{count} images are"
    assert few.verdict.startswith("gradient gains +0.")
    assert few.verdict.endswith(f" over a random ranking: {images} too few to say; use at least 8.")
    enough = deletion(reads_one_patch(), x, "0", methods=["gradient"], steps=12)
    assert enough.verdict.startswith("gradient finds pixels that activate the unit")


def pointed(count: int, box: torch.Tensor) -> str:
    """What is said where each strongest pixel lies in the object, and that of edges does not."""
    x = torch.zeros(count, 1, 12, 12, dtype=torch.float64)
    x[:, :, 4:7, 6:9] = 0.01
    x[:, :, 1:3, 1:3] = 1
    return localisation(reads_one_patch(), x, box.expand(count, 2, 2), layer="0", methods=["gradient"]).verdict


@pytest.mark.parametrize(
    ("count", "box", "words"),
    [
        (1, BOX, "100% of the images, 1 image is too few to say; use at least 8 ("),  # 1 of 16 pixels
        (7, BOX, "100% of the images, 7 images are too few to say; use at least 8 ("),
        (8, BOX, "100% of the images, better than every baseline ("),
        (8, torch.tensor([[3, 12], [0, 12]]), "100% of the images, which chance would do, too ("),
        (8, torch.tensor([[0, 12], [0, 12]]), "100% of the images, which chance would do, too ("),
    ],
)
def test_hits_are_not_told_from_chance_or_edges_on_few_images(count, box, words):
    assert words in pointed(count, box)


# Experiments


def test_a_probe_of_so_few_images_that_all_right_is_no_surprise():
    pytest.importorskip("sklearn", reason="needs scikit-learn: deconvviz[experiments]")
    from deconvviz.experiments import probe

    images, labels = torch.rand(8, 1, 4, 4), torch.arange(8) % 2
    images += 5 * labels[:, None, None, None]
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten()))
    few = probe(net, (images[:4], labels[:4]), layers=["0"], folds=2, progress=False)
    assert few.verdict == (
        "4 images are too few to say whether a layer predicts the classes: chance is 0.500, and even classifying "
        "all of them correctly would not be significant."
    )
    assert (
        "is right on 1.000 of the images" in probe(net, (images, labels), layers=["0"], folds=2, progress=False).verdict
    )


def test_correlations_of_two_or_three_values_make_no_duplicates():
    """Of two images any two channels of a linear layer have a correlation of 1 or -1."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 40)).double()
    x = torch.randn(30, 1, 12, 12, dtype=torch.float64)
    for count in (2, 3):
        few = diagnose(dv.DeconvNet(model), x[:count], layers=["1"], progress=False)
        assert few.flagged("duplicate") == ()
        assert "; there are too few values to find duplicates in 1" in few.verdict
    model[1].weight.data[7] = 3 * model[1].weight.data[5]  # as the filters say, whatever the values
    assert [
        flag.channel for flag in diagnose(dv.DeconvNet(model), x[:2], layers=["1"], progress=False).flagged("duplicate")
    ] == [7]
    many = diagnose(dv.DeconvNet(model), x, layers=["1"], progress=False)
    assert [(flag.channel, flag.other) for flag in many.flagged("duplicate")] == [(7, 5)]
    assert "so few values" not in many.verdict


def test_one_channel_has_nothing_to_be_like():
    found = diagnose(dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 1, 3))), torch.rand(1, 1, 3, 3), progress=False)
    assert "so few values" not in found.verdict
