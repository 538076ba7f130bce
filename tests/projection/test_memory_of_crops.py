"""What units that travel on crops of a recorded run take beside that run, and how their crops lie in memory."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import deconvviz as dv
from deconvviz.operations.regions import Region
from tests.helpers.pretend_device import pretending

SIDE, CHANNELS, IMAGES = 64, 8, 4
LAST, PLACE = "7", (5, 6)  # in a map of 16 x 16, whose units see 20 x 20 pixels
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def network() -> nn.Sequential:
    torch.manual_seed(0)

    def conv(channels: int) -> nn.Module:
        return nn.Conv2d(channels, CHANNELS, 3, padding=1)

    layers = [conv(1), nn.ReLU(), conv(CHANNELS), nn.MaxPool2d(2), conv(CHANNELS), nn.MaxPool2d(2), nn.ReLU()]
    return nn.Sequential(*layers, conv(CHANNELS)).eval()


def images() -> torch.Tensor:
    return torch.rand(IMAGES, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


UNITS = [(n, n % CHANNELS, PLACE) for n in range(IMAGES)]


@pytest.fixture
def _uncollected():
    """Memory that waits for the collector of cycles is held."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.usefixtures("_uncollected")
def test_two_signals_are_the_most_and_no_crop_of_what_was_recorded_lies_beside_them(layout, used):
    model, x = network().to(memory_format=layout), images()
    expected = dv.DeconvNet(model).project_units(x, LAST, UNITS, window="full").pixels
    with pretending("cuda") as device:
        net = dv.DeconvNet(model.to(device.name))
        trace = net.trace(x.to(device.name), LAST)
        net.project_units(trace, LAST, UNITS)
        before = torch.cuda.memory_allocated()
        net.project_units(trace, LAST, UNITS)
        assert torch.cuda.memory_allocated() == before  # nothing waits for the collector of cycles
        torch.cuda.reset_peak_memory_stats()
        found = net.project_units(trace, LAST, UNITS)
        peak = torch.cuda.max_memory_allocated() - before
    size = int(found.receptive_fields[0, 0].diff())
    largest = IMAGES * CHANNELS * 4 * ((size - 2) ** 2 + (size - 4) ** 2)  # before and behind the second convolution
    pixels = IMAGES * size**2 * 4
    assert largest + pixels <= peak < 1.02 * (largest + pixels)
    torch.testing.assert_close(found.pixels, expected)


class Seen(TorchDispatchMode):
    """The arguments of convolutions, forward and back."""

    def __init__(self) -> None:
        super().__init__()
        self.signals: list[torch.Tensor] = []
        self.filters: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        place = {torch.ops.aten.convolution: 1, torch.ops.aten.convolution_backward: 2}.get(func.overloadpacket)
        if place:
            self.signals.append(args[0])
            self.filters.append(args[place].data_ptr())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("recorded", [False, True])
def test_on_an_accelerator_crops_lie_as_the_model_does_and_read_its_own_filters(layout, recorded, used):
    with pretending("cuda") as device:
        model = network().to(memory_format=layout).to(device.name)
        net, x = dv.DeconvNet(model), images().to(device.name)
        given = net.trace(x, LAST) if recorded else x
        net.project_units(given, LAST, UNITS)  # which finds out the shapes of results
        with Seen() as seen:
            net.project_units(given, LAST, UNITS)
        own = {parameter.data_ptr() for parameter in model.parameters()}
    assert len(seen.signals) == (3 if recorded else 6)  # one position is a product, and no convolution
    assert set(seen.filters) <= own
    assert all(signal.is_contiguous(memory_format=layout) for signal in seen.signals)


def test_what_two_rules_read_is_cut_once(used, monkeypatch):
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)

        def forward(self, x):
            x = self.first(x)
            return self.last(torch.sigmoid(x) * torch.tanh(x) + torch.relu(x))

    torch.manual_seed(0)
    net, x = dv.DeconvNet(Gated().eval(), "gradient"), torch.randn(1, 1, 9, 9)
    trace, cut = net.trace(x, "last"), []
    taken = Region.taken
    monkeypatch.setattr(Region, "taken", lambda *given: cut.append(given[1].data_ptr()) or taken(*given))
    found = net.project_units(trace, "last", [(0, 1, (4, 4))])
    assert len(cut) == len(set(cut)) == 4  # the layer, what three functions read, and what two of them made
    expected = net.project_units(trace, "last", [(0, 1, (4, 4))], window="full")
    torch.testing.assert_close(found.pixels, expected.pixels)
