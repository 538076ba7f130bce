"""Odd calls of the public functions: each is answered with one sentence, or with the right result.

The table is in `odd_calls`: each argument of each function in turn gets everything that it is not.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from odd_calls import CALLS, HEAVY, KINDS, anything, files, nothing

from deconvviz.errors import DeconvVizError

PAIRS = [(name, argument) for name, call in CALLS.items() for argument in call.arguments]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    files(tmp_path)
    monkeypatch.chdir(tmp_path)


def called(name: str, argument: str, given: Any) -> Any:
    call = CALLS[name]
    right = {other: value for other, (_, value) in call.arguments.items()}
    return call.function(**{**call.more, **right, argument: given})


def test_there_are_many():
    heavy = sum(name in HEAVY for name, _ in PAIRS)
    assert (len(PAIRS) - heavy) * len(anything()) + heavy * (len(anything()) // 6) > 4000


@pytest.mark.parametrize(("name", "argument"), PAIRS, ids=lambda part: part)
def test_what_an_argument_is_not(name, argument):
    """Refused in one line; and what it may be gives no other error either."""
    fits = {*KINDS[CALLS[name].arguments[argument][0]].fitting, *CALLS[name].fitting.get(argument, ())}
    wrong = []
    tried = list(anything().items())
    for what, given in tried[len(argument) % 6 :: 6] if name in HEAVY else tried:
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
    assert wrong == []


SAME = [(name, argument) for name, argument in PAIRS if KINDS[CALLS[name].arguments[argument][0]].same is not nothing]


@pytest.mark.parametrize(("name", "argument"), SAME, ids=lambda part: part)
def test_what_stands_for_the_same(name, argument):
    kind, value = CALLS[name].arguments[argument]
    expected = plain(called(name, argument, value))
    for given in list(KINDS[kind].same(value))[: 1 if name in HEAVY else 3]:
        assert plain(called(name, argument, given)) == expected, repr(given)


def plain(found: Any) -> Any:
    """A result as something that can be compared."""
    if isinstance(found, torch.Tensor):
        return found.tolist()
    if dataclasses.is_dataclass(found):
        return {field.name: plain(getattr(found, field.name)) for field in dataclasses.fields(found)}
    if isinstance(found, dict):
        return {name: plain(value) for name, value in found.items()}
    if isinstance(found, (list, tuple)):
        return [plain(value) for value in found]
    if isinstance(found, np.integer):
        return int(found)
    if hasattr(found, "tobytes"):
        return found.tobytes()
    return found if isinstance(found, (str, int, float, bool, type(None))) else type(found)
