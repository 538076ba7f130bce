"""Synthetic pictures in the test of reading: of networks of which it is known what they read."""

from __future__ import annotations

import torch

import deconvviz as dv
from deconvviz.reading.conditions import chosen_conditions
from deconvviz.reading.pieces import UnitWindows
from deconvviz.reading.synthetic_references import synthetic_references
from tests.reading.networks import FIELD, Planted, planted_images, templates


def test_synthetic_pictures_are_what_the_unit_sees_of_what_is_planted() -> None:
    net, images = dv.DeconvNet(Planted(templates(3))), planted_images(30)
    windows = UnitWindows.of(net.layers(images[:1])["conv"], images.shape[1:])
    made = synthetic_references(net, "conv", windows, images, (0.0, 1.0), channels=[0, 2], seed=0)
    assert sorted(made) == [0, 2]
    for channel, pictures in made.items():
        assert pictures.shape == (4, 1, FIELD, FIELD)
        mean = (pictures - pictures.mean((-2, -1), keepdim=True)).mean(0).flatten()
        likeness = torch.cosine_similarity(mean[None], templates(3).flatten(1))
        assert int(likeness.argmax()) == channel
        assert likeness[channel] > 0.5


def test_they_are_read_if_they_are_asked_for_by_name() -> None:
    net = dv.DeconvNet(Planted(templates(3)))
    assert "synthetic" not in chosen_conditions(None, net.style)
    found = dv.reading_test(
        net,
        planted_images(120),
        "conv",
        conditions=["patches", "synthetic"],
        observers=["template"],
        questions=8,
        progress=False,
    )
    assert found.conditions == ("patches", "synthetic")
    assert found.signed == ()
    assert found.score("template", "synthetic").mean > 0.7
    assert found.examples[0].pictures["synthetic"].shape[0] == 4
