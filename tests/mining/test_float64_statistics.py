"""Statistics of networks in float64, whose numbers float32 cannot hold: too large, too small, too close."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.experiments import diagnose
from deconvviz.experiments.evolution import _unit_length
from deconvviz.mining.statistics import RunningStatistics


def scaling(*factors):
    """A network in float64 whose channels are the image times each factor, behind a rectifier."""
    model = nn.Sequential(nn.Conv2d(1, len(factors), 1, bias=False), nn.ReLU()).double()
    model[0].weight.data = torch.tensor(factors, dtype=torch.float64).reshape(-1, 1, 1, 1)
    return dv.DeconvNet(model)


def test_a_scan_in_float64_keeps_numbers_that_float32_cannot_hold():
    images = torch.rand(20, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    net = scaling(1e39, 1e-50, 1e300, 5e-324, -1e39)
    top = dv.scan(net, images, k=2, batch_size=6, progress=False)
    strongest = (images.amax((1, 2, 3))[:, None] * net.model[0].weight.detach().flatten()).double()
    strongest[:, 4] = images.amin((1, 2, 3)) * -1e39
    found = top.statistics["0"]
    assert torch.equal(found.maximum, strongest.amax(0))
    assert torch.equal(found.fires, torch.tensor([1.0, 1, 1, 1, 0], dtype=torch.float64))
    assert found.dead.tolist() == [4]
    exact = [float(sum(map(Fraction, column)) / len(images)) for column in strongest.T.tolist()]
    assert found.mean.tolist() == exact
    assert bool(torch.isfinite(found.mean).all())
    assert found.histogram.sum(1).tolist() == [20] * 5


@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_mean_is_the_exact_one_rounded_once_in_any_order(batch_size):
    torch.manual_seed(0)
    values = torch.randn(500, 3, dtype=torch.float64) * torch.tensor([1.0, 1e308, 1e-320], dtype=torch.float64)
    values[:, 0] *= 10.0 ** torch.linspace(-300, 300, 500)
    values = values.clamp(-1.7e308, 1.7e308)
    running = RunningStatistics(3)
    for part in values[torch.randperm(500)].split(batch_size):
        running.add(part.T)
    assert running.mean(500).tolist() == [float(sum(map(Fraction, column)) / 500) for column in values.T.tolist()]


def test_a_mean_tells_numbers_apart_that_are_one_in_float32():
    running = RunningStatistics(1)
    running.add(torch.tensor([[1.0, 1.0 + 2**-51]], dtype=torch.float64))
    assert float(running.mean(2)) == 1 + 2**-52
    assert running.maximum.tolist() == [1.0 + 2**-51]


def test_diagnosis_in_float64():
    images = torch.rand(6, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.5
    images[:, :, 0, 0] *= -1
    net = scaling(1e39, 1e-50, 0.0)
    facts = diagnose(net, images, batch_size=4, progress=False)
    assert [(flag.problem, flag.channel) for flag in facts.flags if flag.problem == "dead"] == [("dead", 2)]
    assert facts.layers[0].active.tolist() == [15 / 16, 15 / 16, 0]


def test_shapes_of_projections_in_float64_are_compared():
    pixels = torch.tensor([[3e39, 4e39], [3e-50, 4e-50], [0, 0]], dtype=torch.float64)
    assert torch.allclose(_unit_length(pixels), torch.tensor([[0.6, 0.8], [0.6, 0.8], [0, 0]], dtype=torch.float64))
