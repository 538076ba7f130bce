"""What makes walks of many units fast changes no number: folded norms, transposes by phases, signals written over."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import deconvviz as dv
from deconvviz.operations import convolution
from deconvviz.projection.batchnorm_folding import folded
from deconvviz.rules import STYLES
from tests.helpers.autograd_reference import randomised, reference, relative_error


class Norms(nn.Module):
    """Convolutions whose norms can be folded, and ones whose cannot."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Conv2d(3, 3, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.read_twice = nn.Conv2d(3, 4, 3)
        self.plain = nn.BatchNorm2d(4, affine=False)
        self.up = nn.ConvTranspose2d(4, 3, 2, stride=2)
        self.behind_up = nn.BatchNorm2d(3)
        self.grouped = nn.Conv2d(3, 6, 3, groups=3, dilation=2)
        self.last = nn.BatchNorm2d(6)

    def forward(self, x):
        x = self.second(self.shared(F.relu(self.first(self.shared(x)))))  # one filter bank under two norms
        h = self.read_twice(x)
        h = F.relu(self.plain(h)) + 0.3 * h
        return self.last(self.grouped(F.relu(self.behind_up(self.up(h)))))


def projected(model, x, layer, style="deconvnet", channels=4):
    """All of one sample's units in one walk, and the reference."""
    net = dv.DeconvNet(model, style)
    place = tuple(size // 2 for size in net.trace(x, layer).activations[layer].shape[2:])
    units = [(0, channel, *place) for channel in range(channels)]
    found = net.project(x, layer, channel=list(range(channels)), position=place, window="full").pixels
    expected = reference(model, x, layer, units, style)[1]
    return found.flatten()[None], expected.flatten()[None]  # a unit by itself may be dead


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("layer", ["last", "grouped", "read_twice"])
def test_folded_norms_change_nothing(style, layer, monkeypatch):
    monkeypatch.setattr("deconvviz.projection.backward.WORTH_FOLDING", 1)
    torch.manual_seed(0)
    model, x = randomised(Norms()).double(), torch.randn(1, 3, 12, 12, dtype=torch.float64)
    found, expected = projected(model, x, layer, style)
    assert relative_error(found, expected) <= 1e-10


def test_norms_are_folded_where_a_convolution_alone_is_in_front():
    model, x = randomised(Norms()), torch.randn(1, 3, 12, 12)
    trace = dv.DeconvNet(model).trace(x)
    left = [op.where for op in folded(trace.tape, trace.style, trace.layer("last").value).operations]
    assert {"shared", "shared_1", "plain", "behind_up"} <= set(left)
    assert not {"first", "second", "last"} & set(left)
    kept = [op.where for op in folded(trace.tape, trace.style, trace.layer("grouped").value).operations]
    assert "last" in kept  # its input is the layer that is projected


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [
        (7, 2, 3, (32, 32)),
        (7, 2, 3, (33, 30)),
        (11, 4, 2, (40, 43)),
        (4, 4, 0, (18, 16)),
        (2, 3, 0, (15, 17)),
        (3, 2, 1, (9, 1)),
        ((5, 2), 3, (0, 1), (21, 20)),
        (1, 2, 0, (8, 7)),
        (3, 2, 2, (8, 9)),
    ],
)
def test_a_strided_stem_is_transposed_by_its_phases(channels, kernel, stride, padding, size):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(channels, 6, kernel, stride, padding)).double()
    x = torch.randn(1, channels, *size, dtype=torch.float64, requires_grad=True)
    made = model(x)
    units = [(0, channel, *place) for channel, *place in torch.ones(made.shape[1:]).nonzero().tolist()]
    found = dv.DeconvNet(model).project(x, "0", position="all", seed="one", window="full")
    assert [(unit.sample, unit.channel, *unit.position) for unit in found.units] == units
    expected = [torch.autograd.grad(made[unit], x, retain_graph=True)[0][0] for unit in units]
    assert relative_error(found.pixels, torch.stack(expected)) <= 1e-12


