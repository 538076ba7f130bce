"""Linear decoding by depth: all of the image from what can be inverted, nothing from what is constant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.experiments import decoding
from deconvviz.intervals import mean_interval
from deconvviz.models import mnist_cnn
from deconvviz.results import Decoding

QUIET: Any = {"progress": False}


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(0))


class Planted(nn.Module):
    """What can be inverted linearly, the half of that, and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.whole, self.part, self.nothing = nn.Conv2d(1, 4, 2, stride=2), nn.Conv2d(4, 2, 1), nn.Conv2d(2, 2, 1)
        with torch.no_grad():
            self.whole.weight.copy_(torch.linalg.qr(torch.randn(4, 4))[0].view(4, 1, 2, 2))
            self.part.weight.copy_(torch.eye(4)[:2].view(2, 4, 1, 1))
            self.nothing.weight.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.nothing(self.part(self.whole(x)))
        return made


def test_all_half_and_nothing() -> None:
    torch.manual_seed(0)
    found = decoding(dv.DeconvNet(Planted().eval()), images(600), seeds=2, **QUIET)
    assert found.layers == ("whole", "part", "nothing")
    everything, half, nothing = (found.recovered(layer) for layer in found.layers)
    assert everything.mean == pytest.approx(1, abs=1e-4)
    assert half.low < 0.5 < half.high
    assert nothing.mean == pytest.approx(0, abs=0.02)
    assert [row["numbers"] for row in found.table()] == [16, 8, 8]
    assert torch.isnan(found.likeness[2]).all(), "a constant map has no correlation"


def test_r_squared_by_hand() -> None:
    """Least squares by NumPy, where the penalty that is chosen is negligible."""
    torch.manual_seed(1)
    model, x = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 1, 1)).eval(), images(500)
    found = decoding(dv.DeconvNet(model), x, layers=["1"], seeds=1, random_state=5, **QUIET)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        rows, pixels = model[:2](x[order]).flatten(1).double().numpy(), x[order].flatten(1).double().numpy()
    mean, offset = rows[:300].mean(0), pixels[:300].mean(0)
    weights = np.linalg.lstsq(rows[:300] - mean, pixels[:300] - offset, rcond=None)[0]
    errors = (((rows[400:] - mean) @ weights + offset - pixels[400:]) ** 2).sum(1)
    totals = ((pixels[400:] - offset) ** 2).sum(1)
    expected = 1 - errors.sum() / totals.sum()
    assert found.recovered("1").mean == pytest.approx(expected, abs=0.01)
    share = errors.sum() / totals.sum()
    interval = mean_interval(torch.from_numpy(1 - share - (errors - share * totals) / totals.mean()))
    assert found.recovered("1").low == pytest.approx(interval.low, abs=0.02)


def test_correlation_of_maps_and_image() -> None:
    model: Any = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(2, 1, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([2.0, -3.0]).view(2, 1, 1, 1))
    found = decoding(dv.DeconvNet(model.eval()), images(20), layers=["0"], seeds=1, **QUIET)
    assert torch.allclose(found.likeness, torch.ones(1, 4, dtype=torch.float64))


@pytest.fixture(scope="module")
def digits() -> Decoding:
    return decoding(dv.DeconvNet(mnist_cnn()), mnist_test()[0], images=200, seeds=3, **QUIET)


def test_the_network_for_digits_discards_with_depth(digits: Decoding) -> None:
    assert digits.layers == ("conv1", "relu1", "conv2", "relu2", "fc1", "relu3", "fc2")
    recovered = [digits.recovered(layer).mean for layer in digits.layers]
    assert recovered == sorted(recovered, reverse=True)
    for layer in ("relu1", "conv2", "relu2"):
        assert digits.recovered(layer).mean < min(digits.recovered_at_random(layer))
    assert "Compared with random weights, it recovers less from" in digits.verdict
    assert digits.decoded.shape == digits.random_decoded.shape == (7, 3, 1, 28, 28)


def test_it_is_saved_and_drawn(digits: Decoding, tmp_path: Path) -> None:
    loaded = Decoding.load(digits.save(tmp_path / "decoding.safetensors"))
    assert str(loaded) == str(digits)
    assert loaded.figure().axes
    few = decoding(dv.DeconvNet(mnist_cnn()), mnist_test()[0], images=20, layers=["conv1", "fc2"], seeds=1, **QUIET)
    assert few.verdict.endswith("4 held-out images: too few to say more.")
    same = decoding(dv.DeconvNet(mnist_cnn()), torch.ones(20, 1, 28, 28), layers=["conv1"], seeds=1, **QUIET)
    assert same.verdict == "All held-out images are the same, so there is nothing to recover."
    assert same.figure().axes


def test_signals_are_decoded() -> None:
    model = nn.Sequential(nn.Conv1d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv1d(8, 2, 3)).eval()
    found = decoding(dv.DeconvNet(model), torch.randn(60, 2, 40), seeds=1, **QUIET)
    assert found.recovered("0").mean > found.recovered("2").mean
    assert found.figure().axes
