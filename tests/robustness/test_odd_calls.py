"""Odd calls of the public functions: each is answered with one sentence, or with the right result.

The calls are in `tests.helpers.odd_calls`. Each argument in turn is replaced by every value that it must not have.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from deconvviz.errors import DeconvVizError
from tests.helpers.odd_calls import CALLS, files
from tests.helpers.odd_calls.kinds import KINDS, nothing
from tests.helpers.odd_calls.odd_values import anything

PAIRS = [(name, argument) for name, call in CALLS.items() for argument in call.arguments]
HEAVY = (  # which compute before they check, so fewer values are tried
    "compare",
    "compare, class",
    "build_atlas",
    "deletion",
    "selectivity",
    "localisation",
    "occlusion",
    "invariance",
    "correspondence",
    "evolution",
    "attribute",
    "train",
    "probe",
    "project on whole maps",
    "reconstruct",
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    files(tmp_path)
    monkeypatch.chdir(tmp_path)


def called(name: str, argument: str, given: Any) -> Any:
    call = CALLS[name]
    right = {other: value for other, (_, value) in call.arguments.items()}
    return call.function(**{**call.more, **right, argument: given})


EVERY, OF_HEAVY = 6, 16  # which of the things are tried in each run, others for each argument; all are with -m slow


def tried(name: str, argument: str) -> list[tuple[str, Any]]:
    step = OF_HEAVY if name in HEAVY else EVERY
    return list(anything().items())[len(name + argument) % step :: step]


def test_there_are_many():
    assert len({what for name, argument in PAIRS for what, _ in tried(name, argument)}) == len(anything())
    assert sum(len(tried(name, argument)) for name, argument in PAIRS) > 1000


@pytest.mark.parametrize(("name", "argument"), PAIRS, ids=lambda part: part)
def test_what_an_argument_is_not(name, argument):
    assert answers(name, argument, tried(name, argument)) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "argument"), PAIRS, ids=lambda part: part)
def test_all_that_an_argument_is_not(name, argument):
    assert answers(name, argument, list(anything().items())) == []


def answers(name: str, argument: str, things: list[tuple[str, Any]]) -> list[str]:
    """What is not refused in one line, or taken and right; what an argument may be gives no other error either."""
    fits = {*KINDS[CALLS[name].arguments[argument][0]].fitting, *CALLS[name].fitting.get(argument, ())}
    wrong = []
    for what, given in things:
        if what in CALLS[name].skipped.get(argument, ()):
            continue
        try:
            called(name, argument, given)
        except DeconvVizError as error:
            if len(str(error).splitlines()) != 1 or len(str(error)) > 1000:
                wrong.append(f"{what}: {len(str(error).splitlines())} lines, {len(str(error))} letters")
        except Exception as error:
            wrong.append(f"{what}: {type(error).__name__}: {error}")
        else:
            if what not in fits:
                wrong.append(f"{what}: taken")
    return wrong


SAME = [(name, argument) for name, argument in PAIRS if KINDS[CALLS[name].arguments[argument][0]].same is not nothing]


@pytest.mark.parametrize(("name", "argument"), SAME, ids=lambda part: part)
def test_what_stands_for_the_same(name, argument):
    kind, value = CALLS[name].arguments[argument]
    expected = plain(called(name, argument, value))
    for given in list(KINDS[kind].same(value))[: 1 if name in HEAVY else 2]:
        assert plain(called(name, argument, given)) == expected, repr(given)


def plain(found: Any) -> Any:
    """A result as something that can be compared."""
    if isinstance(found, torch.Tensor):
        return plain(found.tolist())
    if isinstance(found, float) and math.isnan(found):
        return "NaN"  # which is not equal to itself
    if dataclasses.is_dataclass(found):
        names = [field.name for field in dataclasses.fields(found) if field.name != "seconds"]
        return {name: plain(getattr(found, name)) for name in names}
    if isinstance(found, dict):
        return {name: plain(value) for name, value in found.items()}
    if isinstance(found, (list, tuple)):
        return [plain(value) for value in found]
    if isinstance(found, np.integer):
        return int(found)
    if hasattr(found, "tobytes"):
        return found.tobytes()
    return found if isinstance(found, (str, int, float, bool, type(None))) else type(found)