class Shared(nn.Module):
    """Signals that several rectifiers get, each of which could spoil the others' by writing over it."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(2, 2, 3, padding=1) for _ in range(3))

    def forward(self, x):
        h = self.a(x)
        left, right = F.relu(h) - 0.5 * h, F.leaky_relu(h)
        both = F.relu(self.b(left)) + torch.cat([h[:, 1:], right[:, :1]], 1) + right
        return self.c(F.relu(both).view(x.shape) + both.masked_fill(x > 0, 0))


def windowed_filters(monkeypatch):
    """The calls that went through windows, by the input's shape and the window's size."""
    calls, direct = [], convolution._from_windows

    def counted(op, signal, weight, shape, bounds):
        calls.append((tuple(shape[2:]), tuple(bounds[1])))
        return direct(op, signal, weight, shape, bounds)

    monkeypatch.setattr("deconvviz.operations.convolution._from_windows", counted)
    return calls


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [
        (1, 1, 0, 1),
        (3, 1, 1, 1),
        (3, 2, 1, 1),
        (3, 1, 2, 2),
        (2, 2, 0, 1),
        ((3, 1), (1, 2), (2, 0), (2, 1)),
        (1, 2, 1, 1),
    ],
)
def test_near_their_units_signals_are_filtered_on_windows(kernel, stride, padding, dilation, monkeypatch):
    calls = windowed_filters(monkeypatch)
    torch.manual_seed(1)
    below = nn.Conv2d(3, 6, kernel, stride, padding, dilation)
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), below, nn.ReLU(), nn.Conv2d(6, 5, 3, padding=1))
    model, x = model.double(), torch.randn(2, 2, 17, 16, dtype=torch.float64)
    net = dv.DeconvNet(model)
    rows, columns = net.trace(x, "4").activations["4"].shape[2:]
    # At every corner and inside, so that windows reach over each border; one unit for each position and channel.
    for place in ((0, 0), (rows - 1, columns - 1), (0, columns - 1), (rows // 2, columns // 2)):
        found = net.project(x, "4", channel=list(range(5)), position=place, window="full").pixels
        units = [(sample, channel, *place) for sample in range(2) for channel in range(5)]
        expected = reference(model, x, "4", units, "deconvnet")[1]
        assert relative_error(found.flatten()[None], expected.flatten()[None]) <= 1e-10
    assert ((rows, columns), (1, 1)) in calls
    assert {shape for shape, _ in calls} >= {(17, 16)}  # the second one, too


def test_units_at_different_places_share_a_window(monkeypatch):
    calls = windowed_filters(monkeypatch)
    torch.manual_seed(2)
    model = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)).double()
    x = torch.randn(1, 2, 20, 20, dtype=torch.float64)
    net = dv.DeconvNet(model)
    places = [(channel, (19 * channel // 7, 19 - 3 * (channel % 3))) for channel in range(8)]
    found = net.project_units(x, "2", [(0, *unit) for unit in places], window="full").pixels
    expected = reference(model, x, "2", [(0, channel, *place) for channel, place in places], "deconvnet")[1]
    assert relative_error(found, expected) <= 1e-10
    assert calls == [((20, 20), (1, 1)), ((20, 20), (3, 3))]


def test_a_signal_that_fills_its_map_is_not_looked_at_again(monkeypatch):
    calls = windowed_filters(monkeypatch)
    looked, direct = [], convolution._signal_bounds
    monkeypatch.setattr(
        "deconvviz.operations.convolution._signal_bounds",
        lambda *a: looked.append(a[0].made.id not in a[0].dense) or direct(*a),
    )
    torch.manual_seed(3)
    model = nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(5)))
    dv.DeconvNet(model).project(torch.randn(1, 4, 6, 6), "4", channel=[0, 1, 2, 3], position=(3, 3), window="full")
    assert calls == [((6, 6), (1, 1))]  # nine taps of nine positions are more than twice 36
    assert looked == [True, True, False, False, False]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("fold", [1, 100])
def test_a_signal_that_is_read_elsewhere_is_not_written_over(style, fold, monkeypatch):
    monkeypatch.setattr("deconvviz.projection.backward.WORTH_FOLDING", fold)
    torch.manual_seed(1)
    found, expected = projected(Shared().double(), torch.randn(1, 2, 9, 9, dtype=torch.float64), "c", style, 2)
    assert relative_error(found, expected) <= 1e-10


def test_a_reconstruction_leaves_the_activations_it_started_from():
    torch.manual_seed(0)
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.ELU(), nn.ELU()))
    trace = net.trace(torch.randn(1, 1, 6, 6))
    before = trace.activations["3"].clone()
    assert net.reconstruct(trace, "3").pixels.norm() > 0
    assert torch.equal(trace.activations["3"], before)
