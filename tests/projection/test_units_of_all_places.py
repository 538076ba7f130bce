"""Units of all places travel together, and what they are given does not depend on their company."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import deconvviz as dv
from tests.helpers.autograd_reference import randomised
from tests.helpers.forced_windows import cpu_costs
from tests.helpers.pretend_device import pretending


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
    "padded behind": lambda: [nn.ZeroPad2d((0, 5, 0, 7)), nn.Conv2d(2, 4, 5), nn.ReLU(), nn.Conv2d(4, 3, 3)],
    "padded apart": lambda: [nn.ZeroPad2d((2, 1, 0, 3)), nn.Conv2d(2, 4, 3), nn.ELU(), nn.Conv2d(4, 3, 3, padding=1)],
}


@pytest.mark.parametrize(
    ("size", "costs"),
    [((11, 8), {"large": 0}), ((11, 8), {}), ((5, 3), {}), ((5, 3), {"crop_bytes": 1})],
    ids=["much work", "little work", "both edges", "alone"],
)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_place_of_several_images_in_one_batch(name, size, costs, used, monkeypatch):
    """On the small map a window reaches over both edges at once."""
    cpu_costs(monkeypatch, **costs)
    torch.manual_seed(0)
    net = dv.DeconvNet(randomised(nn.Sequential(*NETWORKS[name]())).double())
    x = torch.randn(3, 2, *size, dtype=torch.float64)
    layer = str(len(NETWORKS[name]()) - 1)
    shape = net.layers(x[:1])[layer].shape
    units = [((row + column) % 3, column % 3, (row, column)) for row in range(shape[2]) for column in range(shape[3])]
    units = units[:: 1 + len(units) // 20]
    whole = net.project_units(x, layer, units, window="full")
    size = float(whole.pixels.abs().max())
    for given in (x, net.trace(x, layer)):
        found = net.project_units(given, layer, units)
        assert float((found.pixels - whole.pixels).abs().max()) <= 1e-11 * size
        assert [u.activation for u in found.units] == pytest.approx([u.activation for u in whole.units], abs=1e-11)
    assert used == ["project_images", "project_recorded"]


@pytest.mark.parametrize("name", NETWORKS)
def test_work_does_not_grow_with_the_number_of_images(name, used):
    """On an accelerator: as many launches, uploads and reads for all units of one image as for those of four."""
    torch.manual_seed(0)
    model = randomised(nn.Sequential(*NETWORKS[name]()))
    layer, counted = str(len(model) - 1), []
    with pretending("cuda") as device:
        net, x = dv.DeconvNet(model.to("cuda")), torch.randn(4, 2, 13, 9).to("cuda")
        rows, columns = net.layers(x[:1])[layer].shape[2:]
        everywhere = [(row, column) for row in range(rows) for column in range(columns)]
        for given in (x, net.trace(x, layer)):
            net.project_units(given, layer, [(0, 1, everywhere[0])])  # which finds out the shapes of results
            for units in (
                [(0, 1, place) for place in everywhere],
                [(n, 1, place) for n in range(4) for place in everywhere],
            ):
                with device.counted() as counts:
                    net.project_units(given, layer, units)
                counted.append((counts.launches, counts.uploads, counts.host_reads))
    assert counted[0] == counted[1]
    assert counted[2] == counted[3]


def test_ten_thousand_units_are_as_many_launches_as_ten():
    torch.manual_seed(0)
    model = randomised(nn.Sequential(*NETWORKS["padded apart"]()))
    counted = []
    with pretending("cuda") as device:
        net, x = dv.DeconvNet(model.to("cuda")), torch.randn(7, 2, 40, 40).to("cuda")
        rows, columns = net.layers(x[:1])["3"].shape[2:]
        for count in (1, 10, 1000, 10_000):
            units = [(n % 7, n % 3, (n % rows, n % columns)) for n in range(count)]
            with device.counted() as counts:
                found = net.project_units(x, "3", units)
            counted.append((counts.launches, counts.uploads, counts.host_reads))
            assert len(found.units) == len(found.held) == count
    assert counted[1] == counted[2] == counted[3]
    assert counted[3][2] <= 5
