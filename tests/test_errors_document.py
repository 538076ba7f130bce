"""docs/errors.md: each sentence in it is really said, each that is said is in it, and so is each exception."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from deconvviz import errors
from tests.helpers.invalid_inputs import commands as bad_commands
from tests.helpers.invalid_inputs.case import pattern
from tests.robustness.test_bad_inputs import CASES

DOCUMENT_ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = (DOCUMENT_ROOT / "docs" / "errors.md").read_text("utf-8")
ENTRIES = re.findall(r"^- `(.+)` \((.+)\)\n((?:  .+\n?)*)", DOCUMENT, re.MULTILINE)

# What the tables have: the sentence, and the exception that says it in Python.
SAID = [
    (case.expected, case.error.__name__)
    for case in CASES
    if case.error and issubclass(case.error, errors.DeconvVizError)
]
SAID += [(command.sentence, "command line") for command in bad_commands.CASES]


def covers(entry: tuple[str, str, str], said: tuple[str, str]) -> bool:
    """The entry's sentence is this one, or its beginning; on the command line every exception is said."""
    where = said[1] == "command line" or entry[1] == said[1]
    return where and bool(pattern(entry[0]).match(said[0]))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry[0][:60])
def test_what_is_documented_is_said(entry):
    assert any(covers(entry, said) for said in SAID)
    assert entry[2].strip(), "a cause and a cure"


def test_what_is_said_is_documented():
    missing = [said for said in SAID if not any(covers(entry, said) for entry in ENTRIES)]
    assert missing == []
    assert len(ENTRIES) == len(re.findall(r"^- ", DOCUMENT, re.MULTILINE)) == len({entry[0] for entry in ENTRIES})


def test_every_exception_is_documented():
    known = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert {entry[1] for entry in ENTRIES} >= known - {"DeconvVizError"}
    assert known - {"DeconvVizError"} == {case.error.__name__ for case in CASES if case.error} & known


def test_every_warning_is_documented_with_its_words():
    root = DOCUMENT_ROOT / "deconvviz"
    raised = {}
    for path in root.rglob("*.py"):
        module = ".".join(path.relative_to(root.parent).with_suffix("").parts)
        for name in re.findall(r"^class (\w+)\(UserWarning\)", path.read_text("utf-8"), re.MULTILINE):
            raised[f"{module}.{name}"] = path.read_text("utf-8")
    section = DOCUMENT.partition("## Warnings")[2].partition("\n## ")[0]
    rows = {name: words for words, name in re.findall(r"^\| `(.+?)` \| `(.+?)` \| .+\.\s\|$", section, re.MULTILINE)}
    assert rows.keys() == raised.keys()
    for name, words in rows.items():
        said = errors.left_out("f", {"a": "b"}) if "left out" in words else "".join(raised[name].split('"'))
        first = words.partition(", such as")[0].partition(" …")[0]
        assert first in said


def test_the_document_warns_of_models_that_are_code():
    section = DOCUMENT.partition("## Which code is run")[2].partition("\n## ")[0]
    assert "`path/to/file.py:factory`" in section
    assert "**runs the code in that file or module**" in section
