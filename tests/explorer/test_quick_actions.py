"""What is done quickly, one thing before the other's answer has come: the page ends as its address says."""

from __future__ import annotations

import pytest

from tests.helpers.chromium import CHROMIUM, Watched, until
from tests.helpers.explorer_client import png
from tests.helpers.explorer_page import choose, filled, hold, projected, release, shows, until_address, wait_for

pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")


def test_from_a_whole_layer_back_to_its_unit(seen: Watched) -> None:
    page = seen.page
    choose(page, 2)
    projected(page)
    facts = page.locator("#facts").text_content()
    page.locator("#whole").click()
    shows(page, "#unit-title", "3, all activations at once")
    until_address(page, "whole=1")
    page.go_back()
    shows(page, "#unit-title", "3 channel 2")
    projected(page)
    assert page.locator("#facts").text_content() == facts
    page.go_forward()
    shows(page, "#unit-title", "3, all activations at once")
    assert page.locator("#stage .frame").is_hidden()


def test_a_late_unit_takes_no_place_of_a_whole_layer(seen: Watched) -> None:
    page = seen.page
    shows(page, "#layer-name", "3")
    units = hold(page, "**/api/unit?*")
    choose(page, 2)
    wait_for(page, lambda: units)
    page.locator("#whole").click()
    shows(page, "#unit-title", "3, all activations at once")
    release(page, "**/api/unit?*", units)
    assert page.locator("#unit-title").text_content() == "3, all activations at once"
    assert page.locator("#stage .frame").is_hidden()


def test_boxes_say_what_the_address_says(seen: Watched) -> None:
    page = seen.page
    choose(page, 2)
    projected(page)
    until_address(page, "channel=2")
    for box, word in (("#random", "random=1"), ("#seed", "seed=one")):
        units = hold(page, f"**/api/unit?*{word}*")
        page.locator(box).check()
        until_address(page, word)
        wait_for(page, lambda units=units: units)
        page.go_back()
        until(page, f"!location.hash.includes('{word}') && !document.querySelector('{box}').checked")
    page.locator("#layer-name").focus()
    page.keyboard.press("w")
    until(page, "document.querySelector('#random').checked")


def test_a_map_that_is_shown_is_one_of_its_own_layer(seen: Watched) -> None:
    page = seen.page
    shows(page, "#layer-name", "3")
    until(page, "document.querySelectorAll('#layers button').length > 3")
    maps = hold(page, "**/api/maps?*layer=0*")
    page.locator("#layers li[data-layer='0'] button").click()
    wait_for(page, lambda: maps)
    choose(page, 5)  # layer 0 has four channels
    shows(page, "#unit-title", "3 channel 5")
    release(page, "**/api/maps?*layer=0*", maps)
    assert page.locator("#layer-name").text_content() == "3"
    assert "layer=3" in page.url


def test_a_unit_that_there_is_not_has_no_frame(seen: Watched) -> None:
    page, seen.expected[:] = seen.page, ["422"]  # type: ignore[attr-defined]
    choose(page, 2)
    until(page, "!document.querySelector('#stage .frame').hidden")
    page.evaluate("location.hash = 'image=data-3&layer=3&channel=2&position=99,99'")
    shows(page, "#notice", "the position (99, 99) lies outside")
    assert page.locator("#stage .frame").is_hidden()


def test_an_image_that_is_chosen_goes_before_one_that_is_still_read(seen: Watched) -> None:
    page = seen.page
    until(page, "document.querySelectorAll('#strip button').length === 24")
    given = hold(page, "**/api/images?*")
    page.locator("#file").set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": png(seed=1)})
    shows(page, "#status", "Reading mine.png")
    wait_for(page, lambda: given)
    page.locator("#strip button").nth(5).click()
    shows(page, "#image-name", "image 5")
    assert page.locator("#status").text_content() == ""
    release(page, "**/api/images?*", given)
    until(page, "document.querySelectorAll('#own button').length > 0")  # it waits there
    assert page.locator("#image-name").text_content() == "image 5"
    assert "image=data-5" in page.url


def test_the_strip_goes_with_the_image_that_was_chosen_last(seen: Watched) -> None:
    page = seen.page
    until(page, "document.querySelectorAll('#strip button').length === 24")
    later = hold(page, "**/api/dataset?*start=24*")
    page.evaluate("location.hash = 'image=data-26&layer=3'")
    wait_for(page, lambda: later)
    page.evaluate("location.hash = 'image=data-4&layer=3'")
    shows(page, "#image-name", "image 4")
    release(page, "**/api/dataset?*start=24*", later)
    until(page, "document.querySelector('#strip button[aria-pressed=true]')?.dataset.image === 'data-4'")
    assert page.locator("#earlier").is_disabled()


