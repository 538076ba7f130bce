"""What a comparison of two networks says: states, sentences, and numbers on axes."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.models import mnist_cnn
from deconvviz.pairs.diff import tail_of_match
from deconvviz.results import LayerDiff, NetworkDiff

IMAGES = mnist_test()[0][:10]


def net() -> nn.Module:
    return mnist_cnn().requires_grad_(False)


def _layer(correlations: list[float], untrained: list[float], images: int = 300, spread: float = 0.05) -> LayerDiff:
    """A layer with given correlations, and draws of random weights about given ones."""
    r = torch.tensor(correlations, dtype=torch.float64)
    shifts = spread * torch.tensor([-1.0, 0.3, 0.9, -0.2], dtype=torch.float64)
    draws = torch.tensor(untrained, dtype=torch.float64) + shifts[:, None]
    channels = torch.arange(len(r))
    return LayerDiff(
        layers=("conv", "conv"),
        images=images,
        pairs=torch.stack([channels, channels], 1),
        correlations=r,
        low=r - 0.02,
        high=(r + 0.02).clamp(max=1),
        untrained=torch.stack([draws, draws]),
        p=tail_of_match(r, draws),
        unmatched=0.1,
        ratios=torch.ones(len(r)),
        cosines=torch.full((len(r),), math.nan),
        unmatched_cosine=math.nan,
        fires=(torch.ones(len(r)), torch.ones(len(r))),
        closest=(r, r),
        constant=((), ()),
        examples=(),
    )


def test_states_follow_the_thresholds() -> None:
    layer = _layer([0.95, 0.7, 0.79, 0.12, 0.5], [0.1, 0.1, 0.1, 0.1, 0.45])
    assert layer.states == ("kept", "changed", "unclear", "no counterpart", "no counterpart")
    assert (layer.kept, layer.changed, layer.unclear) == (((0, 0),), ((1, 1),), ((2, 2),))
    assert layer.vanished == layer.appeared == (3, 4)
    assert _layer([0.95], [0.9], spread=0.05).states == ("unclear",)  # as alike as to untrained networks


def test_pairs_without_an_interval_are_unclear_and_said() -> None:
    layer = _layer([0.95, 0.7, 0.12], [0.1, 0.1, 0.1])
    assert "interval" not in layer.verdict
    for without, said in (([2], "1 pair has"), ([0, 2], "2 pairs have")):
        low, high = layer.low.clone(), layer.high.clone()
        low[without] = high[without] = math.nan
        found = dataclasses.replace(layer, low=low, high=high)
        assert [n for n, state in enumerate(found.states) if state == "unclear"] == without
        assert found.verdict.endswith(f"; {said} no interval, since too few images activate a channel.")


def test_fewer_than_eight_images_get_no_verdict() -> None:
    model = net()
    found = dv.diff(dv.DeconvNet(model), dv.DeconvNet(model), IMAGES[:7], layers="conv1", pictures=0, progress=False)
    assert found.verdict == "7 images are too few to compare channels. conv1: too few images to say (7)."
    assert set(found[0].states) == {"unclear"}
    assert not found[0].vanished
    one = dv.diff(dv.DeconvNet(model), dv.DeconvNet(model), IMAGES[:1], layers="conv1", pictures=0, progress=False)
    assert one.overall == "1 image is too few to compare channels."


def test_networks_that_respond_to_nothing_have_no_counterparts() -> None:
    model = dv.DeconvNet(net())
    found = dv.diff(model, model, torch.zeros(10, 1, 28, 28), layers=["conv1", "conv2"], pictures=2, progress=False)
    assert found.overall == "No channel of 72 is shown to have a counterpart over 10 images."
    assert found["conv1"].verdict == "conv1: no channel differs between these images in both networks."
    assert found.figure().axes
    assert str(found)


def test_verbs_agree_with_one_channel() -> None:
    layer = _layer([0.7, 0.12], [0.1, 0.1])
    found = NetworkDiff(networks=("a", "b"), dataset="c", images=300, broken=(), layers=(layer,))
    assert found.overall == "1 of 2 channels has a counterpart over 300 images, not nearly the same."


@pytest.mark.parametrize(
    ("correlations", "said"),
    [
        ([0.95, 0.12], "1 of 2 channels has a counterpart over 300 images, nearly the same."),
        ([0.95, 0.95, 0.12], "2 of 3 channels have a counterpart over 300 images, both of them nearly the same."),
        ([0.95, 0.95, 0.95, 0.12], "3 of 4 channels have a counterpart over 300 images, all of them nearly the same."),
        ([0.95, 0.7, 0.12], "2 of 3 channels have a counterpart over 300 images, 1 of them nearly the same."),
        ([0.7, 0.7, 0.12], "2 of 3 channels have a counterpart over 300 images, none of them nearly the same."),
    ],
)
def test_how_many_counterparts_are_nearly_the_same(correlations: list[float], said: str) -> None:
    layer = _layer(correlations, [0.1] * len(correlations))
    found = NetworkDiff(networks=("a", "b"), dataset="c", images=300, broken=(), layers=(layer,))
    assert found.overall == said


def test_a_comparison_without_rows_prints_its_verdict_alone() -> None:
    model = dv.DeconvNet(net())
    found = dv.diff(model, model, torch.zeros(3, 1, 28, 28), layers="conv1", pictures=0, progress=False)[0]
    silent = dataclasses.replace(found, constant=((), ()))
    assert silent.table() == []
    assert str(silent) == silent.verdict == "conv1: too few images to say (3)."
    assert "<table>" not in silent._repr_html_()


def test_channels_are_counted_in_whole_numbers() -> None:
    figure = _layer([0.95], [0.1]).figure()
    ticks = figure.axes[0].get_yticks()
    assert ticks.tolist() == [int(tick) for tick in ticks]
