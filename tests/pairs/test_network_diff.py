"""Two networks, channel by channel: copies in another order or scale, planted changes, and unrelated networks."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.errors import InputError, UnknownLayerError
from deconvviz.evidence.randomisation import randomise
from deconvviz.models import mnist_cnn
from deconvviz.pairs.assignment import assignment
from deconvviz.pairs.correlation import KEPT_IMAGES, RunningCorrelation
from deconvviz.results import NetworkDiff
from tests.reading.networks import seeded

QUIET: dict[str, Any] = {"progress": False}
IMAGES = mnist_test()[0][:100]
BOTH = ["conv1", "conv2"]


def net() -> nn.Module:
    return mnist_cnn().requires_grad_(False)


def compared(a: nn.Module, b: nn.Module, layers: Any = "conv2", **options: Any) -> NetworkDiff:
    given = {"pictures": 0, **options}
    return dv.diff(dv.DeconvNet(a), dv.DeconvNet(b), IMAGES, layers=layers, **given, **QUIET)


def permuted() -> tuple[nn.Module, Tensor, Tensor]:
    """A copy whose channels lie in another order: channel n is what channel order[n] was."""
    model: Any = net()
    first, second = torch.randperm(24, generator=seeded(0)), torch.randperm(48, generator=seeded(1))
    model.conv1.weight.copy_(model.conv1.weight[first])
    model.conv1.bias.copy_(model.conv1.bias[first])
    model.conv2.weight.copy_(model.conv2.weight[second][:, first])
    model.conv2.bias.copy_(model.conv2.bias[second])
    model.fc1.weight.copy_(model.fc1.weight.unflatten(1, (48, -1))[:, second].flatten(1))
    return model, first, second


@pytest.fixture(scope="module")
def in_another_order() -> NetworkDiff:
    return compared(net(), permuted()[0], BOTH, pictures=8)


# Known answers


def test_channels_in_another_order_are_the_same_channels(in_another_order: NetworkDiff) -> None:
    _, *orders = permuted()
    for layer, order in zip(in_another_order, orders, strict=True):
        assert all(int(order[new]) == old for old, new in layer.pairs.tolist())
        assert float(layer.correlations.min()) > 0.9999
        assert layer.states == ("kept",) * len(order)
        assert float(layer.cosines.nan_to_num(nan=1.0).min()) > 0.999
        assert abs(layer.unmatched_cosine) < 0.5
    assert in_another_order.verdict.startswith("The networks have the same channels in another order over 100 images.")
    assert "conv2: the same 48 channels in another order." in in_another_order.verdict


def test_a_copy_at_another_scale_has_the_same_channels() -> None:
    model: Any = net()
    scale = torch.linspace(0.5, 2.0, 24)
    model.conv1.weight.mul_(scale.view(-1, 1, 1, 1))
    model.conv1.bias.mul_(scale)
    model.conv2.weight.div_(scale.view(1, -1, 1, 1))
    found = compared(net(), model, BOTH)
    by_channel = dict(zip(found["conv1"].pairs[:, 0].tolist(), found["conv1"].ratios.tolist(), strict=True))
    assert [by_channel[channel] for channel in range(24)] == pytest.approx(scale.tolist(), rel=1e-3)
    assert "the same channels, at another scale" in found.verdict
    assert "conv1: the same 24 channels, at another scale (0.5 to 2 times as strong). conv2: the same 48 channels." in (
        found.verdict
    )


def test_a_network_and_itself_have_the_same_channels() -> None:
    found = compared(net(), net(), None)
    assert [layer.name for layer in found] == ["conv1", "conv2", "fc1", "fc2"]
    assert all(one == other for layer in found for one, other in layer.pairs.tolist())
    assert found.overall == "The networks have the same channels over 100 images."


def test_untrained_networks_are_unmatched_at_the_level_of_chance() -> None:
    a, b = (mnist_cnn(pretrained=False) for _ in range(2))
    for model in (a, b):
        torch.manual_seed(10 + (model is b))
        model._initialise()
    found = compared(a, b, BOTH)
    assert not any(layer.kept or layer.changed for layer in found)
    assert found.overall == "No channel of 72 is shown to have a counterpart over 100 images."
    assert "have a counterpart: matched channels correlate at 0." in found["conv2"].verdict
    assert found["conv2"].verdict.endswith("with those of untrained networks).")
    assert "which is the level of chance (0." in found["conv2"].verdict
    assert abs(found["conv2"].mean - found["conv2"].chance) < 0.1


def test_planted_channels_that_vanish_and_appear_are_named() -> None:
    before: Any = net()
    after: Any = net()
    before.conv2.weight[5], before.conv2.bias[5] = 0, -1  # silent before
    after.conv2.weight[9], after.conv2.bias[9] = 0, -1  # silent after
    found = compared(before, after)["conv2"]
    assert found.constant == ((5,), (9,))
    assert (found.vanished, found.appeared) == ((9,), (5,))
    assert sorted(found.kept) == [(n, n) for n in range(48) if n not in (5, 9)]
    rows = {(row["channel"], row["counterpart"]): row["state"] for row in found.table()}
    assert rows[9, None] == "vanished"
    assert rows[None, 5] == "appeared"
    assert "46 of 48 channels kept, 0 changed, 1 vanished and 1 appeared" in found.verdict


def test_constant_channels_of_both_are_listed_as_silent() -> None:
    before: Any = net()
    before.conv2.weight[5], before.conv2.bias[5] = 0, -1
    found = compared(before, copy.deepcopy(before))["conv2"]
    assert found.table()[-1]["state"] == "silent in both"
    assert found.verdict == "conv2: the same 47 channels."


def test_large_networks_have_one_untrained_copy_whose_weights_are_drawn_for_each_batch(
    in_another_order: NetworkDiff, monkeypatch: Any
) -> None:
    from deconvviz.pairs import runs

    monkeypatch.setattr(runs, "KEPT_COPIES", 0)
    redrawn: list[int] = []
    monkeypatch.setattr(
        runs, "randomise", lambda *given, like: redrawn.append(given[2]) or randomise(*given, like=like)
    )
    found = compared(net(), permuted()[0], BOTH, batch_size=60)
    assert redrawn == [0, 1, 2, 3] * 4  # two batches of two networks
    for layer, wanted in zip(found, in_another_order, strict=True):
        of_channels, wanted_of_channels = (
            one.untrained[:, :, one.pairs[:, 0].argsort()].numpy() for one in (layer, wanted)
        )
        assert of_channels == pytest.approx(wanted_of_channels, abs=1e-4)


# Against independent references


def test_the_matching_has_the_largest_sum() -> None:
    generator = seeded(0)
    for shape in ((1, 1), (5, 5), (3, 9), (9, 3), (40, 40)):
        for _ in range(5):
            scores = torch.randn(shape, generator=generator, dtype=torch.float64)
            rows, columns = assignment(scores)
            wanted = linear_sum_assignment(-scores.numpy())
            assert rows.tolist() == wanted[0].tolist()
            assert len(set(columns.tolist())) == min(shape)
            assert float(scores[rows, columns].sum()) == pytest.approx(scores.numpy()[wanted].sum())
    assert [len(part) for part in assignment(torch.zeros(0, 3))] == [0, 0]


def test_correlations_are_those_of_the_strongest_units() -> None:
    a, b = net(), permuted()[0]
    b.conv2.weight.add_(0.02 * torch.randn(b.conv2.weight.shape, generator=seeded(2)))  # type: ignore[union-attr,operator]
    found = compared(a, b)["conv2"]
    values = []
    for model in (a, b):
        kept: list[Tensor] = []
        handle = model.conv2.register_forward_hook(lambda module, given, maps, kept=kept: kept.append(maps))
        model.eval()(IMAGES)
        handle.remove()
        values.append(kept[0].flatten(2).amax(2).double().numpy())
    wanted = np.corrcoef(values[0].T, values[1].T)[:48, 48:]
    chosen = linear_sum_assignment(-wanted)
    order = np.argsort(-wanted[chosen])
    assert found.correlations.tolist() == pytest.approx(wanted[chosen][order].tolist(), abs=1e-5)
    assert found.pairs[:, 1].tolist() == chosen[1][order].tolist()
    apart = np.ones_like(wanted, dtype=bool)
    apart[chosen] = False
    assert found.unmatched == pytest.approx(wanted[apart].mean(), abs=1e-5)


def test_sums_over_batches_are_those_of_all_images_and_memory_is_bounded() -> None:
    generator = seeded(0)
    a = torch.randn(3 * KEPT_IMAGES + 11, 3, generator=generator) + 1000
    b = a[:, [2, 0]] + torch.randn(len(a), 2, generator=generator)
    running = RunningCorrelation()
    for start in range(0, len(a), 500):
        running.add(a[start : start + 500], b[start : start + 500])
    wanted = np.corrcoef(a.double().T.numpy(), b.double().T.numpy())[:3, 3:]
    assert running.correlations().numpy() == pytest.approx(wanted, abs=1e-9)
    kept = torch.cat([part for part, _ in running._kept])
    assert KEPT_IMAGES // 2 < len(kept) <= KEPT_IMAGES
    assert torch.equal(kept, a[:: running._every].double())


@pytest.mark.slow
def test_untrained_networks_get_counterparts_in_at_most_5_percent() -> None:
    """Maxima over positions of random filters, which have much in common because they see the same contrast."""
    runs, channels, images, alarms = 200, 12, 60, 0
    patches = torch.nn.functional.unfold(IMAGES[:images, :, 4:24, 4:24], 5, stride=3)
    for run in range(runs):
        values = [
            (torch.randn(channels, 25, generator=seeded(100 * run + n)) @ patches).amax(2) for n in range(10)
        ]  # two networks, and four untrained copies of each
        alarms += _has_counterpart(values)
    assert alarms / runs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)


def _has_counterpart(values: list[Tensor]) -> bool:
    from deconvviz.pairs.diff import _matched
    from deconvviz.pairs.runs import Correlations

    def running(a: Tensor, b: Tensor) -> RunningCorrelation:
        one = RunningCorrelation()
        one.add(a, b)
        return one

    a, b, *drawn = values
    untrained = tuple((running(a, drawn[n]), running(drawn[4 + n], b)) for n in range(4))
    found = _matched(Correlations(own=running(a, b), untrained=untrained))
    from deconvviz.intervals import holm

    return min(holm(found.p.tolist())) <= 0.05


# Arguments, other networks


class Wide(nn.Module):
    """Another network with more channels, other names, other maps."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 30, 7, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x).relu()  # type: ignore[no-any-return]


