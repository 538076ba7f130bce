"""Seeding is for the device at work: the generators of other cards are left as they are."""

from __future__ import annotations

import copy

import torch
from torch import nn

from deconvviz.evidence.randomisation import randomise
from deconvviz.recording.random_state import seed
from tests.helpers.pretend_device import pretending


def refuse(*args):
    raise AssertionError("the generators of all cards were seeded")


def test_only_the_cpu_and_the_device_at_work_are_seeded(monkeypatch):
    with pretending("cuda") as device:
        monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
        seed(torch.device("cpu"), 3)
        expected = torch.rand(4)
        seed(device.device, 3)
        assert torch.equal(torch.rand(4), expected)


def test_random_weights_seed_no_card(monkeypatch):
    models = [nn.Sequential(nn.Linear(3, 2))]
    models.append(copy.deepcopy(models[0]))
    with pretending("cuda"):
        monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
        for model in models:
            randomise(model, ["0"], 5)
    assert torch.equal(models[0][0].weight, models[1][0].weight)
