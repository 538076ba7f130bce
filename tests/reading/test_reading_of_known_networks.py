"""The test of reading on networks of which it is known what a reader can learn from their pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import deconvviz as dv
from deconvviz.errors import InputError
from tests.reading.networks import SIDE, Constant, Energy, Invisible, net_of, planted_images, read, seeded, templates

STYLES = ("deconvnet", "guided", "gradient")
UNIFORM = torch.rand(200, 1, SIDE, SIDE, generator=seeded(7))


@pytest.fixture(scope="module")
def planted():
    return read(net_of(templates()), planted_images())


def test_matched_filters_are_read(planted):
    for condition in ("patches", *STYLES):
        assert planted.score("template", condition).mean > 0.97, condition
    for condition in ("another channel", "random images"):
        assert 0.35 < planted.score("template", condition).mean < 0.65, condition
    assert "above chance" in planted.verdict
    assert "the channel's own patches score more than another channel's" in planted.verdict
    assert all(row["reads"] for row in planted.channel_scores())


def test_pictures_and_questions_come_from_different_images_and_no_image_is_asked_twice(planted):
    images = planted_images()
    assert (planted.mining, planted.held_out, planted.strongest) == (120, 120, 12)
    same = read(net_of(templates()), images[:120], held_out=images[120:], channel=0, observers=["template"])
    strong, weak = same.images[0, :, 0].tolist(), same.images[0, :, 1].tolist()
    assert len(set(strong + weak)) == 24
    found = torch.nn.functional.conv2d(images[120:], templates(1)).flatten(1).amax(1)  # each image's activation
    ranks = found.argsort(descending=True).tolist()
    assert set(strong) <= set(ranks[:12])
    assert set(weak) <= set(ranks[60:])
    assert torch.allclose(same.activations[0, :, 0], found[strong])


def test_conditions_do_not_change_the_questions(planted):
    alone = read(net_of(templates()), planted_images(), conditions=["guided"], observers=["hog"])
    assert torch.equal(alone.images, planted.images)
    assert torch.equal(alone.contrasts, planted.contrasts)
    assert torch.equal(alone.right["hog"][0], planted.right["hog"][2])


def test_what_the_patch_does_not_show_is_not_read():
    filters = torch.randn(10, 1, 7, 7, generator=seeded(5))
    result = read(net_of(filters, Invisible()), UNIFORM)
    for observer in result.observers:
        for condition in ("patches", *STYLES):
            score = result.score(observer, condition)
            assert score.low < 0.5 < score.high, (observer, condition)
    assert result.verdict.count("which is not above chance (0.50)") == 2
    assert result.verdict.count("that the channel's own patches score more than another channel's is not shown") == 2


def test_contrast_alone_is_not_read():
    amplitudes = torch.rand(200, 1, 1, 1, generator=seeded(8))
    images = 0.5 + (UNIFORM - 0.5) * amplitudes
    result = read(net_of(torch.ones(1, 1, 7, 7), Energy()), images, questions=50)
    asked = ~result.contrasts[0].isnan().any(1)
    strong, weak = result.contrasts[0, asked].unbind(1)
    assert bool((strong > weak).all()), "before matching, contrast gives each answer away"
    for observer in result.observers:
        for condition in result.conditions:
            if condition != "another channel":  # there is none
                score = result.score(observer, condition)
                assert score.low < 0.5 < score.high, (observer, condition)


def test_a_duplicated_channel_is_said_not_to_be_particular():
    net = net_of(templates(1).expand(8, -1, -1, -1))
    result = read(net, planted_images(), conditions=["patches", "another channel"], observers=["template"])
    assert result.score("template", "another channel").mean > 0.97
    assert (
        "another channel's patches score as well, so the pictures are not particular to the channel" in result.verdict
    )


def test_channels_that_tell_no_images_apart_are_not_tested():
    result = read(net_of(templates(3).abs(), Constant()), UNIFORM)
    assert (result.channels, result.untested) == ((), (0, 1, 2))
    assert result.verdict == "No channel of conv could be tested: each fires on too few images, or alike on all."
    assert result.table()[0]["pictures"] == "patches"
    assert result.figure() is not None


def test_few_questions_or_channels_get_no_verdict():
    quick = {"conditions": ["patches"]}
    few = read(net_of(templates(1)), planted_images(), questions=7, **quick)
    assert few.verdict.count("too few channels or questions to say more") == 2
    assert few.channel_scores()[0]["reads"] is None
    three = read(net_of(templates(3)), planted_images(), **quick)
    assert three.verdict.count("too few channels or questions to say more") == 2
    assert all(row["reads"] for row in three.channel_scores())
    one = read(net_of(templates(1)), planted_images(), **quick)
    assert "above chance" in one.verdict


def test_photographs_of_any_range_and_number_of_channels():
    class Wide(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(4, 8, 3)

        def forward(self, x):
            return self.conv(x)

    torch.manual_seed(0)
    net = dv.DeconvNet(Wide().eval())
    result = read(net, 20 * torch.randn(120, 4, 9, 9, generator=seeded(2)), questions=8)
    assert result.examples[0].choices.shape == (2, 1, 3, 3)
    assert result.score("template", "patches").mean > 0.5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"conditions": ["pathces"]}, "there are no pictures 'pathces'; there are 'patches'.*did you mean 'patches'"),
        ({"conditions": []}, "there are no pictures to read; name at least one condition, or give conditions=None"),
        ({"observers": ["hogg"]}, "there is no observer 'hogg'; there are 'template', 'hog'; did you mean 'hog'"),
        ({"observers": []}, "there is no observer; name at least one, or give observers=None for all"),
        ({"observers": {"mine": lambda x: x}}, r"observer 'mine' must return finite vectors \(N, D\)"),
        ({"questions": 61}, "61 questions about a channel need at least 122 held-out images, and there are 120"),
        ({"held_out": iter(())}, "held_out needs a length and items by number"),
    ],
)
def test_what_does_not_fit_is_said(options, said):
    with pytest.raises(InputError, match=said):
        read(net_of(templates(2)), planted_images(), **options)


def test_a_users_embedding_is_an_observer():
    def average(images):
        assert images.shape[1] == 3
        return images.mean(1).flatten(1) - 0.5

    result = read(net_of(templates(4)), planted_images(), observers={"pixels": average})
    assert result.observers == ("pixels",)
    assert result.score("pixels", "patches").mean > 0.95


def test_the_random_state_decides_and_nothing_else():
    net, images = net_of(templates(2)), planted_images()
    quick = {"conditions": ["patches"], "observers": ["template"]}
    first, again, other = (read(net, images, random_state=seed, **quick) for seed in (1, np.uint8(1), 2))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
