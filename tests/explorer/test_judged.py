"""Whether to believe a unit is measured in steps that a click need not wait for."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.atlas.evidence import Judge
from deconvviz.evidence.curves import UnitsInImages, gains, gains_in_steps
from deconvviz.evidence.metrics import heatmap
from deconvviz.evidence.steps import finished
from deconvviz.explorer import judged
from deconvviz.explorer.answers import Answers
from deconvviz.explorer.networks import ImageKey, Networks
from tests.helpers.explorer_client import small_images, small_net

IMAGE = ImageKey("data-0")


def passes_of(model: nn.Module) -> list[int]:
    """A list to which every forward pass adds how many images it has."""
    found: list[int] = []
    model.register_forward_pre_hook(lambda module, given: found.append(len(given[0])))
    return found


@pytest.mark.parametrize(("pixels", "at_once"), [(1, 1), (144 * 4, 4), (10**6, 16)])
def test_a_step_has_one_pass_of_few_pixels(pixels: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judged, "STEP_PIXELS", pixels)
    net = small_net()
    passes = passes_of(net.model)
    steps = judged.UnitBadges(Answers(Networks(net, small_images(1)), [])).badges("c", IMAGE, "3", 2, None)
    by_step: list[list[int]] = []

    def counted() -> Any:
        before = 0
        for share in steps:
            by_step.append(passes[before:])
            before = len(passes)
            yield share

    shares = list(counted())
    inserted = [images for step in by_step[2:] for images in step]
    assert max(map(len, by_step)) == 1
    assert inserted == [at_once] * (16 // at_once)
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1


def test_a_score_in_small_steps_is_that_of_all_at_once() -> None:
    net, image = small_net(), small_images(1)
    projection = net.project(image, "3", channel=2)
    (unit,), (box,) = projection.units, projection.receptive_fields.tolist()
    field = tuple((first, last) for first, last in box)
    units = UnitsInImages(net, "3", image, [(2, unit.position)], [field])
    heats = [heatmap(projection.cut(0, box)[None])[0]]
    together = gains(units, heats, steps=8, batch_size=64)
    for size in (1, 3, 16):
        assert finished(gains_in_steps(units, heats, steps=8, batch_size=size)) == pytest.approx(together)


def test_a_judge_copies_the_network_only_for_random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    net = small_net()
    copied: list[Any] = []
    real = copy.deepcopy
    monkeypatch.setattr(copy, "deepcopy", lambda what, *more: (copied.append(what), real(what, *more))[1])
    judge = Judge(net)
    trace = net.trace(small_images(1))
    judge.neighbours(trace, net.project(trace, "3", channel=2))
    assert not any(one is net.model for one in copied)
    assert isinstance(judge.random, dv.DeconvNet)
    assert judge.random is judge.random
    assert any(one is net.model for one in copied)


class Tokens(nn.Module):
    """A convolution whose positions become tokens, with channels behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 6, 2, stride=2)
        self.norm = nn.LayerNorm(6)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.norm(self.patch(x).flatten(2).transpose(1, 2))
        return found


@pytest.mark.parametrize(
    ("model", "size", "layer", "why"),
    [
        (Tokens(), (1, 1, 12, 12), "norm", "channels lie behind the batch axis, and those of norm do not."),
        (nn.Sequential(nn.Conv1d(2, 3, 3)), (1, 2, 20), "0", "by inserting pixels into an image, and this is none."),
        (nn.Sequential(nn.Conv3d(1, 3, 3)), (1, 1, 5, 6, 7), "0", "inserting pixels into an image, and this is none."),
    ],
)
def test_what_cannot_be_judged_says_why(model: nn.Module, size: tuple[int, ...], layer: str, why: str) -> None:
    networks = Networks(dv.DeconvNet(model, strict=False), torch.ones(size))
    found = finished(judged.UnitBadges(Answers(networks, [])).badges("c", IMAGE, layer, 2, None))
    kind, words, sentence = found["badges"][0]
    assert (kind, words) == ("none", "Faithfulness not judged")
    assert sentence.endswith(why)
    assert len(found["badges"]) == 2
