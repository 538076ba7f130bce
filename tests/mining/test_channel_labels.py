"""Which label fits a channel, from one pass: against counted pairs, and by what a permutation of the labels finds."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.mining import labelled_maxima, state
from deconvviz.mining.label_scores import chance_of, channel_labels, held_out_half, with_classes
from deconvviz.mining.labelled_maxima import KeptImages, KeptRows, LabelledMaxima, most_images, random_ranks
from deconvviz.models import mnist_cnn
from deconvviz.results import ChannelLabels, TopActivations
from deconvviz.roc import Ordered
from tests.helpers.pretend_device import pretending

CPU = torch.device("cpu")


def network(dtype=torch.float32):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.Flatten(), nn.Linear(64, 3))
    return dv.DeconvNet(model.to(dtype))


@pytest.fixture(scope="module")
def pairs():
    """Images, each twice, and labels of which one has too few images."""
    torch.manual_seed(1)
    images = torch.randn(35, 2, 8, 8).repeat_interleave(2, 0)  # ties
    return images, torch.tensor([0, 1, 2, 0, 2, 1, 2] * 9 + [7] * 7)


def scanned(data, net=None, **options):
    return dv.scan(net or network(), data, progress=False, **{"batch_size": 8} | options)


def maxima_of(net, images, layer):
    found = []
    hook = net.model[int(layer)].register_forward_hook(lambda module, args, output: found.append(output))
    with torch.no_grad():
        net.model(images)
    hook.remove()
    return found[0].flatten(2).amax(2) if found[0].ndim > 2 else found[0]


def counted_area(maxima, positive):
    """By pairs."""
    high, low = maxima[positive].tolist(), maxima[~positive].tolist()
    return sum((a > b) + (a == b) / 2 for a in high for b in low) / (len(high) * len(low))


def test_areas_are_those_of_counted_pairs(pairs):
    images, labels = pairs
    top, net = scanned(pairs), network()
    held_out = held_out_half(torch.arange(len(labels)), labels)
    for layer in ("0", "2", "4"):
        found, maxima = top.labels[layer], maxima_of(net, images, layer)
        assert found.names == ("0", "1", "2")  # 7 has too few
        assert found.held_out == int(held_out.sum())
        for channel in range(maxima.shape[1]):
            of_half = [
                [counted_area(maxima[half, channel], labels[half] == label) for label in range(3)]
                for half in (~held_out, held_out)
            ]
            best = int(found.label[channel])
            assert of_half[0][best] == pytest.approx(max(of_half[0]), abs=1e-9)
            assert found.chosen_auc[channel] == pytest.approx(of_half[0][best], abs=1e-9)
            assert found.auc[channel] == pytest.approx(of_half[1][best], abs=1e-9)
            assert int(found.images[channel]) == int((labels[held_out] == best).sum())


def test_labels_are_renamed_with_the_classes(pairs):
    top, names = scanned(pairs), ["sky", "sea", "sand", *"3456", "star"]
    renamed = with_classes(top, names)
    assert renamed.classes == tuple(names)
    assert {found.names for found in renamed.labels.values()} == {("sky", "sea", "sand")}
    by_the_scan = scanned(pairs, classes=names)
    for layer, found in by_the_scan.labels.items():
        assert [found.name(n) for n in range(len(found.label))] == [
            renamed.labels[layer].name(n) for n in range(len(found.label))
        ]
    again = with_classes(by_the_scan, ["a", "b", "c"])
    assert again.labels["4"].names == ("a", "b", "c")
    ambiguous = with_classes(scanned(pairs, classes=["crane", "sea", "crane"]), ["bird", "b", "machine"])
    assert ambiguous.labels["4"].names == ("crane", "b", "crane")
    assert with_classes(top, []) is top


def test_halves_have_as_many_images_of_each_label_in_whatever_order():
    labels = torch.tensor([3] * 40 + [5] * 17 + [9])
    numbers = torch.arange(len(labels)) * 3
    held_out = held_out_half(numbers, labels)
    assert [int(held_out[labels == label].sum()) for label in (3, 5, 9)] == [20, 8, 0]
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    assert torch.equal(held_out_half(numbers[order], labels[order]), held_out[order])


@pytest.mark.parametrize("limit", [None, 60], ids=["all", "some"])
def test_neither_order_nor_breaks_change_a_byte(pairs, tmp_path, monkeypatch, limit):
    if limit:
        monkeypatch.setattr(labelled_maxima, "BYTES", limit * 4 * 12)
    expected = scanned(pairs).save(tmp_path / "a").read_bytes()
    monkeypatch.setattr(state, "SECONDS", 0)
    monkeypatch.setattr(state, "SHARE", 0)
    for _ in range(2):  # the second one goes on from a finished state
        assert scanned(pairs, state=tmp_path / "state").save(tmp_path / "a").read_bytes() == expected
    labels = scanned(pairs).labels
    for size in (1, 70):
        again = scanned(pairs, batch_size=size).labels
        assert all(torch.equal(again[name].label, found.label) for name, found in labels.items())
        if size > 1:  # one image at a time rounds otherwise
            assert all(torch.allclose(again[name].auc, found.auc, atol=1e-12) for name, found in labels.items())


def test_the_images_that_are_kept_follow_from_their_numbers(monkeypatch):
    monkeypatch.setattr(labelled_maxima, "BYTES", 30 * 4 * 2)
    assert most_images(2) == 30
    numbers = torch.randperm(100, generator=torch.Generator().manual_seed(0)).tolist()
    labels = [None if number % 10 == 0 else number % 3 for number in range(100)]
    expected = sorted(sorted((n for n in range(100) if n % 10), key=lambda n: random_ranks([n])[0])[:30])

    def kept_of(batches):
        kept, rows = KeptImages(30, LabelledMaxima()), KeptRows(2, CPU, 30)
        for batch in batches:
            placed = kept.placed(batch, [labels[number] for number in batch])
            rows.write(placed, torch.tensor([[number, -number] for number in batch], dtype=torch.float64))
        return kept.sorted({"a": rows.values[: len(kept.numbers)]})

    parts = [numbers[start : start + 7] for start in range(0, 100, 7)]
    merged = kept_of(parts[::2])
    merged.merge(kept_of(parts[1::2]))
    for found in (kept_of(parts), kept_of([range(100)]), merged):
        assert found.images.tolist() == expected
        assert found.values["a"].tolist() == [[number, -number] for number in expected]
        assert found.labels.tolist() == [number % 3 for number in expected]


def test_a_planted_channel_gets_its_label_and_the_others_none():
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(80, 1, 4, 4, generator=generator), torch.arange(80) % 4
    images[labels == 2] += 1.5
    model = nn.Sequential(nn.Conv2d(1, 3, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, -1.0, 0.0]).view(3, 1, 1, 1))
        model[0].bias.zero_()
    found = scanned((images, labels), dv.DeconvNet(model), classes=["a", "b", "sixes", "d"]).labels["0"]
    assert found.fits.tolist() == [True, False, False]
    assert found.name(0) == "sixes, AUC 1.00 on held-out images"
    assert found.name(2) == "no label fits (best: a, AUC 0.50)"
    assert "1 of 3 channels" in found.verdict


def test_labels_are_whole_numbers_of_up_to_63_bits():
    torch.manual_seed(1)
    kinds = [5, 2**31, 2**63 - 1, 2**63]
    images = [(torch.rand(2, 8, 8) + number % 4, kinds[number % 4]) for number in range(64)]
    found = scanned(images, layers=["4"]).labels["4"]
    assert found.names == ("5", "2147483648", "9223372036854775807")
    assert found.held_out == 24


def test_permuted_labels_name_no_channel():
    generator, named = torch.Generator().manual_seed(0), 0
    for _ in range(60):
        maxima = torch.rand(160, 40, generator=generator)
        maxima[:, 10:] = (maxima[:, 10:] - torch.linspace(0.5, 0.98, 30)).relu()  # most channels are often silent
        maxima[:, 25:] = (maxima[:, 25:] > 0).float()
        labels = torch.arange(10).repeat(16)[torch.randperm(160, generator=generator)]
        found = channel_labels(LabelledMaxima(torch.arange(160), labels, {"a": maxima}), (), CPU)["a"]
        named += bool((found.p <= 0.05).any())
    assert named <= 60 * 0.05


def test_digits_have_names_and_permuted_ones_have_none():
    images, labels = mnist_test()
    images, labels = images[:500], labels[:500]
    net = dv.DeconvNet(mnist_cnn())
    options = {"layers": ["conv2", "fc2"], "batch_size": 250}
    assert scanned((images, labels), net, **options).labels["fc2"].fits.all()
    order = torch.randperm(500, generator=torch.Generator().manual_seed(0))
    permuted = scanned((images, labels[order]), net, **options).labels
    assert not any(found.fits.any() for found in permuted.values())


def test_the_chance_of_a_sum_of_ranks_is_never_underestimated():
    for values in ([0.0] * 8 + [1.0] * 4, list(range(12)), [0.0] * 5 + [1, 2, 2, 3, 4, 4, 4]):
        ranks = Ordered.of(torch.tensor([values])).ranks
        sums = [sum(drawn) for drawn in itertools.combinations(ranks[0].tolist(), 4)]
        for limit in sorted(set(sums)):
            exact = sum(value >= limit for value in sums) / len(sums)
            assert chance_of(ranks, torch.tensor([limit]), torch.tensor([4])) >= exact - 1e-12
    many = Ordered.of(torch.rand(1, 500)).ranks
    strongest = many[0].sort().values[-20:].sum()
    assert chance_of(many, strongest[None], torch.tensor([20])) < 1e-12


def test_without_labels_or_with_too_few_nothing_is_said(pairs):
    images, _ = pairs
    assert scanned(images).labels == {}
    assert scanned(pairs, labels=False).labels == {}
    for given in (torch.zeros(70, dtype=torch.long), torch.arange(70), torch.arange(70) // 15 * 100_000):
        found = scanned((images, given), layers=["4"]).labels["4"]
        few = given.unique(return_counts=True)[1].max() < 16 or len(given.unique()) == 1
        assert few
        assert found.names == ()
        assert "Too few to say" in found.verdict
        assert found.name(0) == "too few images per label to say"
        assert not found.fits.any()
        assert str(found)
        assert found.figure() is not None


def test_other_types_and_several_units_per_image(pairs):
    images, labels = pairs
    expected = scanned(pairs).labels
    for other in (
        scanned(pairs, per_image=3).labels,
        scanned((images.double(), labels), network(torch.float64)).labels,
    ):
        for layer, found in other.items():
            assert torch.equal(found.label, expected[layer].label)
            assert torch.allclose(found.auc, expected[layer].auc, atol=0.02)


def test_images_of_several_sizes():
    torch.manual_seed(0)
    items = [(torch.rand(2, 6 + number % 3, 7), number % 2) for number in range(40)]
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(2, 5, 3)))
    found = dv.scan(net, items, batch_size=1, progress=False).labels["0"]
    maxima = torch.stack([net.model(image[None])[0].flatten(1).amax(1) for image, _ in items]).detach()
    labels = torch.tensor([label for _, label in items])
    held_out = held_out_half(torch.arange(40), labels)
    for channel in range(5):
        area = counted_area(maxima[held_out, channel], labels[held_out] == found.label[channel])
        assert found.auc[channel] == pytest.approx(area, abs=1e-9)


def test_a_device_finds_the_same(pairs):
    expected = scanned(pairs).labels
    with pretending("cuda") as device:
        net = network()
        net.model.to(device.name)
        found = scanned(pairs, net).labels
    for layer, on_device in found.items():
        assert torch.equal(on_device.auc, expected[layer].auc)
        assert torch.equal(on_device.p, expected[layer].p)
        assert on_device.auc.device == CPU


def test_saved_printed_and_drawn(pairs, tmp_path):
    top = scanned(pairs)
    found = top.labels["2"]
    loaded = TopActivations.load(top.save(tmp_path / "top")).labels["2"]
    assert torch.equal(loaded.auc, found.auc)
    assert loaded.names == found.names
    assert ChannelLabels.load(found.save(tmp_path / "labels")).verdict == found.verdict
    rows = json.loads(json.dumps(found.as_json()))["table"]
    assert [row["channel"] for row in rows] == [0, 1, 2, 3]
    assert {"label", "AUC", "low", "high", "p", "images", "fits"} <= set(rows[0])
    assert "held-out" in str(found)
    assert len(found.figure().axes) == 1
