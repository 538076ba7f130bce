"""When windows are used: not where something is not local, and only where they are less work."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

import deconvviz as dv
from deconvviz.models import mnist_cnn
from deconvviz.projection import crop_cost, crop_plan, cropped
from tests.helpers.forced_windows import cpu_costs


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
    assert used == ["project_images"]


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
    assert used == ["project_images"] * 2


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
    assert used == ["project_images"] * 2


def test_windows_are_only_used_where_they_are_less_work(monkeypatch):
    calls, looks = [], []
    for name in ("project_images", "project_recorded"):
        original = getattr(cropped, name)
        for module in (cropped, crop_plan):
            monkeypatch.setattr(
                module, name, lambda *rest, n=name, o=original: calls.append(n) or o(*rest), raising=False
            )
    regions = crop_cost.regions
    monkeypatch.setattr(crop_cost, "regions", lambda *arguments: looks.append(1) or regions(*arguments))
    net = dv.DeconvNet(torchvision.models.vgg11(weights=None))
    large, small = torch.rand(4, 3, 224, 224), torch.rand(1, 3, 32, 32)
    everywhere = [(0, 0, (row, column)) for row in (0, 1) for column in (0, 1)]
    net.project_units(large, "features.3", [(n, n, (30, 40)) for n in range(4)])
    assert calls == ["project_images"]
    net.project_units(small, "features.16", everywhere)  # each of which sees nearly all, from a place of its own
    assert calls == ["project_images"]
    net.project(large[:1], "features.8", channel=0)
    assert calls == ["project_images", "project_recorded"]
    # On maps as small as these no operation is as much work as to write it on a tape, which is seen at once.
    looks.clear()
    net.project(small[..., :16, :16], "features.8", channel=0)
    assert calls == ["project_images", "project_recorded"]
    assert not looks


def test_each_group_of_units_has_a_tape_to_be_written(monkeypatch):
    """If they are much work, units in the middle share one, and those at the border have another."""
    cpu_costs(monkeypatch, large=0)
    net, x = dv.DeconvNet(mnist_cnn()), torch.rand(1, 1, 28, 28)
    trace = net.trace(x, "conv2")
    layer = trace.layer("conv2").value
    middle, apart = [(0, 0, (6, 6)), (0, 1, (6, 8))], [(0, 0, (6, 6)), (0, 1, (0, 0))]
    alike, unlike = (crop_cost.UnitCrops.of(trace.tape, net.style, layer, units) for units in (middle, apart))
    assert (alike.cost, alike.whole_cost) == (unlike.cost, unlike.whole_cost)
    spared, operations = 2 * (alike.whole_cost - alike.cost), 4  # convolution, rectifier, pooling, convolution
    cpu_costs(monkeypatch, writing=0.99 * spared / operations)
    assert alike.pay_back()
    assert not unlike.pay_back()
    assert alike.pay_both_ways(1)
    cpu_costs(monkeypatch, writing=0.49 * spared / operations)
    assert unlike.pay_back()
    cpu_costs(monkeypatch, writing=1.01 * spared / operations)
    assert not alike.pay_back()
    # Recording the image, too, is a matter of operations: one tape against the other, and two against it.
    cpu_costs(monkeypatch, writing=1e12)
    assert alike.pay_both_ways(1)
    assert not unlike.pay_both_ways(1)
