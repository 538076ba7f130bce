"""More of the explorer's page in Chromium: strips, crops, classes, captions, what takes long, and copies."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch

from deconvviz.explorer.networks import moved
from tests.helpers.chromium import CHROMIUM, Watched, until
from tests.helpers.explorer_client import small_images, small_net
from tests.helpers.explorer_page import choose, filled, projected, shows, until_address

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")


def hold(page: Any, address: str) -> list[Any]:
    """Let no answer of an address arrive, as if it took for ever."""
    held: list[Any] = []
    page.route(address, lambda route: held.append(route))
    return held


def release(held: list[Any]) -> None:
    for route in held:
        with contextlib.suppress(playwright.Error):  # the page has cancelled it
            route.abort()


def test_the_strip_goes_with_the_image(seen: Watched) -> None:
    page = seen.page
    pressed = page.locator("#strip button[aria-pressed=true]")
    until(page, "document.querySelectorAll('#strip button').length === 24")
    assert page.locator("#earlier").is_disabled()
    page.locator("#from").fill("26")
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('#strip button').length === 4")
    assert page.locator("#later").is_disabled()
    assert pressed.count() == 0, "the image that is shown is not among these"
    page.locator("#maps button").first.click()
    shows(page, "#unit-title", "3 channel")
    assert page.locator("#strip button").count() == 4, "another unit leaves the strip"
    page.locator("#earlier").click()
    until(page, "document.querySelectorAll('#strip button').length === 24")
    page.locator("#strip button").last.click()
    until_address(page, "image=data-25")
    page.locator("#unit-title").focus()
    page.locator("#earlier").click()
    until(page, "document.querySelector('#strip button').dataset.image === 'data-0'")
    page.locator("#unit-title").focus()
    page.keyboard.press(".")
    until_address(page, "image=data-26")
    until(page, "document.querySelector('#strip button[aria-pressed=true]')?.dataset.image === 'data-26'")


def test_an_image_is_cropped_and_made_smaller(seen: Watched) -> None:
    page = seen.page
    page.locator("#maps button[data-channel='2']").click()
    shows(page, "#unit-title", "3 channel 2")
    for _ in range(3):
        page.get_by_role("button", name="Larger").click()
    page.get_by_role("button", name="Move down").click()
    shows(page, "#size", "200 %")
    until_address(page, "shift=1,0,200")
    shows(page, "#shift", "1, 0")
    x = moved(small_images(30)[3:4], (1, 0), 200)
    expected = small_net().project(x, "3", channel=2).units[0]
    shows(page, "#facts", f"{expected.activation:.3g}".replace("-", "\u2212"))
    page.get_by_role("button", name="Copy as Python").click()
    shows(page, "#code", "x = moved(x, (1, 0), size=200)")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Put back").click()
    shows(page, "#size", "100 %")
    for _ in range(3):
        page.get_by_role("button", name="Smaller").click()
    shows(page, "#size", "50 %")
    assert page.get_by_role("button", name="Smaller").is_disabled()


def test_the_layers_from_input_to_output(seen: Watched) -> None:
    page = seen.page
    until(page, "document.querySelectorAll('#layers li').length === 8")
    assert page.locator("#layers .layer-name").all_text_contents() == [*"0123456", "output"]
    fourth = page.locator("#layers li[data-layer='4'] button")
    assert fourth.locator(".muted").text_content() == "ReLU \u00b7 6 \u00d7 4 \u00d7 4 \u00b7 sees 8 \u00d7 8"
    with torch.no_grad():
        maps = small_net().model[:5](small_images(30)[3:4])
    width = float(fourth.locator("i").evaluate("one => parseFloat(one.style.width)"))
    assert width == pytest.approx(100 * float((maps > 0).float().mean()), abs=0.01)
    fourth.click()
    shows(page, "#layer-name", "4")
    until_address(page, "layer=4")
    page.locator("#search").fill("conv")
    page.locator("#search").fill("0")
    page.keyboard.press("ArrowDown")  # from the layer to the first of its channels that is found
    until(page, "document.querySelectorAll('#found [aria-selected=true]').length === 1")
    assert page.locator("#found [role=option]").first.get_attribute("aria-selected") == "false"


def test_a_class_leads_to_its_unit(seen: Watched) -> None:
    page = seen.page
    with torch.no_grad():
        best = int(small_net().model(small_images(30)[3:4])[0].argmax())
    page.locator("#classes button").first.click()
    shows(page, "#unit-title", f"6 channel {best}")
    shows(page, "#layer-name", "6")


def test_captions_say_by_what_maps_are_sorted(seen: Watched) -> None:
    page = seen.page
    with torch.no_grad():
        maps = small_net().model[:4](small_images(30)[3:4])[0].flatten(1)
    selectivity = [1 - float(one.mean() / one.max()) if one.max() else 0.0 for one in maps.clamp(min=0)]
    until(page, "document.querySelectorAll('#maps button').length === 6")
    page.locator("#sort").select_option("selective")
    captions = page.locator("#maps .caption span").all_text_contents()
    assert [float(one) for one in captions] == pytest.approx(sorted(selectivity, reverse=True), abs=6e-4)
    page.locator("#sort").select_option("strength")
    captions = page.locator("#maps .caption span").all_text_contents()
    assert [float(one.replace("\u2212", "-")) for one in captions] == pytest.approx(
        sorted(maps.amax(1).tolist(), reverse=True), rel=6e-3
    )


def test_a_map_that_is_pointed_at_lies_over_the_image(seen: Watched) -> None:
    page = seen.page
    until(page, "document.querySelectorAll('#maps button').length === 6")
    filled(page)  # over nothing it would not be seen
    assert page.locator(".over").is_hidden()
    strongest, *_, weakest = page.locator("#maps .mosaic").all()
    strongest.hover()
    shown = page.locator(".over").evaluate("one => one.toDataURL()")
    assert shown == strongest.evaluate("one => one.toDataURL()") != weakest.evaluate("one => one.toDataURL()")
    assert page.locator(".over").is_visible()
    page.locator("#layer-name").hover()
    assert page.locator(".over").is_hidden()


def test_a_seed_of_one_changes_the_scale_alone(seen: Watched) -> None:
    page = seen.page
    page.locator("#maps button[data-channel='2']").click()
    projected(page)
    page.get_by_label("seed 1 in place of the activation").check()
    until_address(page, "seed=one")
    page.get_by_role("button", name="Copy as Python").click()
    shows(page, "#code", "channel=2, seed='one'")


def test_evidence_can_be_cancelled(seen: Watched) -> None:
    page = seen.page
    held = hold(page, "**/api/evidence*")
    page.locator("#maps button[data-channel='2']").click()
    shows(page, "#badges", "Measuring whether to believe it")
    page.locator("#badges").get_by_role("button", name="Cancel").click()
    shows(page, "#badges", "Not measured: cancelled.")
    release(held)


def test_what_takes_long_is_said_and_can_be_cancelled(seen: Watched) -> None:
    page = seen.page
    until(page, "document.querySelectorAll('#maps button').length === 6")
    held = hold(page, "**/api/unit*")
    page.locator("#maps button[data-channel='2']").click()
    shows(page, "#working", "Working")
    page.locator("#working").wait_for()
    page.get_by_role("button", name="Cancel").last.click()
    page.locator("#working").wait_for(state="hidden")
    page.unroute("**/api/unit*")
    release(held)
    page.locator("#maps button[data-channel='2']").click()  # it is asked for again
    projected(page)
    assert page.locator("#notice").is_hidden()


def test_lines_are_copied_or_selected(seen: Watched) -> None:
    page = seen.page
    page.locator("#maps button[data-channel='2']").click()
    shows(page, "#unit-title", "3 channel 2")
    page.get_by_role("button", name="Copy as Python").click()
    shows(page, "#code", "net.project")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#copy").click()
    shows(page, "#copied", "Copied.")
    lines = page.locator("#code").text_content()
    assert page.evaluate("navigator.clipboard.readText()") == lines
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
    page.locator("#copy").click()
    shows(page, "#copied", "the lines are selected for you to copy")
    assert page.evaluate("getSelection().toString()").strip() == lines.strip()


def test_a_place_is_chosen_with_the_keyboard(seen: Watched) -> None:
    page = seen.page
    filled(page)
    page.evaluate("location.hash = 'image=data-4&layer=3'")
    shows(page, "#image-name", "image 4")
    page.locator("#stage").focus()
    page.keyboard.press("ArrowLeft")
    shows(page, "#at", "Firing at row 6, column 6")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    shows(page, "#at", "Firing at row 5, column 5")
    for _ in range(9):
        page.keyboard.press("ArrowDown")
    shows(page, "#at", "Firing at row 11, column 5")
    until_address(page, "at=11,5")
    choose(page, 2)
    until_address(page, "channel=2")
    page.locator("#stage").focus()
    page.keyboard.press("ArrowRight")
    until_address(page, "at=11,6")
    page.go_back()
    until(page, "!document.querySelector('#at h3').textContent.includes('column 6')")
    until_address(page, "at=11,5")
    assert page.url.endswith("channel=2")
    page.go_back()
    page.go_back()
    shows(page, "#image-name", "image 4")
    until(page, "document.querySelector('#at').hidden")
