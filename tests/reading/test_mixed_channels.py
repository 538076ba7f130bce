"""Channels that respond to two things: planted ones are found, others are not, by several independent measures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score, roc_auc_score, silhouette_score
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.errors import InputError, UnknownLayerError
from deconvviz.reading.mixed import silhouettes, two_groups
from deconvviz.results import MixedChannels
from tests.reading.networks import FIELD, SIDE, Pairs, planted_images, seeded, templates


@pytest.fixture(scope="module")
def images() -> Tensor:
    return planted_images(320)


@pytest.fixture(scope="module")
def found(images: Tensor) -> MixedChannels:
    return dv.mixed_channels(dv.DeconvNet(Pairs().eval()), images, "units", progress=False)


def test_planted_channels_are_told_from_others(found: MixedChannels) -> None:
    assert found.channels == tuple(range(12))
    excess = found.silhouettes - found.expected
    assert roc_auc_score([1] * 6 + [0] * 6, excess.numpy()) >= 0.95
    assert set(found.mixed) >= {0, 1, 2, 3, 4, 5} - {min(range(6), key=lambda unit: float(excess[unit]))}
    assert not set(found.mixed) & set(range(6, 12))


def test_the_groups_are_the_two_things(found: MixedChannels, images: Tensor) -> None:
    maps = nn.functional.conv2d(images, templates())
    agreement = []
    for unit in range(6):
        total = (maps[:, 2 * unit] - 0.2).relu() + (maps[:, 2 * unit + 1] - 0.2).relu()
        order = total.flatten(1).amax(1).argsort(descending=True)[:40]
        place = total.flatten(1).argmax(1)[order, None]
        one, other = (maps[order, 2 * unit + n].flatten(1).gather(1, place)[:, 0] for n in (0, 1))
        agreement.append(adjusted_rand_score((one > other).numpy(), found.groups[unit].numpy()))
    assert np.mean(agreement) >= 0.85


def test_vectors_without_groups_are_called_mixed_in_at_most_5_percent() -> None:
    generator, runs = seeded(1), 100
    mean, axes = torch.randn(30, generator=generator), torch.randn(6, 30, generator=generator)
    alarms = 0
    for _ in range(runs):
        vectors = 2 * mean + torch.randn(40, 6, generator=generator) @ axes
        alarms += two_groups(vectors, generator).p <= 0.05
    assert alarms / runs <= 0.09  # 0.05, and two standard errors of 100 runs


def test_silhouettes_are_those_of_scikit_learn() -> None:
    points = torch.nn.functional.normalize(torch.randn(3, 12, 5, generator=seeded(2), dtype=torch.float64), dim=2)
    labels = (torch.rand(3, 12, generator=seeded(3)) > 0.4).long()
    expected = [silhouette_score(a.numpy(), b.numpy(), metric="cosine") for a, b in zip(points, labels, strict=True)]
    assert silhouettes(points @ points.mT, labels).tolist() == pytest.approx(expected)


def test_one_direction_and_blank_pictures_have_no_groups() -> None:
    assert two_groups(torch.ones(10, 4) * torch.arange(1, 11)[:, None], seeded(0)).p == pytest.approx(0.5)
    assert two_groups(torch.zeros(10, 4), seeded(0)).p == pytest.approx(0.5)


def test_what_is_shown_saved_and_printed(found: MixedChannels, tmp_path: Path) -> None:
    again = MixedChannels.load(found.save(tmp_path / "a.safetensors"))
    assert str(again) == str(found)
    rows = again.table()
    assert rows == sorted(rows, key=lambda row: (row["p"], -row["silhouette"]))
    assert f"{len(found.mixed)} of 12 channels of units respond to two things: " in again.verdict
    one = replace(again, p=torch.tensor([0.01] + [1.0] * 11))
    assert one.verdict == "1 of 12 channels of units responds to two things: 0."
    assert json.loads(json.dumps(found.as_json()))["table"][0]["channel"] in range(6)
    first = again.examples[0]
    assert first.pictures[0].shape[1:] == first.patches[1].shape[1:] == (1, FIELD, FIELD)
    assert len(first.names[0]) == len(first.pictures[0])
    titles: list[Any] = [axes.get_title(loc="left") for axes in again.figure().axes]
    assert titles[0].startswith(f"Channel {first.channel}, silhouette ")


def test_what_cannot_be_compared_is_refused_before_the_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deconvviz.reading.mixed.scan", None)
    net, signals = dv.DeconvNet(nn.Sequential(nn.Conv1d(2, 3, 3)).eval()), torch.rand(20, 2, 16)
    for function in (dv.mixed_channels, dv.reading_test):
        monkeypatch.setattr("deconvviz.reading.reading.scan", None)
        with pytest.raises(InputError, match=r"pictures are read on images .* takes \(2, 16\)"):
            function(net, signals.repeat(3, 1, 1), "0", progress=False)
        with pytest.raises(UnknownLayerError, match="there is no layer 'nosuch'"):
            function(dv.DeconvNet(Pairs().eval()), planted_images(60), "nosuch", progress=False)
    with pytest.raises(InputError, match="mixed channels need a dataset with a length and items by number"):
        dv.mixed_channels(dv.DeconvNet(Pairs().eval()), iter(torch.rand(9, 1, SIDE, SIDE)), "units", progress=False)


def test_channels_that_fire_on_few_images_are_left_out() -> None:
    few = dv.mixed_channels(
        dv.DeconvNet(Pairs().eval()), torch.full((20, 1, SIDE, SIDE), 0.5), "units", units=20, progress=False
    )
    assert (few.channels, few.untested) == ((), tuple(range(12)))
    assert few.verdict == "No channel of units fires on enough images."
    assert few.figure() is not None
