"""On an accelerator the host waits whenever it reads a number, so a projection on whole maps reads hardly any."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.errors import InputError
from tests.helpers.pretend_device import pretending


def deep(layers: int) -> nn.Module:
    parts = [part for _ in range(layers) for part in (nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())]
    return nn.Sequential(*parts).eval()


@pytest.mark.parametrize("samples", [1, 3])
def test_reads_do_not_depend_on_the_depth(samples):
    counts = []
    for layers in (2, 12):
        last = str(2 * layers - 1)
        with pretending("cuda") as device:
            net = dv.DeconvNet(deep(layers).to(device.name), "guided")
            trace = net.trace(torch.randn(samples, 3, 9, 9).to(device.name), last)
            with device.counted() as found:
                net.project(trace, last, window="full")
        counts.append({place: number for place, number in found.reads.items() if "fingerprint" not in place})
    assert counts[0] == counts[1]


def pooled() -> nn.Module:
    parts = [
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 4, 3, padding=1),
    ]
    return nn.Sequential(*parts).eval()


def counts_of(images: int, units: int, **options):
    """What the device is asked to do for so many units of so many images, on whole maps."""
    with pretending("cuda") as device:
        net = dv.DeconvNet(pooled().to(device.name), **options)
        x = torch.rand(images, 3, 10, 10).to(device.name)
        places = [(n % images, n % 4, (n % 5, n * 3 % 5)) for n in range(units)]
        with device.counted() as found:
            net.project_units(x, "4", places, window="full")
    return found


@pytest.mark.parametrize("style", ["deconvnet", "guided", "gradient"])
def test_two_reads_and_as_many_launches_for_any_number_of_units_and_images(style):
    counts = [counts_of(*size, style=style) for size in ((1, 16), (1, 256), (5, 16), (5, 256))]
    assert {found.host_reads for found in counts} == {2}
    assert len({found.launches for found in counts}) == 1
    assert len({found.uploads for found in counts}) == 1
    alone, each = counts_of(1, 1, style=style), counts_of(16, 16, style=style)
    assert max(alone.host_reads, each.host_reads) <= 2
    assert max(alone.launches, each.launches) <= counts[0].launches + 2


def test_a_reconstruction_and_the_strongest_positions_take_two_reads_as_well():
    with pretending("cuda") as device:
        net, x = dv.DeconvNet(pooled().to(device.name)), torch.rand(3, 3, 10, 10).to(device.name)
        with device.counted() as found:
            net.project(x, "4", window="full")
        with device.counted() as sent_back:
            net.reconstruct(x, "4")
    assert (found.host_reads, sent_back.host_reads) == (2, 2)


@pytest.mark.parametrize(
    ("broken", "message"), [("image", "the input holds 1 value that is NaN"), ("weight", "activations of layer '4'")]
)
def test_what_is_not_finite_is_refused_all_the_same(broken, message):
    with pretending("cuda") as device:
        model, x = pooled(), torch.rand(2, 3, 10, 10)
        (x[1, 0] if broken == "image" else model[4].weight.data[0, 0])[1, 1] = float("nan")
        net, x = dv.DeconvNet(model.to(device.name)), x.to(device.name)
        for call in (net.project, net.reconstruct):
            with pytest.raises(InputError, match=message):
                call(x, "4")
