"""Units of all places travel together, and what they are given does not depend on their company."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import deconvviz as dv
from tests.helpers.autograd_reference import randomised
from tests.helpers.forced_windows import cpu_costs


class Branches(nn.Module):
    """A value with two readers, one of which pads with minus infinity; the other's derivative reads it, too."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        x = self.first(x)
        pooled = F.max_pool2d(x, 3, stride=1, padding=1)
        return self.last(torch.cat([F.silu(x), pooled + F.avg_pool2d(x, 3, 1, 1)], 1))


NETWORKS = {
    "dilated and strided": lambda: [
        *(nn.Conv2d(2, 4, 3, padding=2, dilation=2), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.SiLU()),
        nn.Conv2d(4, 3, 3, padding=1),
    ],
    "max pooling": lambda: [
        *(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1, ceil_mode=True)),
        *(nn.Conv2d(4, 3, 3, padding=1), nn.MaxPool2d(2, 1, padding=1), nn.Conv2d(3, 3, 3, padding=1)),
    ],
    "average pooling": lambda: [
        *(nn.Conv2d(2, 4, 3, padding=1), nn.AvgPool2d(3, 2, 1, count_include_pad=False, ceil_mode=True), nn.Tanh()),
        *(nn.AvgPool2d(3, 1, 1), nn.Conv2d(4, 3, 3, padding=1)),
    ],
    "transposed": lambda: [
        *(nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU()),
        *(nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1), nn.Upsample(scale_factor=2, mode="bilinear")),
        nn.Conv2d(4, 3, 3, padding=1),
    ],
    "branches": lambda: [Branches()],
    "padded apart": lambda: [nn.ZeroPad2d((2, 1, 0, 3)), nn.Conv2d(2, 4, 3), nn.ELU(), nn.Conv2d(4, 3, 3, padding=1)],
}


@pytest.mark.parametrize("large", [0, 1e30], ids=["much work", "little work"])
@pytest.mark.parametrize("size", [(11, 8), (5, 3)], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_place_of_several_images_in_one_batch(name, size, large, used, monkeypatch):
    """On the small map a window reaches over both edges at once."""
    cpu_costs(monkeypatch, large=large)
    torch.manual_seed(0)
    net = dv.DeconvNet(randomised(nn.Sequential(*NETWORKS[name]())).double())
    x = torch.randn(3, 2, *size, dtype=torch.float64)
    layer = str(len(NETWORKS[name]()) - 1)
    shape = net.layers(x[:1])[layer].shape
    units = [((row + column) % 3, column % 3, (row, column)) for row in range(shape[2]) for column in range(shape[3])]
    units = units[:: 3 if len(units) > 60 else 1]
    whole = net.project_units(x, layer, units, window="full")
    size = float(whole.pixels.abs().max())
    for given in (x, net.trace(x, layer)):
        found = net.project_units(given, layer, units)
        assert float((found.pixels - whole.pixels).abs().max()) <= 1e-11 * size
        assert [u.activation for u in found.units] == pytest.approx([u.activation for u in whole.units], abs=1e-11)
    assert used == ["project_images", "project_recorded"]
