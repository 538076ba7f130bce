"""The atlas in Chromium where keys, and Back, come before what they follow is shown: each counts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.chromium import CHROMIUM, until
from tests.helpers.explorer_page import hold, release, wait_for
from tests.helpers.hostile_atlas import ABOUT, at, go

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")

PRESS = """keys => keys.forEach(([key, shiftKey]) => document.activeElement.dispatchEvent(
    new KeyboardEvent("keydown", {key, shiftKey, bubbles: true, cancelable: true})))"""


def press(page: Any, *keys: str) -> None:
    """Press keys before any of their events is heard."""
    page.evaluate(PRESS, [[key.rpartition("+")[2], "+" in key] for key in keys])


@pytest.mark.parametrize(
    ("keys", "heading", "focus"),
    [
        (["ArrowLeft", "ArrowLeft", "Escape"], "features.3", "11"),
        (["Escape", "Escape"], ABOUT.title, "features.3"),
        (["Shift+ArrowLeft", "Shift+ArrowRight"], "features.3", "11"),
        (["Escape", "ArrowRight", "ArrowRight"], "features.3", "13"),
        (["Escape", "Escape", "ArrowUp"], ABOUT.title, "features.0"),
    ],
)
def test_keys_that_come_before_the_page_follows(
    page: Any, atlas: str, keys: list[str], heading: str, focus: str
) -> None:
    """The first event of several moves finds the address of the last one; the others must not take the focus away."""
    go(page, f"{atlas}#/features.3", "features.3")
    go(page, f"{atlas}#/features.3/11", "features.3 channel 11")
    press(page, *keys)
    at(page, heading)
    page.wait_for_timeout(100)  # what is still to come
    at(page, heading)
    playwright.expect(page.locator(":focus b, .card:focus h2, h2:focus, h2 a:focus")).to_have_text(focus)


def test_a_key_is_that_of_the_layer_that_comes(page: Any, atlas: str) -> None:
    go(page, f"{atlas}#/features.3", "features.3")
    press(page, "Shift+ArrowLeft", "p")
    at(page, "features.0")
    until(page, "document.querySelector('#show').ariaPressed === 'true'")
    assert page.url.endswith("#/features.0?show=patches")
    page.go_back()
    at(page, "features.3")
    assert page.locator("#show").get_attribute("aria-pressed") == "false"


def test_options_that_change_while_another_layer_comes_leave_its_address(page: Any, atlas: str) -> None:
    go(page, f"{atlas}#/features.3", "features.3")
    page.evaluate("location.hash = '#/features.0'; document.querySelector('#show').click()")
    at(page, "features.0")
    assert page.url.endswith("#/features.0")


def test_a_step_goes_on_from_the_channel_that_one_went_back_to(page: Any, atlas: str) -> None:
    go(page, f"{atlas}#/features.3/11", "features.3 channel 11")
    page.evaluate(f"({PRESS})([['ArrowRight', false]]); location.hash = '#/features.3/11'")
    page.wait_for_timeout(100)
    at(page, "features.3 channel 11")
    press(page, "ArrowRight")
    at(page, "features.3 channel 12")


@pytest.mark.parametrize(("start", "key"), [("/11", "Escape"), ("/11", "Shift+ArrowLeft"), ("", "Escape")])
def test_a_page_that_comes_late_leaves_the_search_alone(page: Any, atlas: str, start: str, key: str) -> None:
    go(page, f"{atlas}#/features.3{start}", f"features.3{start.replace('/', ' channel ')}")
    press(page, key, "/")
    page.keyboard.type("pool")
    until(page, "document.querySelector('h1').textContent !== 'features.3 channel 11'")
    page.wait_for_timeout(100)
    assert page.locator("#search:focus").input_value() == "pool"


def test_the_search_within_a_layer_is_that_of_the_layer_that_comes(page: Any, atlas: str) -> None:
    go(page, f"{atlas}#/features.0", "features.0")
    page.evaluate("""() => {
        location.hash = '#/features.3';
        const search = document.querySelector('#search');
        search.focus();
        search.value = '17';
        search.dispatchEvent(new Event('input'));
        search.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'}));
    }""")
    at(page, "features.3 channel 17")


def test_what_is_searched_before_the_layers_are_known(page: Any, atlas: str) -> None:
    index = hold(page, "**/data/index.js")
    page.goto(atlas, wait_until="commit")
    wait_for(page, lambda: index)
    page.locator("#search").fill("features.3")
    assert page.locator("#found").is_hidden()
    release(page, "**/data/index.js", index)
    playwright.expect(page.locator("#found li").first).to_contain_text("features.3")
    index = hold(page, "**/data/index.js")
    page.reload(wait_until="commit")
    wait_for(page, lambda: index)
    page.locator("#search").fill("features.3 17")
    page.keyboard.press("Enter")
    release(page, "**/data/index.js", index)
    at(page, "features.3 channel 17")


def test_what_is_found_late_does_not_open_a_search_that_was_left(page: Any, atlas: str) -> None:
    images = hold(page, "**/data/search.js")
    go(page, atlas, ABOUT.title)
    page.locator("#search").fill("tench")
    wait_for(page, lambda: images)
    page.keyboard.press("Escape")
    release(page, "**/data/search.js", images)
    assert page.locator("#found").is_hidden()
    page.locator("#search").focus()
    playwright.expect(page.locator("#found li").first).to_contain_text("tench")


def test_a_unit_that_is_shown_large_goes_with_its_channel(page: Any, atlas: str) -> None:
    go(page, f"{atlas}#/features.3", "features.3")
    page.evaluate("location.hash = '#/features.3/11'")
    at(page, "features.3 channel 11")
    page.locator(".enlarge").first.click()
    playwright.expect(page.locator("dialog.lightbox")).to_be_visible()
    page.go_back()
    at(page, "features.3")
    playwright.expect(page.locator("dialog.lightbox")).to_have_count(0)


def test_a_sorted_layer_is_shown_anew_from_its_plain_address(page: Any, atlas: str) -> None:
    go(page, f"{atlas}#/features.3", "features.3")
    page.locator("#sort").select_option("strength")
    assert page.url.endswith("?sort=strength")
    page.evaluate("location.hash = '#/features.3'")
    until(page, "document.querySelector('#sort').value === 'channel'")


def test_a_key_that_is_held_is_one_step(page: Any, atlas: str) -> None:
    go(page, f"{atlas}#/features.3", "features.3")
    page.evaluate("location.hash = '#/features.3/11'")
    at(page, "features.3 channel 11")
    for _ in range(5):
        page.keyboard.down("ArrowRight")  # all but the first are repeats
    page.keyboard.up("ArrowRight")
    at(page, "features.3 channel 16")
    page.go_back()
    at(page, "features.3 channel 11")
