"""When windows are used: not where something is not local, and only where they are less work."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

import deconvviz as dv
from deconvviz import windowed


def test_global_operations_use_whole_maps(used):
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.gate, self.after = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 3)

        def forward(self, x):
            x = self.conv(x)
            return self.after(x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True))))

    torch.manual_seed(0)
    net, x = dv.DeconvNet(Gated()), torch.randn(2, 3, 12, 12)
    found = net.project_units(x, "after", [(0, 1, (2, 2))])
    assert used == []
    assert "aten.sigmoid in sigmoid" in found.provenance.linearised
    net.project_units(x, "conv", [(0, 1, (2, 2))])
    assert used == ["from_images"]


@pytest.mark.parametrize(
    "options",
    [
        {"scale_factor": 2.2, "mode": "nearest"},  # makes 8 of 4, from other places than a factor of 2
        {"scale_factor": 2.2, "mode": "bilinear"},
        {"scale_factor": 1.5, "mode": "bilinear"},
        {"scale_factor": 2, "mode": "bilinear", "align_corners": True},
        {"size": 2, "mode": "bilinear"},
        {"scale_factor": 2, "mode": "bicubic"},
    ],
    ids=str,
)
def test_interpolation_by_what_is_no_whole_factor_uses_whole_maps(options, used):
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Upsample(**options), nn.Conv2d(2, 2, 1)).double()
    net, x = dv.DeconvNet(model), torch.randn(1, 1, 4, 4, dtype=torch.float64)
    whole = net.project(x, "2", position="all", window="full").pixels
    assert torch.equal(net.project(x, "2", position="all").pixels, whole)
    assert used == []


def test_rules_that_look_at_the_whole_map_use_whole_maps(used, registry):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.MaxPool2d(3, 2), nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3))
    x, units = torch.randn(1, 1, 19, 19), [(0, 1, (1, 2))]
    dv.DeconvNet(model, dv.rules.STYLES["deconvnet"].but(overlap="mean")).project_units(x, "4", units)

    @dv.rules.mirror(torch.ops.aten.relu, when=("rectifier", "balanced"))
    def balanced(op, signal):
        return signal - signal.mean((2, 3), keepdim=True)

    dv.DeconvNet(model, dv.rules.STYLES["deconvnet"].but(rectifier="balanced")).project_units(x, "4", units)
    assert used == []


def test_a_path_that_the_image_decides_uses_whole_maps(used):
    class Decides(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3)

        def forward(self, x):
            return torch.relu((self.one if x.sum() > 0 else self.other)(x))

    net = dv.DeconvNet(Decides())
    for x in (torch.ones(1, 1, 6, 6), -torch.ones(1, 1, 6, 6)):
        whole = net.project_units(x, "relu", [(0, 1, (2, 2))], window="full")
        assert torch.equal(net.project_units(x, "relu", [(0, 1, (2, 2))]).pixels, whole.pixels)
    assert used == []


def test_a_model_that_was_changed_is_looked_at_again(used):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3)).double()
    net, x, units = dv.DeconvNet(model), torch.randn(1, 1, 9, 9, dtype=torch.float64), [(0, 1, (1, 2))]

    def same():
        whole = net.project_units(x, "2", units, window="full")
        return torch.allclose(net.project_units(x, "2", units).pixels, whole.pixels, atol=1e-13)

    assert same()
    with torch.no_grad():
        model[0].weight.mul_(-2)
    assert same()
    model[1] = nn.SiLU()
    assert same()
    model[2].dilation = (2, 2)
    assert same()
    model[0].weight = nn.Parameter(torch.randn_like(model[0].weight))
    assert same()


def test_weights_that_are_computed_anew_in_every_run(used):
    torch.manual_seed(0)
    normalised = nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 3, 3))
    model = nn.Sequential(normalised, nn.ReLU(), nn.Conv2d(3, 2, 3)).double()
    net, x, units = dv.DeconvNet(model), torch.randn(1, 1, 9, 9, dtype=torch.float64), [(0, 1, (1, 2))]
    for _ in range(2):
        whole = net.project_units(x, "2", units, window="full").pixels
        assert torch.allclose(net.project_units(x, "2", units).pixels, whole, atol=1e-13)
        with torch.no_grad():
            normalised.parametrizations.weight.original0.mul_(-3)
    assert used == ["from_images"] * 2


def test_autocast_runs_other_operations(used):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3))
    net, x, units = dv.DeconvNet(model), torch.rand(1, 1, 9, 9), [(0, 1, (1, 2))]
    plain = net.project_units(x, "2", units).units[0].activation
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = net.project_units(x, "2", units)
        whole = net.project_units(x, "2", units, window="full")
    assert cast.units[0].activation == whole.units[0].activation != plain
    assert torch.allclose(cast.pixels, whole.pixels, atol=1e-2 * float(whole.pixels.abs().max()))
    assert used == ["from_images"] * 2


def test_windows_are_only_used_where_they_are_less_work(monkeypatch):
    calls = []
    original = windowed.Windowed.from_images
    monkeypatch.setattr(windowed.Windowed, "from_images", lambda self, *rest: calls.append(1) or original(self, *rest))
    net = dv.DeconvNet(torchvision.models.vgg11(weights=None))
    x = torch.rand(4, 3, 224, 224)
    net.project_units(x, "features.3", [(n, n, (30, 40)) for n in range(4)])
    assert calls == [1]
    small = torch.rand(1, 3, 32, 32)
    net.project_units(small, "features.16", [(0, 0, (0, 0))])
    assert calls == [1]
