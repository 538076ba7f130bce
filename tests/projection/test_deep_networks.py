"""Networks of very many operations: no recursion, and work that grows with their number."""

from __future__ import annotations

import tracemalloc

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import deconvviz as dv
from deconvviz.projection import layer_windows, receptive_field
from deconvviz.reading.fed_units import FeederSearch
from deconvviz.recording.recorder import record
from tests.helpers.random_networks.network import random_network


class Residual(nn.Module):
    """So many steps of x + f(x), each a 3 x 3 convolution and a rectifier."""

    def __init__(self, steps):
        super().__init__()
        self.convolution, self.steps = nn.Conv2d(2, 2, 3, padding=1), steps

    def forward(self, x):
        for _ in range(self.steps):
            x = x + 0.1 * self.convolution(x).relu()
        return x


class Sum(nn.Module):
    def __init__(self, terms):
        super().__init__()
        self.bias, self.terms = nn.Parameter(torch.zeros(1)), terms

    def forward(self, x):
        for _ in range(self.terms):
            x = x + self.bias
        return x


def test_a_thousand_additions_are_projected_and_listed():
    net, x = dv.DeconvNet(Sum(1100)), torch.rand(1, 2, 3, 3)
    trace = net.trace(x, "output")
    projection = net.project(trace, "output", channel=1)
    assert projection.pixels.sum() == pytest.approx(float(x[0, 1].max()))
    table = net.layers(trace)
    assert len(table) == 1101
    assert table["output"].receptive_field == (1, 1)


def test_operations_that_are_alike_are_looked_at_once_for_all_layers(monkeypatch):
    looked = []
    original = layer_windows._passage
    monkeypatch.setattr(layer_windows, "_passage", lambda *given: looked.append(given[0]) or original(*given))
    monkeypatch.setattr(receptive_field, "windows_at_inputs", None)
    counts, peaks = [], []
    for steps in (20, 40):
        tape = record(Residual(steps), torch.zeros(1, 2, 8, 8))
        looked.clear()
        tracemalloc.start()
        found = receptive_field.layer_geometry(tape, list(tape.layers.values()))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        counts.append(len(looked))
        assert found[-1].receptive_field == (1 + 2 * steps,) * 2
        assert found[-1].offset == (-steps,) * 2
    assert counts[1] == counts[0] < 12
    assert peaks[1] < 3 * peaks[0]


class AlikeButForOneArgument(nn.Module):
    """Operations that a signature has to tell apart: each branch sees another window."""

    def __init__(self):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(2, 2, 3, padding=padding, dilation=dilation)
            for padding, dilation in [(1, 1), (1, 2), (2, 2), ((1, 0), 1)]
        )

    def forward(self, x):
        large = F.max_pool2d(x, 2, 1, ceil_mode=True), F.max_pool2d(x, 2, 1, padding=1)
        moved = x[:, :, 1:-1], x[:, :, :-2], x.flip(2), x.flip(3), torch.cat([x, x[:, :1]], 1)
        return (
            *(branch(x) for branch in self.branches),
            *large,
            *moved,
            torch.cat([x, x], 2),
            torch.cat([x[:, :1], x], 1),
        )


class Many(nn.Module):
    """Lines that meet, end and go on: other slopes, rounding, parts of channels, axes that move."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.up = nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1)
        self.same = nn.ConvTranspose2d(4, 4, 3)
        self.linear = nn.Linear(4, 6)

    def forward(self, x):
        a = self.a(x)
        joined = torch.cat([self.b(a), a, self.same(a)[:, :, 1:-1, 1:-1]], 1)
        parts = joined.chunk(3, 1)
        pooled = F.avg_pool2d(F.max_pool2d(joined, 3, 2, padding=1), 2, ceil_mode=True)
        beside = torch.cat([parts[1], parts[0]], 3)
        gate = parts[0] * joined.mean((2, 3), keepdim=True)[:, :4]
        tokens = self.linear(parts[2].flatten(2).transpose(1, 2))
        last = self.linear(a.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        halved = F.adaptive_avg_pool2d(a, (6, 4)) + F.interpolate(a, size=(6, 4))
        larger = self.b(self.up(a)) + F.interpolate(self.b(a), scale_factor=2)
        stacked = torch.stack([a, parts[0]], 1).unbind(2)[1]
        return pooled, beside, gate, tokens, last, halved, larger, stacked, F.pixel_unshuffle(a, 2), x + x[:, :1]


def _case(number):
    if number == "many":
        return Many(), torch.zeros(2, 3, 24, 16)
    if number == "alike":
        return AlikeButForOneArgument(), torch.zeros(2, 2, 9, 9)
    network = random_network(number)
    return network.built(), network.images()


@pytest.mark.parametrize("number", ["many", "alike", *range(12)])
def test_what_is_composed_is_what_is_walked(number):
    model, x = _case(number)
    tape = record(model, x)
    layers = [layer for layer in tape.layers.values() if layer.value.carries_signal and layer.value.shape]
    found = receptive_field.layer_geometry(tape, layers)
    for layer, one in zip(layers, found, strict=True):
        probes = receptive_field._probes(layer.value.shape, one.channel_axis)
        alone = receptive_field._walked(tape, [layer.value], [probes])[0][:, 2:]
        (walked,) = receptive_field._summaries(alone[None], layer.value.shape, one.channel_axis)
        assert repr(walked) == repr(one)


class Doubling(nn.Module):
    """A thousand times the sum of a value with itself rectified, between two convolutions."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 3, 1)

    def forward(self, x):
        x = self.first(x)
        for _ in range(600):
            x = 0.5 * (x + x.relu())
        return self.last(x)


def test_what_feeds_a_channel_is_found_through_a_thousand_sums():
    model, x = Doubling().double(), torch.randn(1, 1, 2, 2, dtype=torch.float64)
    found = FeederSearch(dv.DeconvNet(model), "last", ["first"]).units(x, [(0, n, (1, 0)) for n in range(3)])
    with torch.no_grad():
        read = model.first(x)[0, :, 1, 0]
    doubled = torch.where(read > 0, read, read * 0.5**600)
    assert torch.allclose(found.added["first"], model.last.weight.detach()[:, :, 0, 0] * doubled)
