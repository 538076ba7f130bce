"""Dropout at inference: entropies by hand, areas and their intervals by brute force, and what is said of them."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.data import mnist_test
from deconvviz.errors import InputError, ModelError
from deconvviz.experiments import uncertainty
from deconvviz.experiments.uncertainty import _verdict
from deconvviz.intervals import Difference, Interval
from deconvviz.models import mnist_cnn
from deconvviz.results import Uncertainty
from deconvviz.roc import area, area_difference

DIGITS, LABELS = mnist_test()


class Coin(nn.Module):
    """Two classes. With dropout, the odds of the first are 9 to 1 or even; without it, 3 to 1."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(math.log(9.0) / 2))
        self.drop, self.norm = nn.Dropout(p), nn.BatchNorm1d(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = self.drop(images.flatten(1)[:, :1] * self.scale)
        return torch.cat([value, torch.zeros_like(value)], dim=1)


def entropy(*shares: float) -> float:
    return -sum(share * math.log(share) for share in shares)


def test_entropies_of_a_known_coin():
    """Of many draws half are 0.9 to 0.1 and half 0.5 to 0.5: the mean is 0.7 to 0.3."""
    model = Coin()
    model.drop.eval()
    model.norm.train()
    torch.manual_seed(4)
    before = torch.get_rng_state()
    labels = torch.tensor([0, 0, 1, 0])
    found = uncertainty(dv.DeconvNet(model), (torch.ones(4, 1, 1, 1), labels), samples=4000, progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    assert (model.drop.training, model.norm.training, model.training) == (False, True, True)
    assert found.right.tolist() == [True, True, False, True]
    assert found.accuracy == (0.75, 0.75)
    for name, wanted in {
        "softmax": entropy(0.75, 0.25),
        "dropout": entropy(0.7, 0.3),
        "disagreement": entropy(0.7, 0.3) - (entropy(0.9, 0.1) + entropy(0.5, 0.5)) / 2,
    }.items():
        assert found.entropy[name].tolist() == pytest.approx([wanted] * 4, abs=0.02), name
    assert found.entropy["softmax"].tolist() == pytest.approx([entropy(0.75, 0.25)] * 4, abs=1e-6)


def test_draws_repeat_with_the_seed_and_probabilities_are_no_scores():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 3), nn.Softmax(1))
    data = (DIGITS[:6], torch.arange(6) % 3)
    runs = [uncertainty(dv.DeconvNet(model), data, samples=3, random_state=seed, progress=False) for seed in (1, 1, 2)]
    assert torch.equal(runs[0].entropy["dropout"], runs[1].entropy["dropout"])
    assert not torch.equal(runs[0].entropy["dropout"], runs[2].entropy["dropout"])
    model.eval()
    with torch.no_grad():
        plain = model(DIGITS[:6]).double()
    torch.testing.assert_close(runs[0].entropy["softmax"], -(plain * plain.log()).sum(1))


def pairs(scores: torch.Tensor, positive: torch.Tensor) -> list[list[float]]:
    high, low = scores[positive].tolist(), scores[~positive].tolist()
    return [[(a > b) + (a == b) / 2 for b in low] for a in high]


def test_areas_are_those_of_all_pairs_with_ties():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 5, (135,), generator=generator).double()
    other, positive = torch.rand(135, generator=generator), torch.arange(135) % 3 == 0
    won, others = np.array(pairs(scores, positive)), np.array(pairs(other, positive))
    assert area(scores, positive).mean == pytest.approx(won.mean())
    apart = area_difference(scores, other, positive)
    assert apart.mean == pytest.approx(won.mean() - others.mean())
    difference = won - others
    rows, columns = difference.mean(1), difference.mean(0)
    assert rows.shape == (45,)
    by_row = rows.var(ddof=1) - np.mean([row.var(ddof=1) / 90 for row in difference])
    by_column = columns.var(ddof=1) - np.mean([column.var(ddof=1) / 45 for column in difference.T])
    error = math.sqrt((89 * max(0, by_row) + 44 * max(0, by_column) + difference.var()) / 4050)
    parts = rows.var(ddof=1) / 45, columns.var(ddof=1) / 90
    freedom = int(sum(parts) ** 2 / (parts[0] ** 2 / 44 + parts[1] ** 2 / 89))
    assert (apart.high - apart.low) / 2 == pytest.approx(error * stats.t.ppf(0.975, freedom), rel=1e-9)
    assert apart.p == pytest.approx(2 * stats.t.sf(abs(apart.mean) / error, freedom))
    assert area_difference(scores, scores, positive)[:2] == (0, 0)
    assert area_difference(scores, scores, positive).p == 1


