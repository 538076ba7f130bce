"""The one verdict on a channel's projections, and how often it is wrong where there is nothing."""

from __future__ import annotations

import pytest
import torch

from deconvviz.atlas.evidence import said_of_layer
from deconvviz.atlas.held_out import ChannelAnswers, readings
from deconvviz.evidence.specificity import Reading, Specificity, specificity

PASSED = Reading(score=1.0, other=0.5, random=0.5, questions=20, p=0.001)
FAILED = PASSED._replace(score=0.6, p=0.4)
UNABLE = FAILED._replace(questions=8, able=False)


def noise(count, size=400, seed=0):
    return torch.randn(count, 1, size, 1, generator=torch.Generator().manual_seed(seed))


def mixed(image, unit, share):
    """Pictures that are in part those of the image, and else those of the unit."""
    return share**0.5 * image + (1 - share) ** 0.5 * unit


def judged(share, images=9, reading=None, unit_seed=2):
    image = noise(images)
    own = mixed(image, noise(1, seed=unit_seed).expand(images, -1, -1, -1), share)
    neighbours = mixed(image, noise(1, seed=9).expand(images, -1, -1, -1), share)
    return specificity(own, neighbours, [None] * images, reading)


@pytest.mark.parametrize(("share", "verdict"), [(0.95, "not"), (0.5, "partly"), (0.05, "specific")])
def test_the_nearer_to_another_unit_s_picture_the_less_specific(share, verdict):
    found = judged(share)
    assert found.verdict == verdict
    assert found.share == pytest.approx(share, abs=0.06)
    assert found.other_image == pytest.approx(1 - share, abs=0.06)
    assert found.images == 9


def test_numbers_are_those_of_plain_cosines():
    own, others = noise(9, 6, 1), noise(9, 6, 2)
    found = specificity(own, others, list(own * 3))

    def mean(a, b):
        return torch.cosine_similarity(a.double().flatten(1), b.double().flatten(1)).mean().item()

    following = [*range(1, 9), 0]
    expected = mean(own, others), mean(own, own[following]), mean(own, others[following]), 1.0
    assert (found.other_unit, found.other_image, found.floor, found.random) == pytest.approx(expected, abs=1e-9)
    assert found.share == pytest.approx((expected[0] - expected[2]) / (1 - expected[2]))


@pytest.mark.parametrize(
    ("reading", "verdict"), [(PASSED, "specific"), (FAILED, "partly"), (UNABLE, "specific"), (None, "specific")]
)
def test_pictures_unlike_those_of_others_must_be_read(reading, verdict):
    assert judged(0.05, reading=reading).verdict == verdict


def test_reading_does_not_help_pictures_of_the_image():
    assert judged(0.95, reading=PASSED).verdict == "not"
    assert judged(0.5, reading=PASSED).verdict == "partly"


def test_seven_images_are_too_few():
    assert judged(0.95, images=7).verdict == "none"
    assert judged(0.95, images=8).verdict == "not"


def test_pictures_that_are_all_alike_are_not_specific():
    same = noise(1).expand(9, -1, -1, -1)
    assert specificity(same, same + 0.1 * noise(9, seed=3), [None] * 9, PASSED).verdict == "not"


def test_blank_pictures_and_missing_neighbours_are_not_judged():
    own = noise(9)
    assert specificity(own * 0, noise(9, seed=1), [None] * 9).verdict == "none"
    assert specificity(own, [None] * 9, [None] * 9).verdict == "none"
    assert specificity([], [], []).verdict == "none"
    assert specificity(own[:1], own[:1], [None]).verdict == "none"


def test_noise_is_seldom_called_anything():
    found = [specificity(noise(9, 30, 3 * n), noise(9, 30, 3 * n + 1), [None] * 9) for n in range(300)]
    verdicts = [one.verdict for one in found]
    assert verdicts.count("not") == 0
    assert verdicts.count("specific") / len(verdicts) <= 0.05


def test_chance_seldom_reads_any_channel_of_a_layer():
    generator, layers, wrong = torch.Generator().manual_seed(0), 300, 0
    for _ in range(layers):
        right = torch.bernoulli(torch.full((2, 12, 20), 0.5), generator=generator).sum(-1)
        answers = [ChannelAnswers(20, {"template": {"own": a}, "hog": {"own": b}}) for a, b in right.T.tolist()]
        wrong += any(one.p <= 0.05 for one in readings(answers))
    assert wrong / layers <= 0.05


def test_a_perfect_score_must_be_able_to_pass():
    perfect = {"template": {"own": 20.0, "random": 10.0}, "hog": {"own": 10.0}}
    many = readings([ChannelAnswers(20, perfect)] * 500 + [None])
    assert many[-1] is None
    assert (many[0].score, many[0].random, many[0].able) == (1.0, 0.5, True)
    assert many[0].p == pytest.approx(2 * 500 / 2**20)
    few = readings([ChannelAnswers(8, {name: {"own": 8.0} for name in ("template", "hog")})] * 20)
    assert not few[0].able


def channels(**counts):
    return [Specificity(verdict=verdict, images=9) for verdict, count in counts.items() for _ in range(count)]


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (channels(**{"not": 512}), "512 of 512 channels' projections are not specific to them: look at the patches."),
        (channels(**{"not": 1}), "1 of 1 channel's projections are not specific to it: look at the patches."),
        (
            channels(specific=5, partly=1, none=2),
            "5 of 6 channels' projections are specific to them. 2 channels could not be judged.",
        ),
        (
            channels(**{"specific": 2, "partly": 3, "not": 1}),
            "2 of 6 channels' projections are specific to them, 3 partly and 1 not: look at the patches, too.",
        ),
        (channels(none=4), "No channel's projections could be judged: look at the patches."),
        ([], ""),
    ],
)
def test_a_sentence_for_the_layer(found, sentence):
    assert said_of_layer(found, len(found)) == sentence


def test_the_sentence_has_the_controls():
    found = [Specificity(verdict="specific", images=9, reading=PASSED._replace(other=float("nan")))] * 9
    assert said_of_layer(found, 9).endswith(
        " An observer who sees a channel's projections tells which of two other images fires it in 100% of the cases "
        "(50% by those of random weights); chance is 50%."
    )
