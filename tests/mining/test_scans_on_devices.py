"""Scans on an accelerator, which is a pretended one: what is asked of it, and that the numbers are those of the CPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.mining import state, tally
from deconvviz.results import TopActivations
from tests.helpers.pretend_device import pretending

LAYERS = ("0", "3", "6")


@pytest.fixture(autouse=True)
def _alike(monkeypatch):
    monkeypatch.setattr(state, "SECONDS", 1e9)  # however long a scan takes, nothing is saved on the way
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: None)  # which takes no pretended stream


def network():
    torch.manual_seed(0)
    first = nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2)
    return nn.Sequential(*first, nn.Conv2d(8, 6, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(54, 7)).eval()


def images(count):
    return torch.randn(count, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def scanned(model, data, **options):
    settings = {"layers": list(LAYERS), "k": 5, "batch_size": 4, "progress": False}
    return dv.scan(dv.DeconvNet(model), data, **settings | options)


def counts(device, data, **options):
    model = network().to(device.name)
    with device.counted() as found:
        scanned(model, data, **options)
    return found


def own_launches(device):
    """Operations of the network itself on one batch."""
    model, batch = network().to(device.name), images(4).to(device.name)
    with device.counted() as found, torch.no_grad():
        model(batch)
    return found.launches


@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_between_saves_the_host_reads_nothing_and_most_layers_cost_one_operation(place):
    with pretending("cuda") as device:
        few, many = (counts(device, images(count).to(place)) for count in (8, 40))
        per_batch = (many.launches - few.launches) / 8 - own_launches(device)
    assert many.host_reads == few.host_reads
    open_layers = 1  # the first batch decides all channels of the others; of this one, only those left are read
    assert per_batch - (place == "cuda") < len(LAYERS) + 3 * open_layers  # a batch that lies on the device is copied
    assert many.operations["aten.max.dim_max"] == 10 * len(LAYERS)
    assert many.operations["aten.aminmax.default"] == len(LAYERS)  # whole maps, in the first batch
    assert many.operations["aten.aminmax.out"] == 9 * open_layers
    batches = 8 if place == "cpu" else 0
    assert 0 <= many.uploads - few.uploads - batches <= open_layers  # which channels are left


def test_what_waits_is_entered_without_a_read_by_as_many_operations_whatever_the_layers(monkeypatch):
    with pretending("cuda") as device:
        expected = counts(device, images(40))
        monkeypatch.setattr(tally, "WAITING_ELSEWHERE", (2**28, 8))  # two batches
        merging = counts(device, images(40))
        fewer = counts(device, images(40), layers=["0"])
        monkeypatch.setattr(tally, "WAITING_ELSEWHERE", (2**28, 4096))
        entering = merging.launches - expected.launches
        assert merging.host_reads == expected.host_reads
        assert entering == 4 * (each := entering // 4)
        assert each < 100
        at_once = counts(device, images(40), layers=["0"])
    assert fewer.launches - at_once.launches == entering


def test_a_save_is_nine_reads(tmp_path, monkeypatch):
    with pretending("cuda") as device:
        never = counts(device, images(40), state=tmp_path / "never")
        monkeypatch.setattr(state, "SECONDS", 0)
        monkeypatch.setattr(state, "SHARE", 0)
        each = counts(device, images(40), state=tmp_path / "each")
    # Values, images, positions, four statistics, whether all was finite, and what decides whether channels are dead.
    assert each.host_reads - never.host_reads == 10 * 9


@pytest.mark.parametrize(("kind", "per_image"), [("cuda", 1), ("mps", 1), ("cuda", 2)])
def test_the_numbers_are_those_of_the_cpu(tmp_path, kind, per_image):
    data = images(30)
    data[3, 0, 0, 0] = torch.nan
    expected = scanned(network(), data, per_image=per_image)
    with pretending(kind) as device:
        for number, given in enumerate((data, data.to(device.name), list(data.to(device.name)))):
            top = scanned(network().to(device.name), given, per_image=per_image)
            top.save(tmp_path / f"{number}")
    for number in range(3):
        top = TopActivations.load(tmp_path / f"{number}")
        assert [(one.image, one.reason) for one in top.broken] == [(3, "it holds values that are NaN or infinite")]
        for layer in LAYERS:
            assert torch.equal(top.values[layer], expected.values[layer])
            assert torch.equal(top.images[layer], expected.images[layer])
            assert torch.equal(top.positions[layer], expected.positions[layer])
            for name in ("fires", "mean", "maximum", "histogram"):
                found, wanted = (getattr(one.statistics[layer], name) for one in (top, expected))
                assert torch.equal(found, wanted), name


def test_a_state_of_the_cpu_goes_on_on_a_device(tmp_path):
    class Ends(list):
        def __getitem__(self, index):
            if index == 17 and self.ends:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    data = Ends(images(30))
    data.ends = False
    expected = scanned(network(), data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "SECONDS", 0)
        patch.setattr(state, "SHARE", 0)
        patch.setattr(Ends, "ends", True, raising=False)
        data.ends = True
        with pytest.raises(KeyboardInterrupt):
            scanned(network(), data, state=tmp_path / "state")
    data.ends = False
    with pretending("cuda") as device:
        top = scanned(network().to(device.name), data, state=tmp_path / "state")
    for layer in LAYERS:
        assert torch.equal(top.values[layer], expected.values[layer])
        assert torch.equal(top.statistics[layer].mean, expected.statistics[layer].mean)
