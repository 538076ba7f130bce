"""Chromium, with pages that must not report errors or send requests to the network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"
ARGUMENTS += " --use-fake-device-for-media-stream --use-fake-ui-for-media-stream"


PATIENCE = 60_000  # milliseconds, on a busy machine


def until(page: Any, expression: str) -> None:
    """Wait until an expression holds; Playwright's own waiting needs `eval`, which the page's policy forbids."""
    for _ in range(PATIENCE // 50):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{expression} did not become true")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS.split())
        yield browser
        browser.close()


class Watched:
    """A page that records errors and requests."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.wrong: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda said: self.wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("dialog", lambda dialog: (self.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("requestfailed", self._failed)
        page.on("request", lambda request: self.requests.append(request.url))

    def _failed(self, request: Any) -> None:
        if not (request.resource_type == "image" and request.failure == "net::ERR_ABORTED"):  # the page has moved on
            self.wrong.append(f"failed: {request.url}")


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1200, "height": 800}, color_scheme="light")
    context.set_default_timeout(PATIENCE)
    watched = Watched(context.new_page())
    yield watched
    assert watched.wrong == [], watched.wrong
    assert all(url.startswith(("file://", "data:,")) for url in watched.requests)
    assert watched.page.evaluate("window.hacked") is None
    context.close()


@pytest.fixture
def page(watched: Watched) -> Any:
    return watched.page
