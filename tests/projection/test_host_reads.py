"""On an accelerator the host waits whenever it reads a number, so a projection on whole maps reads hardly any."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deconvviz as dv
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
