"""What tests wait for on the explorer's page."""

from __future__ import annotations

from typing import Any

from tests.helpers.chromium import until


def shows(page: Any, selector: str, text: str) -> None:
    from playwright.sync_api import expect

    expect(page.locator(selector).first).to_contain_text(text, timeout=60_000)


def until_address(page: Any, part: str) -> None:
    until(page, f"decodeURIComponent(location.hash).includes({part!r})")


def projected(page: Any) -> None:
    """Wait until all three styles are shown."""
    until(page, "[...document.querySelectorAll('figure[data-style] img')].filter(one => one.naturalWidth).length === 3")


def filled(page: Any) -> None:
    """Wait until an image is shown, which can be pressed then."""
    until(page, "document.querySelector('.stage.filled img')?.naturalWidth > 1")
