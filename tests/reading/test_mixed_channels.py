"""Channels that respond to two things: planted ones are found, others are not, by several independent measures."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, roc_auc_score
from torch import Tensor, nn

import deconvviz as dv
from benchmarks.pictures_without_a_gap import GAPLESS, called_mixed, of_two_things
from deconvviz.errors import InputError, UnknownLayerError
from deconvviz.reading.groups import likenesses, separations, strung_out, two_groups
from deconvviz.results import MixedChannels
from tests.reading.networks import CHANNELS, FIELD, SIDE, Pairs, planted_images, seeded, templates


@pytest.fixture(scope="module")
def images() -> Tensor:
    return planted_images(320)


@pytest.fixture(scope="module")
def found(images: Tensor) -> MixedChannels:
    return dv.mixed_channels(dv.DeconvNet(Pairs().eval()), images, "units", progress=False)


def test_planted_channels_are_told_from_others(found: MixedChannels) -> None:
    assert found.channels == tuple(range(12))
    excess = found.separations - found.expected
    assert roc_auc_score([1] * 6 + [0] * 6, excess.numpy()) >= 0.95
    assert found.mixed == tuple(range(6))


def test_the_groups_are_the_two_things(found: MixedChannels, images: Tensor) -> None:
    maps = nn.functional.conv2d(images, templates())
    agreement = []
    for unit in range(6):
        total = (maps[:, 2 * unit] - 0.2).relu() + (maps[:, 2 * unit + 1] - 0.2).relu()
        order = total.flatten(1).amax(1).argsort(descending=True)[:40]
        place = total.flatten(1).argmax(1)[order, None]
        one, other = (maps[order, 2 * unit + n].flatten(1).gather(1, place)[:, 0] for n in (0, 1))
        agreement.append(adjusted_rand_score((one > other).numpy(), found.groups[unit].numpy()))
    assert np.mean(agreement) >= 0.95


@pytest.mark.parametrize("kind", GAPLESS)
def test_what_varies_without_a_gap_is_called_mixed_in_at_most_5_percent(kind: str) -> None:
    """Two-means on pictures that grow or turn looks as clear as can be: a silhouette calls 80 % of them mixed."""
    random = np.random.default_rng(1)
    alarms = sum(called_mixed(GAPLESS[kind](random, 40)) for _ in range(100))
    assert alarms / 100 <= 0.09  # 0.05, and two standard errors of 100 runs


def test_two_things_are_found_with_noise_as_strong_as_they_are() -> None:
    random = np.random.default_rng(2)
    assert sum(called_mixed(of_two_things(1.0)(random, 40)) for _ in range(50)) >= 40


def test_separations_are_those_of_counting() -> None:
    points = torch.nn.functional.normalize(torch.randn(3, 12, 5, generator=seeded(2), dtype=torch.float64), dim=2)
    labels = (torch.rand(3, 12, generator=seeded(3)) > 0.4).long()
    labels[2] = torch.tensor([1] + [0] * 11)
    likeness = points @ points.mT
    for found, like, label in zip(separations(likeness, labels).tolist(), likeness, labels.tolist(), strict=True):
        shares = []
        for one in range(12):
            nearest = max(float(like[one, other]) for other in range(12) if label[other] != label[one])
            own = [float(like[one, other]) for other in range(12) if label[other] == label[one] and other != one]
            shares.append(np.mean([each > nearest for each in own]) if own else 0.0)
        assert found == pytest.approx(np.mean(shares))


def test_places_on_a_line_are_split_by_two_means() -> None:
    """As by scikit-learn, from the two ends."""
    places = np.random.default_rng(0).beta(0.6, 0.6, (4, 9))
    expected = []
    for row in places:
        ends = np.array([[row.min()], [row.max()]])
        labels = KMeans(2, init=ends, n_init=1).fit(row[:, None]).labels_
        distance = -np.abs(row[:, None] - row)
        expected.append(float(separations(torch.from_numpy(distance)[None], torch.from_numpy(labels)[None].long())))
    assert strung_out(9, 4, 0).tolist() == pytest.approx(expected)


def test_few_one_direction_and_blank_pictures_are_no_groups() -> None:
    for one in (torch.ones(30, 4, 1, 1) * torch.arange(1, 31)[:, None, None, None], torch.zeros(30, 4, 1, 1)):
        assert two_groups(likenesses(one))[1:4:2] == (0, 1)
    vectors = torch.eye(2)[[0] * 38 + [1] * 2] + 0.01 * torch.rand(40, 2, generator=seeded(0))
    outliers = likenesses(vectors[..., None, None])
    assert two_groups(outliers).p == 1, "two of 40 are outliers"
    hardly = likenesses(torch.tensor([[1.0, 0.02 * (row >= 36)] for row in range(40)])[..., None, None])
    assert two_groups(hardly)[1:4:2] == (0, 1), "nobody sees that four of 40 are different"
    four = [*range(36), *[38, 39] * 2]
    assert two_groups(outliers[four][:, four]).p < 0.001, "four are not"


def test_likenesses_are_those_of_sliding_pictures_over_each_other() -> None:
    pictures = torch.randn(5, 2, 8, 9, generator=seeded(5), dtype=torch.float64)
    pictures[1, :, :-2, 1:] = pictures[0, :, 2:, :-1]
    pictures[3, :, :, 2:] *= 0.01  # nearly all of it would be shifted out
    expected = torch.full((5, 5), -1.0, dtype=torch.float64)
    lengths = pictures.flatten(1).norm(dim=1)
    for one, other in itertools.product(range(5), repeat=2):
        for down, right in itertools.product(range(-2, 3), range(-3, 4)):
            rows = slice(max(0, down), 8 + min(0, down)), slice(max(0, -down), 8 + min(0, -down))
            columns = slice(max(0, right), 9 + min(0, right)), slice(max(0, -right), 9 + min(0, -right))
            a, b = pictures[one, :, rows[0], columns[0]], pictures[other, :, rows[1], columns[1]]
            if a.norm() >= 0.75 * lengths[one] and b.norm() >= 0.75 * lengths[other]:
                expected[one, other] = max(float(expected[one, other]), float((a * b).sum() / a.norm() / b.norm()))
    found = likenesses(pictures, (2, 3))
    assert torch.allclose(found, expected)
    assert found[0, 1] > 0.999
    assert likenesses(pictures)[0, 1] < 0.5


class Pooled(nn.Sequential):
    """A unit that answers to some templates, wherever they are in squares of 4 x 4 pixels."""

    def __init__(self, answers: Sequence[int]) -> None:
        first = nn.Conv2d(1, CHANNELS, FIELD)
        first.weight.data.copy_(templates())
        first.bias.data.fill_(-0.45)  # type: ignore[union-attr]
        unit = nn.Conv2d(CHANNELS, 1, 1, bias=False)
        unit.weight.data.zero_()[:, list(answers)] = 1
        super().__init__(first, nn.ReLU(), nn.MaxPool2d(2), nn.MaxPool2d(2), unit)


@pytest.mark.parametrize(("answers", "mixed"), [([0], ()), ([0, 1], (0,))])
def test_places_in_a_pooled_square_are_no_groups_and_hide_none(answers: list[int], mixed: tuple[int, ...]) -> None:
    found = dv.mixed_channels(dv.DeconvNet(Pooled(answers).eval()), planted_images(240, answers), "4", progress=False)
    assert found.channels == (0,)
    assert found.mixed == mixed


def test_an_untrained_network_has_no_more_than_chance() -> None:
    """On noise, whose pictures by binary gates fall into those with a unit that hardly fires and those without it."""
    images = torch.rand(200, 1, 14, 14, generator=seeded(9))
    named = tested = 0
    for seed in range(3):
        net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 8, 1))
        for each in (net[0], net[2]):
            nn.init.normal_(each.weight, generator=seeded(seed))
            nn.init.zeros_(each.bias)
        found = dv.mixed_channels(dv.DeconvNet(net.eval()), images, "2", progress=False)
        named, tested = named + len(found.mixed), tested + len(found.channels)
    assert named <= 1
    assert tested >= 20


def test_a_line_behind_one_pooling_layer_is_one_thing() -> None:
    """Its guided pictures show it at one of two places, as whichever pixel was larger: two clear groups, of nothing."""
    net = nn.Sequential(nn.Conv2d(1, 1, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(1, 1, (3, 1)), nn.ReLU())
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([-1.0, 0, 2, 0, -1]).expand(5, 5) / 10)
        net[0].bias.zero_()
        net[3].weight.fill_(1 / 3)
        net[3].bias.zero_()
    places = torch.linspace(6, 18, 60)
    across = torch.arange(24) - places[:, None, None, None]
    images = (-across.square()).exp().expand(-1, 1, 24, 24) + 0.05 * torch.rand(60, 1, 24, 24, generator=seeded(6))
    assert dv.mixed_channels(dv.DeconvNet(net.eval()), images, "3", progress=False).mixed == ()


def test_copies_of_an_image_count_once(images: Tensor) -> None:
    net, lasting = dv.DeconvNet(Pairs().eval()), {"channel": range(6), "progress": False}
    twice = images.repeat(2, 1, 1, 1)
    few = dv.mixed_channels(net, twice, "units", **lasting)
    assert few.channels == ()
    assert few.untested == tuple(range(6)), "40 units see 20 images"
    once, both = (dv.mixed_channels(net, data, "units", units=n, **lasting) for data, n in ((images, 30), (twice, 60)))
    assert torch.equal(both.p, once.p)
    assert torch.equal(both.separations, once.separations)
    assert both.groups.float().mean(1).tolist() == pytest.approx(once.groups.float().mean(1).tolist())


def test_what_is_shown_saved_and_printed(found: MixedChannels, tmp_path: Path) -> None:
    again = MixedChannels.load(found.save(tmp_path / "a.safetensors"))
    assert str(again) == str(found)
    rows = again.table()
    assert [row["p"] for row in rows] == sorted(found.p.tolist())
    assert f"{len(found.mixed)} of 12 channels of units respond to two things: " in again.verdict
    one = replace(again, p=torch.tensor([0.01] + [1.0] * 11))
    assert one.verdict == "1 of 12 channels of units responds to two things: 0."
    assert json.loads(json.dumps(found.as_json()))["table"][0]["channel"] in range(6)
    first = again.examples[0]
    assert first.pictures[0].shape[1:] == first.patches[1].shape[1:] == (1, FIELD, FIELD)
    assert len(first.names[0]) == len(first.pictures[0])
    few = replace(found, groups=torch.zeros_like(found.groups).index_fill(1, torch.tensor([0, 1]), 1))
    assert few.figure().axes[2].get_title(loc="left") == "the other 5% of its units, outliers"
    alike = replace(found, p=torch.ones(12), groups=found.groups.clone().index_fill(0, torch.tensor([0]), 0))
    few_come_last = [row["smaller group"] < 0.1 for row in alike.table()]
    assert few_come_last[0] is False
    assert few_come_last == sorted(few_come_last), "outliers come last, however far they are apart"
    titles: list[Any] = [axes.get_title(loc="left") for axes in again.figure().axes]
    assert titles[0].startswith(f"Channel {first.channel}, separation ")


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
        dv.DeconvNet(Pairs().eval()), torch.full((24, 1, SIDE, SIDE), 0.5), "units", units=24, progress=False
    )
    assert (few.channels, few.untested) == ((), tuple(range(12)))
    assert few.verdict == "No channel of units fires on 24 images of which at least 24 differ."
    assert few.figure() is not None