def test_layers_of_two_models_are_matched_by_a_mapping() -> None:
    found = compared(net(), Wide().eval(), {"conv1": "first"}, pictures=3)
    layer = found["conv1"]
    assert (layer.layers, layer.name, len(layer.pairs)) == (("conv1", "first"), "conv1 / first", 24)
    assert len(layer.examples) == 3
    assert len(layer.vanished) + sum(state != "no counterpart" for state in layer.states) == 24
    with pytest.raises(InputError, match="the networks have no layer of the same name: one has conv1, conv2, fc1, the"):
        compared(net(), Wide().eval(), None)
    with pytest.raises(UnknownLayerError, match=r"the second network: .*'conv1'"):
        compared(net(), Wide().eval(), "conv1")
    with pytest.raises(InputError, match="there is no layer to look at"):
        compared(net(), Wide().eval(), {})


def test_a_stream_is_read_once_also_for_networks_that_prepare_images_differently() -> None:
    read = []

    def items() -> Any:
        for number, image in enumerate(IMAGES[:40]):
            read.append(number)
            yield (image[0].numpy() * 255).astype("uint8")

    model = net()
    a = dv.DeconvNet(model, preprocess=lambda image: torch.tensor(np.asarray(image))[None].float() / 255)
    b = dv.DeconvNet(model, preprocess=lambda image: torch.tensor(np.asarray(image))[None].float() / 128)
    found = dv.diff(a, b, items(), layers="conv1", **QUIET)
    assert read == list(range(40))
    assert (found.images, found[0].examples) == (40, ())
    assert float(found[0].correlations.min()) > 0.99