def test_lines_of_a_whole_layer_have_its_own_weights(seen: Watched) -> None:
    page = seen.page
    choose(page, 2)
    projected(page)
    page.locator("#random").check()
    shows(page, ".banner", "Random weights")
    page.locator("#whole").click()
    shows(page, "#unit-title", "3, all activations at once")
    page.get_by_role("button", name="Copy as Python").click()
    shows(page, "#code", "reconstruct")
    assert "random" not in page.locator("#code").text_content()


def test_a_drag_is_one_step_back(seen: Watched) -> None:
    page = seen.page
    until(page, "document.querySelector('.stage.filled img')?.naturalWidth === 12")
    page.evaluate("location.hash = 'image=data-4&layer=3'")
    shows(page, "#image-name", "image 4")
    box, mouse = page.locator("#stage").bounding_box(), page.mouse
    mouse.move(box["x"] + 40, box["y"] + 40)
    mouse.down()
    for part in (0.5, 1, 2, 3):  # pixels of the image; the first moves nothing
        mouse.move(box["x"] + 40 + part * box["width"] / 12, box["y"] + 40)
        page.wait_for_timeout(150)
    mouse.up()
    until_address(page, "shift=0,3")
    page.go_back()
    shows(page, "#shift", "0, 0")
    assert "image=data-4" in page.url


def test_the_keyboard_stays_where_it_is(seen: Watched) -> None:
    page = seen.page
    until(page, "document.querySelectorAll('#layers button').length > 3")
    focused = "document.activeElement.dataset.channel"
    page.locator("#maps button").last.focus()
    page.keyboard.press("[")
    page.keyboard.press("[")
    page.keyboard.press("[")  # a layer of four channels, where there is no sixth map
    shows(page, "#layer-name", "0")
    until(page, f"document.querySelectorAll('#maps button').length === 4 && {focused} !== undefined")
    at = page.evaluate(focused)
    page.keyboard.press(".")
    until(page, "document.querySelector('#image-name').textContent === 'image 4'")
    until(page, f"document.querySelector('#maps [tabindex=\"0\"]').dataset.channel === '{at}' && {focused} === '{at}'")
    page.keyboard.press("Enter")
    shows(page, "#unit-title", f"0 channel {at}")
    page.locator("#random").press("Space")
    shows(page, ".banner", "Random weights")
    assert page.evaluate("document.activeElement.id") == "random"
    page.locator("#pin").press("Enter")
    page.locator("#keep-0").press("Space")
    until_address(page, '"data-4"')
    until(page, "document.activeElement.id === 'keep-0' && document.activeElement.checked")


def test_what_is_cancelled_is_said_and_is_not_what_has_its_own_button(seen: Watched) -> None:
    page = seen.page
    evidence, places = hold(page, "**/api/evidence?*"), hold(page, "**/api/place?*")
    choose(page, 2)
    shows(page, "#badges", "Measuring whether to believe it")
    wait_for(page, lambda: evidence)
    filled(page)
    page.locator("#stage").click()
    shows(page, "#working", "Working")
    wait_for(page, lambda: places)
    page.locator("#cancel").click()
    shows(page, "#notice", "Cancelled: some of what is shown is that of before.")
    release(page, "**/api/evidence?*", evidence)
    shows(page, "#badges", "Can you trust it?")
    page.unroute("**/api/place?*")
    page.locator("#stage").click()
    shows(page, "#at", "Firing at row")
    assert page.locator("#notice").is_hidden()


def test_pins_that_were_cancelled_are_asked_for_again(seen: Watched) -> None:
    page = seen.page
    choose(page, 2)
    projected(page)
    page.keyboard.press("p")
    page.locator("#keep-0").check()
    until_address(page, '"data-3"')
    choose(page, 4)
    shows(page, "#unit-title", "3 channel 4")
    page.keyboard.press("p")
    until(page, "document.querySelectorAll('#pins .pin').length === 2")
    until_address(page, '"3",4')
    units = hold(page, "**/api/unit?*")
    page.reload()
    wait_for(page, lambda: len(units) == 3)
    until(page, "!document.querySelector('#working').hidden")
    page.locator("#cancel").click()
    shows(page, "#notice", "Cancelled")
    release(page, "**/api/unit?*", units)
    choose(page, 5)
    shows(page, "#unit-title", "3 channel 5")
    until(page, "[...document.querySelectorAll('#pins img')].filter(one => one.naturalWidth).length === 4")
