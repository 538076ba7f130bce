"""What a test of reading says where nothing is to be found, by simulation, and what it prints, saves and draws."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from deconvviz.results import ReadingQuestion, ReadingTest
from tests.reading.networks import net_of, planted_images, read, templates

CONDITIONS = ("patches", "deconvnet", "another channel")


def answered(right: torch.Tensor, conditions: tuple[str, ...] = CONDITIONS) -> ReadingTest:
    """A result with answers (conditions, channels, questions) and nothing else."""
    _, channels, questions = right.shape
    nothing = torch.full((channels, questions, 2), torch.nan)
    return ReadingTest(
        layer="conv",
        style="deconvnet",
        channels=tuple(range(channels)),
        untested=(),
        conditions=conditions,
        signed=(),
        right={"template": right},
        images=torch.full((channels, questions, 2), -1),
        activations=nothing,
        contrasts=nothing,
        mining=100,
        held_out=100,
        strongest=questions,
        examples=(),
    )


def drawn(chance: torch.Tensor, questions: int, seed: int) -> torch.Tensor:
    """Answers (channels, questions) that are right with the channels' probabilities (channels,)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.bernoulli(chance[:, None].expand(-1, questions), generator=generator)


@pytest.mark.parametrize("channels", [1, 8, 48])
def test_pictures_that_tell_nothing_are_said_to_be_above_chance_in_at_most_5_percent(channels):
    guessing, runs, said = torch.full((channels,), 0.5), 300, 0
    for run in range(runs):
        answers = torch.stack([drawn(guessing, 10, 3 * run + part) for part in range(3)])
        said += "above chance (0.50)" in answered(answers).verdict.replace("not above chance", "")
    assert said / runs <= 0.05


@pytest.mark.parametrize("channels", [8, 48])
def test_exchangeable_pictures_are_said_to_differ_in_at_most_5_percent(channels):
    runs, better, particular = 300, 0, 0
    for run in range(runs):
        ability = 0.5 + 0.5 * torch.rand(channels, generator=torch.Generator().manual_seed(run))
        answers = torch.stack([drawn(ability, 10, 3 * run + part) for part in range(3)])
        verdict = answered(answers).verdict
        better += "more than patches" in verdict or "less than patches" in verdict
        particular += "own patches score more than another channel's (" in verdict
    assert better / runs <= 0.06  # 0.05, and what 300 runs leave open
    assert particular / runs <= 0.05


@pytest.mark.parametrize("channels", [8, 16, 50])
@pytest.mark.parametrize("mean", [0.5, 0.8, 0.97])
def test_intervals_cover_the_score(channels, mean):
    runs, covered = 300, 0
    for run in range(runs):
        generator = torch.Generator().manual_seed(run)
        spread = min(mean, 1 - mean) * 0.5
        ability = mean + spread * (2 * torch.rand(channels, generator=generator) - 1)
        score = answered(drawn(ability, 10, run + runs)[None], ("patches",)).score("template", "patches")
        covered += score.low <= mean <= score.high
    assert covered / runs >= 0.92  # 0.95, less two standard errors of 300 runs
    assert mean > 0.9 or covered / runs <= 0.98


def test_a_true_difference_is_found():
    runs, found = 40, 0
    for run in range(runs):
        abilities = torch.full((48,), 0.8), torch.full((48,), 0.9), torch.full((48,), 0.6)
        verdict = answered(torch.stack([drawn(one, 10, 3 * run + n) for n, one in enumerate(abilities)])).verdict
        found += "more than patches" in verdict and "own patches score more than another channel's (" in verdict
    assert found / runs >= 0.8


def test_channels_are_judged_together():
    right = torch.ones(3, 48, 10)
    right[1, :, 0] = 0
    right[1, 0, 1:9] = 0
    rows = answered(right).channel_scores()
    assert [row["reads"] for row in rows] == [False] * 48, "nine of ten is likely for one of 48 guessing channels"
    assert rows[1]["p"] == pytest.approx(47 * 11 / 1024 + 11 / 1024)
    right[1, 1:] = 1
    rows = answered(right).channel_scores()
    assert [row["reads"] for row in rows] == [False] + [True] * 47
    assert rows[1]["p"] == pytest.approx(48 / 1024)


# What it prints, saves and draws


@pytest.fixture(scope="module")
def result() -> ReadingTest:
    return read(net_of(templates(8)), planted_images(), conditions=CONDITIONS)


def test_the_table_has_a_row_per_observer_and_condition(result):
    rows = result.table()
    assert [(row["observer"], row["pictures"]) for row in rows] == [
        (observer, condition) for observer in ("template", "hog") for condition in CONDITIONS
    ]
    own, other = rows[0], rows[2]
    assert other["minus patches"] == pytest.approx(other["score"] - own["score"])
    assert other["p"] < 0.01
    lines = str(result).splitlines()
    assert lines[0].split() == ["observer", "pictures", "score", "low", "high", "minus", "patches", "p"]
    assert lines[-1] == result.verdict


def test_saving_loading_json_and_the_figure(result, tmp_path: Path):
    again = ReadingTest.load(result.save(tmp_path / "a.safetensors"))
    assert str(again) == str(result)
    assert again.main == "deconvnet"
    assert torch.equal(again.examples[3].choices, result.examples[3].choices)
    facts = json.loads(json.dumps(result.as_json()))
    assert facts["verdict"] == result.verdict
    assert [row["channel"] for row in facts["channels"]] == list(range(8))
    figure = again.figure(condition="patches")
    titles = [axes.get_title() for axes in figure.axes]
    example = result.examples[0]
    assert f"Channel {example.channel}: patches" in titles
    assert sum("fires it" in title for title in titles) == 1
    assert "<table>" in result._repr_html_()


def test_examples_are_the_questions_with_equal_contrast(result):
    assert len(result.examples) == 20
    assert {one.channel for one in result.examples} == set(range(8))
    for one in result.examples:
        assert isinstance(one, ReadingQuestion)
        strengths = (one.choices.float() / 255).flatten(1).std(1)
        assert strengths[0].item() == pytest.approx(strengths[1].item(), abs=0.01)
        assert one.activations[one.answer] > one.activations[1 - one.answer]
        assert one.pictures["deconvnet"].shape == (9, 1, 7, 7)
    assert {one.answer for one in result.examples} == {0, 1}