def test_images_that_one_network_cannot_read_are_left_out_for_both() -> None:
    def fussy(image: Any) -> Tensor:
        array = torch.tensor(np.asarray(image))[None].float() / 255
        if float(array.sum()) == 0:
            raise ValueError("black")
        return array

    arrays = [(image[0].numpy() * 255).astype("uint8") for image in IMAGES[:20]]
    arrays[4] *= 0
    model = net()
    plain = dv.DeconvNet(model, preprocess=lambda image: torch.tensor(np.asarray(image))[None].float() / 255)
    found = dv.diff(dv.DeconvNet(model, preprocess=fussy), plain, arrays, layers="conv1", pictures=2, **QUIET)
    assert (found.images, [item.image for item in found.broken]) == (19, [4])
    assert found.overall == "The networks have the same channels over 19 images."


def test_signals_are_compared_without_pictures() -> None:
    a, b = (nn.Sequential(nn.Conv1d(2, 6, 5), nn.ReLU()).double() for _ in range(2))
    b.load_state_dict(a.state_dict())
    signals = torch.randn(20, 2, 40, generator=seeded(0), dtype=torch.float64)
    found = dv.diff(dv.DeconvNet(a), dv.DeconvNet(b), signals, **QUIET)
    assert "the same 6 channels" in found.verdict
    assert found[0].examples == ()


# Shown


def test_a_result_is_saved_loaded_printed_and_drawn(in_another_order: NetworkDiff, tmp_path: Path) -> None:
    loaded = NetworkDiff.load(in_another_order.save(tmp_path / "diff.safetensors"))
    assert str(loaded) == str(in_another_order)
    assert loaded["conv2"].states == in_another_order["conv2"].states
    assert len(repr(loaded).splitlines()) == 1
    facts = json.loads(json.dumps(loaded.as_json()))
    assert facts["table"][1]["kept"] == len(facts["channels"]["conv2"]) == 48
    drawn = loaded["conv2"].figure(pairs=4)
    titles = [axes.get_title(loc="left") for part in drawn.subfigs for axes in part.axes]
    first = loaded["conv2"].pairs[0].tolist()
    assert f"{first[0]} and {first[1]}: 1.00, kept; pictures 1.00" in titles
    assert "<img" in loaded._repr_html_()
    assert loaded.figure().get_suptitle() == "Channels of two networks: MnistCNN (before), MnistCNN (after)"
    with pytest.raises(InputError, match="there is no layer 'conv3' in the comparison"):
        loaded["conv3"]
    assert dataclasses.replace(loaded, layers=loaded.layers[:1]).figure() is not None
