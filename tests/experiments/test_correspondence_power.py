"""What the draws of a control can find: by simulation, and in the verdict."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.experiments import correspondence
from deconvviz.results.correspondence import chance, power


@pytest.mark.parametrize(("count", "effect"), [(20, 0.0), (20, 0.2), (40, 0.2), (40, 0.1), (19, 0.3)])
def test_power_is_that_of_a_simulation(count, effect):
    random, spread = np.random.default_rng(0), 0.08
    draws = torch.linspace(-1.6, 1.6, count, dtype=torch.float64)
    draws = 1 + spread * (draws - draws.mean()) / draws.std()
    found = [
        chance(torch.from_numpy(random.normal(1, spread, count)), random.normal(1 - effect, spread)) <= 0.05
        for _ in range(4000)
    ]
    assert power(draws, effect) == pytest.approx(np.mean(found), abs=0.03)


def test_the_false_positives_are_at_most_one_in_twenty():
    for count in (19, 20, 39, 60):
        assert power(torch.randn(count, dtype=torch.float64) * 0.1 + 1, 0.0) <= 0.0501
    assert power(torch.rand(18), 0.5) == 0


def test_the_power_is_said():
    torch.manual_seed(1)
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(400, 30)).double())
    x = torch.randn(4, 1, 12, 12, dtype=torch.float64)
    found = correspondence(net, x, {"eye": [(3, 3, 8, 8)] * 4}, layers="2", draws=20, progress=False)
    share = f"{power(found.average(found.control, 'eye')[-1], 0.2):.0%}"
    assert found.verdict.endswith(
        f"; with 4 images and 20 draws, a Delta lower by 20% would be found {share} of the time."
    )
    few = correspondence(net, x, {"eye": [(3, 3, 8, 8)] * 4}, layers="2", draws=5, progress=False)
    assert "would be found" not in few.verdict
