"""On an accelerator the host waits whenever it reads a number, so a projection on whole maps reads hardly any."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import deconvviz as dv
from deconvviz.operations import convolution

READS = (torch.ops.aten._local_scalar_dense, torch.ops.aten.equal, torch.ops.aten.is_nonzero, torch.ops.aten.nonzero)


class Counted(TorchDispatchMode):
    """Counts what runs: operations, and those by which the host reads a number."""

    operations = reads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operations += 1
        self.reads += func.overloadpacket in READS
        return func(*args, **(kwargs or {}))


@contextmanager
def counted():
    with Counted() as counts:
        yield counts


def deep(layers: int) -> nn.Module:
    parts = [part for _ in range(layers) for part in (nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())]
    return nn.Sequential(*parts).eval()


@pytest.fixture(autouse=True)
def _as_on_an_accelerator(monkeypatch):
    monkeypatch.setattr(convolution, "_filled", lambda *args: None)  # reads sizes, on a CPU alone


@pytest.mark.parametrize("samples", (1, 3))
def test_reads_do_not_depend_on_the_depth(samples):
    counts = []
    for layers in (2, 12):
        net, x = dv.DeconvNet(deep(layers), "guided"), torch.randn(samples, 3, 9, 9)
        trace = net.trace(x, str(2 * layers - 1))
        with counted() as found:
            net.project(trace, str(2 * layers - 1), window="full")
        counts.append(found.reads)
    assert counts[0] == counts[1]
