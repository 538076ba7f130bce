"""Memory does not grow with requests. `python -m benchmarks.explore` measures 10,000 of them, and an hour of camera."""

from __future__ import annotations

import gc
import time
import weakref
from typing import Any

import pytest

import deconvviz as dv
from benchmarks.explore import memory
from deconvviz.data.mnist import MnistTest
from deconvviz.explorer import serve
from deconvviz.explorer.networks import ImageKey, Networks
from deconvviz.images import Preprocess
from deconvviz.models.mnist import mnist_cnn
from tests.helpers.explorer_client import TOKEN, Client, png, small_images, small_net

pytest.importorskip("uvicorn", reason="needs deconvviz[explore]")
from uvicorn.protocols.http.h11_impl import H11Protocol


def test_a_connection_that_has_ended_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: weakref.WeakSet[Any] = weakref.WeakSet()
    begin = H11Protocol.__init__

    def counted(self: Any, *given: Any, **options: Any) -> None:
        begin(self, *given, **options)
        kept.add(self)

    monkeypatch.setattr(H11Protocol, "__init__", counted)
    monkeypatch.setattr(serve, "HEADER_SECONDS", 3600.0)  # for which a connection without a request may last
    with dv.explore(small_net(), small_images(), token=TOKEN, open_browser=False) as explorer:
        client = Client(explorer)
        for number in range(20):
            assert client.ask("maps", image=f"data-{number % 8}", layer="0").status == 200
        for _ in range(20):
            gc.collect()
            if len(kept) < 3:
                return
            time.sleep(0.1)
        raise AssertionError(f"{len(kept)} of 21 connections are still there")


def test_the_runs_of_a_cameras_frames_are_not_kept() -> None:
    networks = Networks(small_net(), small_images())
    kept: weakref.WeakSet[Any] = weakref.WeakSet()
    kept.add(networks.trace("one", ImageKey("data-1")))
    for number in range(6):
        frame = networks.clients.give("one", png(seed=number), "camera.jpg", live=True)
        kept.add(networks.trace("one", ImageKey(frame)))
    gc.collect()
    assert len(kept) == 3  # of the two frames that the client still has, and of the data set
    assert networks.trace("one", ImageKey("data-1")) in kept


@pytest.mark.slow
def test_memory_is_flat_over_many_requests() -> None:
    net = dv.DeconvNet(mnist_cnn(), preprocess=Preprocess(28, (0.0,), (1.0,)))
    with dv.explore(net, MnistTest(), token=TOKEN, open_browser=False) as explorer:
        grown, objects = memory(explorer, 2000)
    assert grown < 5  # MiB; most of it in the first thousand, by the allocator
    assert objects < 1000  # a request that left one behind would leave 1,800
