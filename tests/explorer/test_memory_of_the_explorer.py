"""Memory does not grow with requests. `python -m benchmarks.explore` measures 10,000 of them, and an hour of camera."""

from __future__ import annotations

import pytest

import deconvviz as dv
from benchmarks.explore import memory
from deconvviz.data.mnist import MnistTest
from deconvviz.models.mnist import mnist_cnn
from tests.helpers.explorer_client import TOKEN


@pytest.mark.slow
def test_memory_is_flat_over_many_requests() -> None:
    pytest.importorskip("uvicorn", reason="needs deconvviz[explore]")
    with dv.explore(dv.DeconvNet(mnist_cnn()), MnistTest(), token=TOKEN, open_browser=False) as explorer:
        grown, objects = memory(explorer, 2000)
    assert grown < 5  # MiB; most of it in the first thousand, by the allocator
    assert objects < 1000  # a request that left one behind would leave 1,800
