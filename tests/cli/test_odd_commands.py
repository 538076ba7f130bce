"""Odd calls of the command line: each is answered with a result, or refused in one line with nothing written."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.helpers.odd_commands import CALLS, ODD, answer, call, files

TRIED = 3  # of each command


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd") / "workshop"
    folder.mkdir()
    files(folder)
    return folder


@pytest.fixture
def here(workshop, tmp_path, monkeypatch):
    place = Path(shutil.copytree(workshop, tmp_path / "here"))
    monkeypatch.chdir(place)
    return place


def changes(command: str, lot: random.Random) -> list[tuple[str, list[str] | None]]:
    """Arguments with what is put in their place: odd values, none, too many, or the whole argument left out."""
    named, options = CALLS[command]
    found: list[tuple[str, list[str] | None]] = []
    for name in {**named, **options}:
        right = {**named, **options}[name]
        found += [(name, [odd]) for odd in ODD] if right else []
        found += [(name, None), (name, []), (name, [*right, *right]), (name, [*right, lot.choice(ODD)])]
    return found


@pytest.mark.parametrize("command", CALLS)
def test_odd_calls(here, command):
    wrong = [(words, said) for words in sampled(command, TRIED) if (said := answer(words)[-1])]
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("command", CALLS)
def test_more_odd_calls(here, command):
    wrong = [(words, said) for words in sampled(command, 300) if (said := answer(words)[-1])]
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("command", CALLS)
def test_the_calls_are_right_before_they_are_changed(here, command):
    status, _, _, wrong = answer(call(command))
    assert (status, wrong) == (0, "")


def sampled(command: str, count: int) -> list[list[str]]:
    lot = random.Random(command)
    every = changes(command, lot)
    return [call(command, *change) for change in lot.sample(every, min(count, len(every)))]


SILENT = [
    (("evidence", "--measures", ["clarity"]), "--layer is for deletion, randomisation, leak, selectivity, not for"),
    (("scan", "--out", [""]), "--out is empty"),
    (("scan", "--layers", ["conv1", "--root", "images"]), "--root is the folder of a dataset torchvision:NAME"),
    (("atlas", "--layers", ["conv1", "--k", "-1"]), "--k is -1, and the scan in 'top.safetensors' has 1; leave it out"),
    (("evolve", "CHECKPOINTS", ["\x00"]), "'\\x00' has a null character in it, which no name can have"),
    (("train", "--channels", ["2", "3", "a\nb"]), "unrecognized arguments: a b"),
]


@pytest.mark.parametrize(("change", "sentence"), SILENT, ids=lambda part: str(part)[:20])
def test_no_option_is_ignored_in_silence_and_each_mistake_is_one_line(here, change, sentence):
    status, _, said, wrong = answer(call(*change))
    assert (status, wrong) == (2, "")
    assert sentence in said
