"""An explorer, and a page that shows it on a desktop and on a phone, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import deconvviz as dv
from tests.helpers.chromium import Watched
from tests.helpers.explorer_client import TOKEN, small_images, small_net

LAYOUTS = {
    "desktop": {"viewport": {"width": 1400, "height": 900}, "color_scheme": "light"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True},
}


@pytest.fixture(scope="package")
def shown_explorer() -> Iterator[Any]:
    pytest.importorskip("starlette", reason="needs starlette and uvicorn")
    with dv.explore(small_net(), small_images(30), token=TOKEN, open_browser=False) as explorer:
        yield explorer


@pytest.fixture(params=["desktop", pytest.param("phone", marks=pytest.mark.slow)])
def seen(request: pytest.FixtureRequest, browser: Any, shown_explorer: Any) -> Iterator[Watched]:
    """A page on a desktop and on a phone."""
    yield from opened(browser, shown_explorer, request.param)


@pytest.fixture
def phone(browser: Any, shown_explorer: Any) -> Iterator[Watched]:
    """A page on a phone."""
    yield from opened(browser, shown_explorer, "phone")


def opened(browser: Any, shown_explorer: Any, layout: str) -> Iterator[Watched]:
    """A page that reports no errors and asks nobody but the explorer; errors that a test expects go into `expected`."""
    context = browser.new_context(**LAYOUTS[layout])
    context.set_default_timeout(60_000)
    watched = Watched(context.new_page())
    watched.expected = []  # type: ignore[attr-defined]
    watched.page.goto(f"{shown_explorer.url}#image=data-3&layer=3")
    yield watched
    home = shown_explorer.url.partition("?")[0]
    cancelled = (f"failed: {home}api/", "failed: blob:")  # by the page itself, where a newer picture takes the place
    allowed = (*cancelled, *watched.expected)  # type: ignore[attr-defined]
    wrong = [said for said in watched.wrong if not any(words in said for words in allowed)]
    assert wrong == []
    assert all(url.startswith((home, "data:", f"blob:{home}")) for url in watched.requests)
    assert watched.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
    context.close()
