"""How many processes load a folder of images where the caller does not say, and that it changes no number."""

from __future__ import annotations

import multiprocessing
import os
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.data import ImageFolder, workers
from deconvviz.data.sending import Sending
from deconvviz.data.workers import sensible_workers
from deconvviz.images import Preprocess, to_pil
from deconvviz.mining import scan as scan_module

FIRST = torch.zeros(3, 224, 224)


class Photos(ImageFolder):
    def __init__(self, count):
        self.names = ["photo"] * count


@pytest.fixture(autouse=True)
def _machine(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 12)
    monkeypatch.setattr(workers, "_shared_memory", lambda: 2**34)
    monkeypatch.setattr(workers, "_forks", lambda: True)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)


@pytest.mark.parametrize(
    ("data", "first", "on_the_cpu", "expected"),
    [
        (Photos(10**6), FIRST, False, 12),
        (Photos(10**6), FIRST, True, 6),
        (Photos(127), FIRST, False, 0),
        (Photos(400), FIRST, False, 3),
        (Photos(10**6), None, False, 0),
        (Photos(10**6), (FIRST, FIRST), False, 0),  # a network with two inputs
        (Photos(10**6), torch.zeros(3, 4, 4, device="meta"), False, 0),
        (torch.zeros(10**4, 1, 1, 1), FIRST, False, 0),
        ([FIRST] * 10**4, FIRST, False, 0),
    ],
)
def test_as_many_as_are_useful(data, first, on_the_cpu, expected):
    assert sensible_workers(data, first, 64, on_the_cpu) == expected


def test_what_the_machine_allows(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 200)
    assert sensible_workers(Photos(10**6), FIRST, 64, False) == 16
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "40")
    assert sensible_workers(Photos(10**6), FIRST, 64, False) == 5
    monkeypatch.setattr(
        workers, "_shared_memory", lambda: 64 * 2**20
    )  # as in a container: half of it is less than a batch
    assert sensible_workers(Photos(10**6), FIRST, 64, False) == 0
    assert sensible_workers(Photos(10**6), FIRST, 8, False) == 2
    monkeypatch.setattr(workers, "_forks", lambda: False)
    assert sensible_workers(Photos(10**6), FIRST, 8, False) == 0


def test_processes_that_are_not_forked(monkeypatch):
    monkeypatch.undo()
    for method, forks in (("spawn", False), ("fork", True)):
        monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none, method=method: method)
        assert workers._forks() is forks
    monkeypatch.setattr(multiprocessing, "current_process", lambda: SimpleNamespace(daemon=True))
    assert workers._forks() is False


def test_a_folder_is_loaded_by_processes_and_gives_the_same(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for number in range(12):
        noise = torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(number))
        to_pil(noise).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"no image")
    torch.manual_seed(0)
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(3, 4, 3)), preprocess=Preprocess(8))
    started = []
    monkeypatch.setattr(
        *(scan_module, "sensible_workers"), lambda *given: started.append(sensible_workers(*given)) or started[-1]
    )

    def scanned(**options):
        top = dv.scan(net, tmp_path / "photos", k=3, batch_size=3, progress=False, **options)
        return top.save(tmp_path / "top").read_bytes()

    alone = scanned(workers=0)
    assert scanned() == alone
    monkeypatch.setattr(workers, "IMAGES_EACH", 6)
    assert scanned() == alone
    assert started == [0, 2]


def test_on_the_cpu_a_batch_is_not_copied():
    images = torch.zeros(2, 1, 3, 3)
    assert Sending(torch.device("cpu"))(images) is images


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not say")
def test_processors_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 6})
    assert workers.cores() == 3