@pytest.mark.parametrize(("positive", "mean"), [([True, False], 1.0), ([True, True], None), ([False, False], None)])
def test_few_items_have_no_interval(positive, mean):
    found = area(torch.tensor([2.0, 1.0]), torch.tensor(positive))
    assert found.mean == mean if mean is not None else math.isnan(found.mean)
    assert math.isnan(found.low)


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        (
            Difference(-0.002, -0.004, 0.001, 99, 0.2),
            "the difference, -0.0020 (-0.0040 to +0.0010), is not beyond chance.",
        ),
        (Difference(0.02, 0.01, 0.03, 99, 0.01), "dropout tells them better, by +0.0200 (+0.0100 to +0.0300)."),
        (Difference(-0.02, -0.03, -0.01, 99, 0.01), "dropout tells them worse, by -0.0200 (-0.0300 to -0.0100)."),
    ],
)
def test_what_is_said(gain, said):
    areas = {"dropout": Interval(0.991, 0.98, 1.0, 99), "softmax": Interval(0.993, 0.98, 1.0, 99)}
    verdict = _verdict(50, 9950, areas, gain)
    assert verdict.startswith(
        "With dropout left on, uncertainty tells the 50 wrong answers from the 9,950 right ones with an AUROC of 0.991 "
    )
    assert verdict.endswith(f"the plain softmax does so with 0.993: {said}")
    few = "too few to say whether uncertainty tells wrong answers from right ones; use at least 8."
    to_compare = "are too few to tell which is better; use at least 40."
    assert _verdict(39, 99, areas, gain).endswith(f"softmax does so with 0.993: 39 wrong answers {to_compare}")
    assert _verdict(99, 8, areas, gain).endswith(f"8 right answers {to_compare}")
    assert _verdict(1, 99, areas, gain) == f"1 wrong answer is {few}"
    assert _verdict(99, 7, areas, gain) == f"7 right answers are {few}"


def test_the_bundled_network_is_saved_shown_and_drawn(tmp_path):
    wrong = [8, 115, 247, 259, 321, 340, 358, 445]  # among others
    chosen = [*range(30), *wrong]
    data = (DIGITS[chosen], LABELS[chosen])
    found = uncertainty(dv.DeconvNet(mnist_cnn()), data, samples=3, batch_size=19, progress=False)
    loaded = Uncertainty.load(found.save(tmp_path / "one.safetensors"))
    assert str(loaded) == str(found)
    assert [row["uncertainty"] for row in found.table()] == ["softmax", "dropout", "disagreement"]
    assert found.figure().axes[1].get_ylabel() == "share of wrong answers found"
    json.dumps(found.as_json())


def test_the_command_writes_the_figure_and_says_which_items_are_broken(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, label in itertools.product(range(2), (0, 1)):
        folder = tmp_path / "digits" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((DIGITS[number, 0] * 255).byte().numpy()).save(folder / f"{number}.png")
    (tmp_path / "digits" / "1" / "no.png").write_text("no picture")
    assert cli.main(["uncertainty", "mnist", "digits", "--samples", "2", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["verdict"].endswith("use at least 8.")
    assert "no.png" in said.err
    assert {path.name for path in (tmp_path / "uncertainty").iterdir()} >= {
        "uncertainty.png",
        "uncertainty.safetensors",
    }


def test_what_cannot_be_measured_is_refused():
    net = dv.DeconvNet(mnist_cnn())
    with pytest.raises(InputError, match="item 0 has no label"):
        uncertainty(net, DIGITS[:4], progress=False)
    with pytest.raises(InputError, match="labels are the numbers of the network's classes, 0 to 9, not 12"):
        uncertainty(net, (DIGITS[:4], torch.tensor([1, 12, 2, 3])), samples=1, progress=False)
    with pytest.raises(InputError, match="samples must be a whole number of at least 1, not 0"):
        uncertainty(net, (DIGITS[:4], LABELS[:4]), samples=0, progress=False)
    for p in (None, 0.0):  # a layer that drops nothing is none
        layers = [nn.Flatten(), *([] if p is None else [nn.Dropout(p)]), nn.Linear(784, 10)]
        with pytest.raises(ModelError, match="Sequential has no dropout layer, so every draw would be the same"):
            uncertainty(dv.DeconvNet(nn.Sequential(*layers)), (DIGITS[:4], LABELS[:4]), progress=False)
    broken = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 10))
    nn.init.constant_(broken[2].bias, math.nan)
    with pytest.raises(InputError, match="the output holds 40 values that are NaN or infinite"):
        uncertainty(dv.DeconvNet(broken), (DIGITS[:4], LABELS[:4]), samples=1, progress=False)
    maps = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Dropout(0.5))
    with pytest.raises(InputError, match=r"scores of two classes or more, \(N, classes\), which Sequential does not"):
        uncertainty(dv.DeconvNet(maps), (DIGITS[:4], LABELS[:4]), samples=1, progress=False)
