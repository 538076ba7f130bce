"""The page of a test of reading, answered in Chromium. Skipped without Playwright or a Chromium."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from deconvviz.errors import InputError
from deconvviz.io.ownership import is_ours
from deconvviz.results import ReadingTest
from tests.helpers.chromium import CHROMIUM, until
from tests.reading.networks import net_of, planted_images, read, templates

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
EVIL = "</script><script>window.hacked=1</script><img src=x onerror=hacked=1>"


@pytest.fixture(scope="module")
def result() -> ReadingTest:
    return read(net_of(templates(4)), planted_images(), conditions=["patches", "deconvnet"])


@pytest.fixture(scope="module")
def written(result: ReadingTest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    evil = tuple(dataclasses.replace(one, names=(EVIL, "b")) for one in result.examples)
    hostile = dataclasses.replace(result, layer=EVIL, examples=evil)
    return hostile.write_page(tmp_path_factory.mktemp("page") / "page.html")


def test_the_page_is_one_file_with_the_questions(result: ReadingTest, written: Path) -> None:
    text = written.read_text("utf-8")
    assert is_ours(written)
    assert "unsafe-inline" not in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert [one["answer"] for one in data["questions"]] == [one.answer for one in result.examples]
    assert data["observers"] == ["template", "hog"]
    with pytest.raises(InputError, match=r"the test has no pictures 'pathces'; it has 'patches', 'deconvnet'; did you"):
        result.write_page(written.with_name("b.html"), condition="pathces")
    nothing = dataclasses.replace(result, examples=())
    with pytest.raises(InputError, match="the test has no question to show with 'deconvnet'; test more channels"):
        nothing.write_page(written.with_name("b.html"))
    assert not written.with_name("b.html").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
def test_a_person_answers_with_keys_and_clicks_and_sees_a_score(page: Any, result: ReadingTest, written: Path) -> None:
    page.goto(written.as_uri())
    answers = [one.answer for one in result.examples]
    given = [answer if number >= 3 else 1 - answer for number, answer in enumerate(answers)]  # three wrong ones
    for number, choice in enumerate(given):
        playwright.expect(page.locator("#place")).to_have_text(f"Question {number + 1} of 20")
        until(
            page, "[...document.querySelectorAll('#question img')].every(one => one.complete && one.naturalWidth > 3)"
        )
        if number % 2:
            page.keyboard.press(str(choice + 1))
        else:
            page.locator("#choices button").nth(choice).click()
    playwright.expect(page.locator("#score")).to_have_text("You: 17 of 20 right")
    rows = [row.all_text_contents() for row in (page.locator("#scores tr").nth(n).locator("td") for n in range(3))]
    assert rows[0] == ["you", "17 of 20", "0.85", "0.64 to 0.95"]  # Wilson
    for row, observer in zip(rows[1:], ("template", "hog"), strict=True):
        hits = sum(one.right[observer]["deconvnet"] for one in result.examples)
        assert row[:2] == [f"observer: {observer}", f"{hits:g} of 20"]
    assert page.locator("#review li").count() == 20
    assert page.locator("#review .wrong").count() == 3
    assert (
        page.locator("#review li").first.locator("img.fires").get_attribute("alt")
        == f"Piece {answers[0] + 1}, fires it"
    )
    assert not page.locator("#question").is_visible()
    page.get_by_role("button", name="Start again").click()
    playwright.expect(page.locator("#place")).to_have_text("Question 1 of 20")
    page.keyboard.press("Control+1")
    playwright.expect(page.locator("#place")).to_have_text("Question 1 of 20")


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
def test_a_question_that_was_not_seen_is_not_answered(page: Any, written: Path) -> None:
    page.goto(written.as_uri())
    page.locator("#choices button").first.dblclick()
    playwright.expect(page.locator("#place")).to_have_text("Question 2 of 20")
    for key in ("Enter", "1"):
        for _ in range(3):
            page.keyboard.down(key)  # the later ones are repeats
        page.keyboard.up(key)
    playwright.expect(page.locator("#place")).to_have_text("Question 4 of 20")


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
def test_a_phone_sees_the_whole_question(page: Any, written: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(written.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
