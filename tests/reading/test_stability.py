"""Whether the mean picture of a channel is the same with other images: planted channels, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import deconvviz as dv
from deconvviz.reading.stability import MeanPictures
from deconvviz.results import ReadingTest
from tests.reading.networks import Pairs, net_of, planted_images, read, seeded, templates
from tests.reading.test_reading_verdicts import answered

QUICK = {"conditions": ["patches", "deconvnet"], "observers": ["template"], "questions": 8}


def test_a_matched_filter_is_drawn_with_any_images():
    filters = templates().flatten(1).double().numpy()
    result = read(net_of(templates()), planted_images(120), **QUICK)
    own, others = result.stability.unbind(1)
    assert own.tolist() == pytest.approx([1.0] * 12, abs=0.01)
    alike = filters @ filters.T
    expected = (alike.sum(1) - 1) / 11  # that of the filters, since each picture is one
    assert others.tolist() == pytest.approx(expected.tolist(), abs=0.02)
    row = result.channel_scores()[3]
    assert (row["stability"], row["stability of others"]) == tuple(result.stability[3].tolist())
    said = "Mean deconvnet pictures from the two halves of the images have a cosine of 1.00 (1.00 to 1.00), those of"
    assert said in result.verdict


def test_a_channel_that_something_else_fires_in_the_other_half():
    half, other = planted_images(60, [0, 2]), planted_images(60, [1, 3])
    found = {
        style: dv.reading_test(
            dv.DeconvNet(Pairs().eval(), style),
            half,
            "units",
            held_out=other,
            channel=[0, 1],
            **{**QUICK, "conditions": [style]},
            progress=False,
        ).stability[:, 0]
        for style in ("guided", "deconvnet")
    }
    expected = (templates()[0] * templates()[1]).sum(), (templates()[2] * templates()[3]).sum()
    assert found["guided"].tolist() == pytest.approx([float(value) for value in expected], abs=0.15)
    assert bool((found["deconvnet"] > 0.95).all()), "a deconvnet paints both templates, whichever fired"


def test_nothing_is_known_of_few_units_other_conditions_and_blank_pictures():
    net, images = net_of(templates(2)), planted_images(60)
    for options in ({"references": 26}, {"conditions": ["guided"]}):
        result = read(net, images[:35], held_out=images[35:], **{**QUICK, **options})
        assert result.channels == (0, 1)
        assert result.stability.isnan().all()
        assert "halves" not in result.verdict
    means = MeanPictures()
    means.add(4, torch.zeros(9, 1, 3, 3), torch.ones(9, 1, 3, 3))
    assert means.cosines([4, 5]).isnan().all()


def test_cosines_are_those_of_the_mean_pictures():
    pictures = torch.randn(3, 2, 9, 3, 5, 5, generator=seeded(1))
    means = MeanPictures()
    for channel, (one, other) in enumerate(pictures):
        means.add(channel, one, other)
    flat = pictures.double().mean(2).flatten(2).numpy()
    flat /= np.linalg.norm(flat, axis=2, keepdims=True)
    for channel, (own, others) in enumerate(means.cosines(range(3)).tolist()):
        alike = [float(flat[channel, 0] @ flat[number, 1]) for number in range(3)]
        assert own == pytest.approx(alike[channel])
        assert others == pytest.approx((sum(alike) - alike[channel]) / 2)


def judged(stability: torch.Tensor) -> ReadingTest:
    result = answered(torch.ones(1, len(stability), 10), ("deconvnet",))
    return ReadingTest(**{**vars(result), "stability": stability})


def test_pictures_no_more_alike_than_others_are_not_said_to_be_in_95_of_100():
    runs = 300
    said = sum("is not shown" not in judged(torch.rand(24, 2, generator=seeded(n))).verdict for n in range(runs))
    assert said / runs <= 0.05  # 0.025, and two standard errors of 300 runs, rounded up


def test_what_is_said(tmp_path: Path):
    values = torch.tensor([[0.98, 0.10], [0.96, 0.12]]).repeat(4, 1)
    assert judged(values).verdict.endswith(
        "Mean deconvnet pictures from the two halves of the images have a cosine of 0.97 (0.96 to 0.98), those of "
        "different channels 0.11 (0.10 to 0.12)."
    )
    assert judged(values[:2]).verdict.endswith(
        "have a cosine of 0.97, those of different channels 0.11; too few channels to say more."
    )
    alone = torch.tensor([[0.9, torch.nan]])
    assert judged(alone).verdict.endswith("halves of the images have a cosine of 0.90; too few channels to say more.")
    swapped = judged(values.flip(1))
    assert swapped.verdict.endswith("0.97 (0.96 to 0.98); that a channel's own are more alike is not shown.")
    assert "halves" not in answered(torch.ones(1, 8, 10), ("deconvnet",)).verdict, "of a file of an earlier version"
    again = ReadingTest.load(swapped.save(tmp_path / "a.safetensors"))
    assert torch.equal(again.stability, swapped.stability)
