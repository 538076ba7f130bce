"""What work costs on each kind of device, and how much memory a batch of crops may take there."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.projection import cropped
from deconvviz.projection.device_costs import ACCELERATOR, CPU, MEMORY_SHARE, costs_of, crop_bytes
from tests.helpers import device_memory
from tests.helpers.forced_windows import cpu_costs
from tests.helpers.pretend_device import pretending


@pytest.mark.parametrize("kind", ["cuda", "xpu", "mps"])
def test_a_batch_takes_a_part_of_what_an_accelerator_has_free(kind, monkeypatch):
    with pretending(kind) as device:
        assert costs_of(device.device) is ACCELERATOR
        assert crop_bytes(device.device) == device_memory.FREE // MEMORY_SHARE < ACCELERATOR.crop_bytes
        module = getattr(torch, kind)
        if kind == "mps":
            monkeypatch.setattr(module, "driver_allocated_memory", lambda: module.recommended_max_memory())
        else:
            monkeypatch.setattr(module, "mem_get_info", lambda *_: (0, device_memory.FREE))
        assert crop_bytes(device.device) == 1  # one unit at a time


def test_devices_that_do_not_tell_take_what_their_kind_takes():
    assert crop_bytes(torch.device("cpu")) == CPU.crop_bytes
    assert crop_bytes(torch.device("meta")) == ACCELERATOR.crop_bytes


@pytest.mark.parametrize(("stride", "alignments"), [(1, 1), (2, 4)])
def test_tapes_are_as_many_as_alignments_and_batches(stride, alignments, monkeypatch, used):
    """A transposed convolution of stride 2 makes pixels of four kinds."""
    layers = [nn.Conv2d(1, 2, 3, padding=1), nn.ConvTranspose2d(2, 2, 4, stride, 1), nn.Conv2d(2, 1, 3, padding=1)]
    net, x = dv.DeconvNet(nn.Sequential(*layers)), torch.randn(3, 1, 8, 8)
    units = [(n % 3, 0, (row, column)) for n, row in enumerate(range(7)) for column in range(7)]
    tapes = []
    write = cropped.write_crops
    monkeypatch.setattr(cropped, "write_crops", lambda *given: tapes.append(1) or write(*given))
    net.project_units(x, "2", units)
    assert len(tapes) == alignments
    tapes.clear()
    cpu_costs(monkeypatch, crop_bytes=1)
    net.project_units(x, "2", units)
    assert len(tapes) == len(units)
