"""What tests wait for on the explorer's page."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from tests.helpers.chromium import PATIENCE, until


def shows(page: Any, selector: str, text: str) -> None:
    from playwright.sync_api import expect

    expect(page.locator(selector).first).to_contain_text(text)


def until_address(page: Any, part: str) -> None:
    until(page, f"decodeURIComponent(location.hash).includes({part!r})")


def projected(page: Any) -> None:
    """Wait until all three styles are shown."""
    until(page, "[...document.querySelectorAll('figure[data-style] img')].filter(one => one.naturalWidth).length === 3")


def filled(page: Any) -> None:
    """Wait until an image is shown, which can be pressed then."""
    until(page, "document.querySelector('.stage.filled img')?.naturalWidth > 1")


def hold(page: Any, address: str) -> list[Any]:
    """Requests of an address, which are not answered."""
    held: list[Any] = []
    page.route(address, lambda route: held.append(route))
    return held


def release(page: Any, address: str, held: list[Any]) -> None:
    """Answer what was held."""
    from playwright.sync_api import Error

    page.unroute(address)
    for route in held:
        with contextlib.suppress(Error):  # the page has cancelled it
            route.continue_()
    page.wait_for_timeout(200)


def wait_for(page: Any, condition: Callable[[], Any]) -> None:
    for _ in range(PATIENCE // 20):
        if condition():
            return
        page.wait_for_timeout(20)
    raise AssertionError("what is waited for does not come")


def choose(page: Any, channel: int) -> None:
    """Press a map of the layer."""
    page.locator(f"#maps button[data-channel='{channel}']").click()
