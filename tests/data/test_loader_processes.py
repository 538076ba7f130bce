"""Processes that load images: how many are started, and that their number is taken without a warning."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

import deconvviz as dv


class Companions(torch.utils.data.Dataset):
    """Each image has the number of processes that load images as its value."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        worker = torch.utils.data.get_worker_info()
        return torch.full((1, 2, 2), float(worker.num_workers if worker else 0))


def net():
    model = nn.Conv2d(1, 1, 1)
    nn.init.ones_(model.weight)
    nn.init.zeros_(model.bias)
    return dv.DeconvNet(model)


@pytest.mark.parametrize(("workers", "expected"), [(0, 0), (2, 2), (3, 3), (4, 3), (10**6, 3)])
def test_there_are_no_more_processes_than_batches(workers, expected, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)  # torch warns of more than one process
    top = dv.scan(net(), Companions(), layers="output", k=6, batch_size=2, workers=workers, progress=False)
    assert top.values["output"].tolist() == [[expected] * 6]
