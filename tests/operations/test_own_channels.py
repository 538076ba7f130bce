"""On crops, the convolution before units makes and mirrors each unit's own channel alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.operations import own_channels as module
from deconvviz.projection import crops
from tests.helpers.forced_windows import cpu_costs

LAYERS = {
    "2-D": (nn.Conv2d(4, 6, 3, padding=1), True),
    "without bias": (nn.Conv2d(4, 6, (2, 3), bias=False), True),
    "strided": (nn.Conv2d(4, 6, 3, stride=2, padding=1), True),
    "of one position": (nn.Conv2d(4, 6, 1), True),
    "of one channel": (nn.Conv2d(4, 1, 3), True),
    "in groups": (nn.Conv2d(4, 6, 3, groups=2), False),
    "dilated": (nn.Conv2d(4, 6, 3, dilation=2), False),
    "transposed": (nn.ConvTranspose2d(4, 6, 3), False),
}


@pytest.fixture
def taken(monkeypatch):
    """Whether own channels were asked for, and had, at each call."""
    cpu_costs(monkeypatch, writing=0)
    found = []

    def asked(operation, style):
        found.append(module.has_own_channels(operation, style))
        return found[-1]

    monkeypatch.setattr(crops, "has_own_channels", asked)
    return found


def network(last, kind=nn.Conv2d):
    torch.manual_seed(3)
    for parameter in last.parameters():
        nn.init.normal_(parameter)
    return nn.Sequential(kind(2, 4, 3, padding=1), nn.Softplus(), last).double().eval()


def agree(net, x, units, *, layer="2", **options):
    found = net.project_units(x, layer, units, **options)
    expected = net.project_units(x, layer, units, window="full", **options)
    torch.testing.assert_close(found.pixels, expected.pixels, rtol=1e-10, atol=1e-12)
    activations = [[unit.activation for unit in result.units] for result in (found, expected)]
    assert activations[0] == pytest.approx(activations[1], rel=1e-10)
    assert expected.pixels.abs().amax(tuple(range(1, x.ndim))).min() > 0


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", LAYERS)
def test_units_are_those_of_whole_maps(taken, name, layout):
    last, expected = LAYERS[name]
    model = network(last).to(memory_format=layout)
    x = torch.randn(3, 2, 20, 18).double()
    channels, rows, columns = model(x).shape[1:]
    units = [(n % 3, n * 5 % channels, (n * 7 % rows, n * 3 % columns)) for n in range(8)]
    units += [(0, 0, (0, 0)), (2, channels - 1, (rows - 1, columns - 1)), (0, 0, (0, 0))]
    agree(dv.DeconvNet(model, "gradient"), x, units)
    assert taken
    assert set(taken) == {expected}


@pytest.mark.parametrize("style", ["deconvnet", "guided", "gradient"])
@pytest.mark.parametrize("seed", ["activation", "one"])
def test_every_style_and_seed_forward_and_from_a_trace(taken, style, seed):
    net, x = dv.DeconvNet(network(nn.Conv2d(4, 6, 3)), style), torch.randn(2, 2, 20, 18).double()
    units = [(0, 3, (5, 6)), (1, 3, (0, 15)), (1, 5, (5, 6))]
    agree(net, x, units, seed=seed)
    forward = len(taken)
    trace = net.trace(x)
    found, expected = (net.project_units(trace, "2", units, seed=seed, window=window) for window in ("auto", "full"))
    torch.testing.assert_close(found.pixels, expected.pixels, rtol=1e-10, atol=1e-12)
    assert len(taken) > forward
    assert all(taken)


@pytest.mark.parametrize(("kind", "rank"), [(nn.Conv1d, 1), (nn.Conv3d, 3)])
def test_sequences_and_volumes(taken, kind, rank):
    model, x = network(kind(4, 6, 3), kind), torch.randn(2, 2, *[14] * rank).double()
    agree(dv.DeconvNet(model), x, [(0, 3, (5,) * rank), (1, 5, (11,) * rank)])
    assert taken == [True]


def test_halves_are_summed_as_before(taken):
    net, x = dv.DeconvNet(network(nn.Conv2d(4, 6, 3)).bfloat16()), torch.randn(1, 2, 20, 18).bfloat16()
    net.project_units(x, "2", [(0, 3, (5, 6))])
    assert taken == [False]


def test_layers_behind_the_convolution_are_made_of_all_channels(taken):
    net, x = dv.DeconvNet(network(nn.Conv2d(4, 6, 3))), torch.randn(1, 2, 20, 18).double()
    for layer in ("0", "1", "2"):
        agree(net, x, [(0, 3, (5, 6))], layer=layer)
    assert taken == [True, False, True]
