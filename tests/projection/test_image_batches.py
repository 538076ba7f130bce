"""Images that would take too much memory together are recorded in batches, each once, and only those with units."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.errors import InputError
from deconvviz.projection import crop_cost, image_batches
from deconvviz.projection.model_call import prepared
from tests.helpers.forced_windows import cpu_costs

UNITS = [(6, 1, (2, 3)), (0, 3, (0, 0)), (6, 0, (5, 1)), (3, 2, (4, 4)), (1, 1, (1, 5)), (0, 0, (2, 2))]
CALLS = {
    "units": lambda net, x, window: net.project_units(x, "3", UNITS, window=window),
    "strongest": lambda net, x, window: net.project(x, "3", channel=[2, 0], window=window),
    "one place": lambda net, x, window: net.project(x, "3", position=(3, 1), window=window),
    "places of their own": lambda net, x, window: net.project(
        x, "3", channel=1, position=torch.tensor([[n % 6, n % 5] for n in range(7)]), window=window
    ),
}


RUNS: list[int] = []


class Seen(nn.Sequential):
    """Notes in `RUNS` how many images each of its runs takes; its own attributes are put back after a run."""

    def forward(self, x):
        RUNS.append(len(x))
        return super().forward(x)


class Mixed(nn.Module):
    """Subtracts from each sample the mean of the batch."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        h = self.first(x)
        return h - h.mean(0, keepdim=True)


def network():
    model = Seen(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3, padding=1)).eval()
    return model, torch.randn(7, 3, 12, 12)


def small_memory(patch: pytest.MonkeyPatch, images: int) -> None:
    """Let so many images of the network be recorded together."""
    largest, switches = 8 * 12 * 12 * 4, 8 * 6 * 6 * 8
    cpu_costs(patch, recorded_bytes=images * (image_batches.LIVE_MAPS * largest + switches) + 1)


@pytest.mark.parametrize("window", ["auto", "full"])
@pytest.mark.parametrize("name", CALLS)
def test_in_batches_as_at_once(name, window, monkeypatch):
    monkeypatch.setattr(crop_cost.UnitCrops, "pay_both_ways", lambda *_: False)  # images have to be recorded
    model, x = network()
    net = dv.DeconvNet(model)
    at_once = CALLS[name](net, x, window)
    small_memory(monkeypatch, 2)
    RUNS.clear()
    found = CALLS[name](net, x, window)
    places = [(unit.sample, unit.channel, unit.position) for unit in at_once.units]
    assert [(unit.sample, unit.channel, unit.position) for unit in found.units] == places
    activations = [unit.activation for unit in at_once.units]
    assert [unit.activation for unit in found.units] == pytest.approx(activations, rel=1e-5, abs=1e-6)
    assert torch.allclose(found.pixels, at_once.pixels, rtol=1e-5, atol=1e-6)
    assert torch.equal(found.receptive_fields, at_once.receptive_fields)
    assert torch.equal(found.images, x)
    recorded = RUNS[1:]  # the first run is that of the template, without numbers
    assert sum(recorded) == (4 if name == "units" else 7)
    assert max(recorded) == 2


def test_the_estimate_is_what_the_run_keeps(monkeypatch):
    model, x = network()
    net = dv.DeconvNet(model)
    tape = image_batches.tape_of_one(model, net.style, prepared(x, model, None, finite=False), "3")
    for images in (1, 3, 5):
        small_memory(monkeypatch, images)
        assert image_batches.images_at_once(tape, net.style) == images
    cpu_costs(monkeypatch, recorded_bytes=1)
    assert image_batches.images_at_once(tape, net.style) == 1


def test_units_that_are_not_there_are_refused_as_at_once(monkeypatch):
    model, x = network()
    net = dv.DeconvNet(model)
    small_memory(monkeypatch, 2)
    with pytest.raises(InputError, match=r"has 7 samples, 4 channels of size \(6, 6\); there is no unit .* \(7, 0"):
        net.project_units(x, "3", [(0, 0, (1, 1)), (7, 0, (1, 1))], window="full")
    with pytest.raises(InputError, match=r"an integer tensor \(7, 2\)"):
        net.project(x, "3", position=torch.zeros(5, 2, dtype=torch.long), window="full")


def test_samples_that_are_mixed_are_recorded_together(monkeypatch):
    cpu_costs(monkeypatch, recorded_bytes=1)
    with pytest.raises(InputError, match="whose samples are mixed"):
        dv.DeconvNet(Mixed().eval()).project(torch.randn(3, 3, 8, 8), "output", window="full")
