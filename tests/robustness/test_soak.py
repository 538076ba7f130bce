"""Long runs, in short: nothing is left behind, whatever was done and whatever failed.

`python -m benchmarks.soak` does the same for 10,000 traces and 200,000 images, and watches memory.
"""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn

import deconvviz as dv
from tests.helpers.mixed_workload import Generated, held, rounds, scanned


def test_nothing_is_held_after_mixed_work_and_mistakes():
    def work():
        for _ in rounds(30):
            pass

    work()  # what is made once: threads, caches, fonts
    before = held()
    work()
    assert held() == before
    assert before["dispatch modes"] == before["function modes"] == before["hooks"] == 0


def test_a_scan_holds_the_same_whatever_it_has_seen():
    counts = {}

    def seen(index):
        if index in (300, 1450):
            counts[index] = held()

    before = held()
    dv.scan(dv.DeconvNet(scanned()), Generated(1500, 12, seen), batch_size=50, progress=False)
    assert counts[300] == counts[1450]
    assert held() == before


class Doubles(nn.Module):
    def forward(self, x, by=2):
        return x * by


@pytest.mark.parametrize("kind", ["plain", "with a rule of its own"])
def test_a_model_goes_when_its_net_goes(kind, registry):
    if kind == "with a rule of its own":
        dv.rules.mirror(Doubles, batchwise=True)(lambda op, signal: signal * op["by"])
    model = nn.Sequential(nn.Conv2d(1, 2, 3), Doubles(), nn.Conv2d(2, 2, 3))
    alive = [weakref.ref(module) for module in model.modules()]
    net = dv.DeconvNet(model)
    x = torch.randn(2, 1, 12, 12)
    trace = net.trace(x)
    projection = net.project(trace, "2", channel=0)
    net.project(x, "2", channel=0, position=(1, 1))
    dv.scan(net, x, progress=False)
    del model, net, trace
    gc.collect()
    assert [module() for module in alive] == [None] * 4
    assert projection.pixels.abs().max() > 0
