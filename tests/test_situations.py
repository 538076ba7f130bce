"""The table of situations: each of its tests is there, and the page shows it."""

from __future__ import annotations

import re

import pytest

from tests.helpers.situations import PAGE, ROOT, SITUATIONS, page


@pytest.mark.parametrize("row", SITUATIONS, ids=lambda row: row.name)
def test_the_tests_of_a_situation_are_there(row):
    tests = [test for test in (row.python, row.command_line) if test]
    assert tests
    for test in tests:
        file, _, name = test.partition("::")
        assert re.search(rf"^def {name}\(", (ROOT / "tests" / file).read_text("utf-8"), re.MULTILINE), test


def test_the_page_shows_the_table():
    assert PAGE.read_text("utf-8") == page(), "run python -m tests.helpers.situations"
    assert len({row.name for row in SITUATIONS}) == len(SITUATIONS)
