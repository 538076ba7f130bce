"""Walks over the page, with answers that come late: it ends as a page does that is loaded at the same address."""

from __future__ import annotations

from typing import Any

import pytest

from tests.explorer.conftest import LAYOUTS
from tests.helpers.chromium import CHROMIUM, Watched
from tests.helpers.page_walks import Walk, settled

pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")

ACTIONS = 8  # between two comparisons
USUAL = ("409", "422", "Canvas2D: Multiple readback", "failed: ")  # what is superseded, refused, or cancelled


def walked(browser: Any, explorer: Any, layout: str, seed: int, times: int) -> None:
    context = browser.new_context(**LAYOUTS[layout])
    watched = Watched(context.new_page())
    walk, fresh = Walk(watched.page, seed), context.new_page()
    fresh.goto(explorer.url)
    watched.page.bring_to_front()
    walk.begin(f"{explorer.url}#image=data-3&layer=3")
    for _ in range(times):
        walk.go(ACTIONS)
        shown = settled(watched.page)
        fresh.goto(watched.page.url)
        fresh.reload()
        expected = settled(fresh)
        assert shown == expected, (walk.done, watched.page.url)
        watched.page.bring_to_front()
    assert [said for said in watched.wrong if not any(words in said for words in USUAL)] == []
    context.close()


def test_a_walk(browser: Any, shown_explorer: Any) -> None:
    walked(browser, shown_explorer, "desktop", seed=10, times=1)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(1, 7))
def test_more_walks(browser: Any, shown_explorer: Any, layout: str, seed: int) -> None:
    walked(browser, shown_explorer, layout, seed, times=8)
