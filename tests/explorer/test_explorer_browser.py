"""The explorer's page in Chromium: each thing one can do there, on a desktop and on a phone.

Skipped without Playwright or a Chromium.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import deconvviz as dv
from deconvviz.results import Projection
from tests.helpers.chromium import CHROMIUM, Watched, until
from tests.helpers.explorer_client import TOKEN, png, small_images, small_net
from tests.helpers.explorer_page import filled, projected, shows, until_address

pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")


def test_from_a_map_to_its_unit_and_back(seen: Watched) -> None:
    page = seen.page
    shows(page, "#layer-name", "3")
    assert page.locator("#maps button").count() == 6
    page.locator("#maps button[data-channel='2']").click()
    shows(page, "#unit-title", "3 channel 2")
    projected(page)
    until_address(page, "channel=2")
    assert "token" not in page.url
    expected = small_net().project(small_images(30)[3:4], "3", channel=2)
    shows(page, "#facts", f"{expected.units[0].activation:.3g}")
    row, column = expected.units[0].position
    shows(page, "#facts", f"row {row}, column {column}")
    box = page.locator(".frame").evaluate("one => [one.style.top, one.style.left].map(parseFloat)")
    (top, _), (left, _) = expected.receptive_fields[0].tolist()
    assert box == pytest.approx([100 * top / 12, 100 * left / 12], abs=0.01)
    page.reload()
    shows(page, "#unit-title", "3 channel 2")
    page.locator("#maps button[data-channel='1']").click()
    shows(page, "#unit-title", "3 channel 1")
    until_address(page, "channel=1")
    page.go_back()
    shows(page, "#unit-title", "3 channel 2")
    page.go_forward()
    shows(page, "#unit-title", "3 channel 1")


def test_what_is_known_of_a_unit(seen: Watched) -> None:
    page = seen.page
    page.locator("#maps button[data-channel='2']").click()
    shows(page, "#values", "30 images")
    assert page.locator(".histogram rect").count() > 2
    shows(page, "#strongest", "What fires it most")
    assert page.locator("#strongest img").count() == 18
    shows(page, "#badges", "Can you trust it?")
    shows(page, "#inputs", "What feeds it here")
    page.locator("#inputs button").first.click()
    shows(page, "#unit-title", "0 channel")


def test_two_units_in_quick_succession_are_two_steps_back(seen: Watched) -> None:
    page = seen.page
    shows(page, "#layer-name", "3")
    until_address(page, "layer=3")
    page.evaluate("for (const n of [2, 5]) document.querySelector(`#maps button[data-channel='${n}']`).click()")
    shows(page, "#unit-title", "3 channel 5")
    until_address(page, "channel=5")
    assert page.title().startswith("3 5 ")
    for step, channel in ((page.go_back, 2), (page.go_forward, 5)):
        step()
        shows(page, "#unit-title", f"3 channel {channel}")
        until(page, f"document.title.startsWith('3 {channel} ')")


def test_a_layer_is_described_when_its_maps_come_before_the_image(seen: Watched) -> None:
    held: list[Any] = []
    shows(seen.page, "#image-name", "image 3")
    seen.page.route("**/api/image?*", lambda route: held.append(route))
    seen.page.reload()
    until(seen.page, "document.querySelectorAll('#maps button').length === 6")
    assert seen.page.locator("#layer-facts").text_content() == ""
    held[-1].continue_()
    shows(seen.page, "#layer-facts", "Conv2d, 6 channels of 4 \u00d7 4. Each unit sees 8 \u00d7 8 pixels")


def test_more_of_many_maps(browser: Any) -> None:
    """At first 256 are shown; the focus goes on at the first that was not."""
    from playwright.sync_api import expect

    watched = Watched(browser.new_context(viewport={"width": 1400, "height": 900}).new_page())
    page, net = watched.page, dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 1300, 1), nn.Conv2d(1300, 4, 1)))
    with dv.explore(net, small_images(2), token=TOKEN, open_browser=False) as explorer:
        page.goto(f"{explorer.url}#image=data-0&layer=0&sort=number")
        shown = "document.querySelectorAll('#maps button').length"
        shows(page, "#more", "Show more (256 of 1,300)")
        assert page.evaluate(shown) == 256
        page.locator("#more").press("Enter")
        shows(page, "#more", "Show more (1,280 of 1,300)")
        assert page.evaluate(shown) == 1280
        assert page.evaluate("document.activeElement.dataset.channel") == "256"
        page.locator("#more").click()
        expect(page.locator("#more")).to_be_hidden()
        numbers = "[...document.querySelectorAll('#maps button')].map(one => Number(one.dataset.channel))"
        assert page.evaluate(numbers) == list(range(1300))
        assert page.evaluate("document.activeElement.dataset.channel") == "1280"
        assert page.locator("#maps button[tabindex='0']").count() == 1
        page.locator("#maps button").last.click()
        shows(page, "#unit-title", "0 channel 1299")
        page.locator("#layers li[data-layer='1'] button").click()
        until(page, f"{shown} === 4")
        page.locator("#layers li[data-layer='0'] button").click()
        shows(page, "#more", "Show more (256 of 1,300)")
    assert not [said for said in watched.wrong if not said.startswith(("failed: http", "failed: blob:"))]
    page.context.close()


def test_a_place_lists_the_units_that_fire_there(seen: Watched) -> None:
    page = seen.page
    filled(page)
    side = page.locator("#stage").bounding_box()["width"]
    page.locator("#stage").click(position={"x": side * 8.5 / 12, "y": side * 5.5 / 12})
    shows(page, "#at", "Firing at row 5, column 8")
    until_address(page, "at=5,8")
    page.locator("#at .chip").first.click()
    until_address(page, "position=5,8")
    shows(page, "#unit-title", "0 channel")
    page.get_by_role("button", name="Close").click()
    assert page.locator("#at").is_hidden()


def test_search_order_and_keys(seen: Watched) -> None:
    page = seen.page
    shows(page, "#layer-name", "3")
    page.locator("#layer-name").focus()
    page.keyboard.press("/")
    page.keyboard.type("0 3")
    shows(page, "#found", "0 channel 3")
    page.keyboard.press("Enter")
    shows(page, "#unit-title", "0 channel 3")
    shows(page, "#layer-name", "0")
    page.locator("#sort").select_option("number")
    first = page.locator("#maps button").first
    assert first.get_attribute("data-channel") == "0"
    first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    shows(page, "#unit-title", "0 channel 1")
    page.keyboard.press("]")
    shows(page, "#layer-name", "1")
    page.keyboard.press(".")
    until_address(page, "image=data-4")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")


def test_what_is_searched_for_before_the_layers_are_known_is_found(seen: Watched) -> None:
    page, held = seen.page, []
    shows(page, "#image-name", "image 3")  # so that what is held below is of the page that is loaded anew
    page.route("**/api/image?*", lambda route: held.append(route))
    page.reload()
    shows(page, "#layer-name", "3")
    page.locator("#search").fill("0 3")
    assert page.locator("#found").is_hidden(), "nothing is known yet"
    held[0].continue_()
    shows(page, "#found", "0 channel 3")
    page.locator("#search").fill("nothing like it")
    shows(page, "#found", "nothing is called that")


def give(page: Any, kind: str, name: str) -> None:
    """Drop an image on the page, or paste it."""
    page.evaluate(
        """([kind, name, content]) => {
          const bytes = Uint8Array.from(atob(content), char => char.charCodeAt(0));
          const data = new DataTransfer();
          data.items.add(new File([bytes], name, {type: "image/png"}));
          const event = kind === "drop"
            ? new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true})
            : new ClipboardEvent("paste", {clipboardData: data, bubbles: true});
          document.body.dispatchEvent(event);
        }""",
        [kind, name, base64.b64encode(png(seed=len(name))).decode()],
    )


def test_images_of_ones_own(seen: Watched, tmp_path: Path) -> None:
    page = seen.page
    (tmp_path / "mine.png").write_bytes(png(seed=1))
    page.locator("#file").set_input_files(tmp_path / "mine.png")
    shows(page, "#image-name", "mine.png")
    until_address(page, "image=own-")
    for kind, name in (("drop", "dropped.png"), ("paste", "pasted.png")):
        give(page, kind, name)
        shows(page, "#image-name", name)
    until(page, "document.querySelectorAll('#own button').length === 3")
    names = [one.get_attribute("title") for one in page.locator("#own button").all()]
    assert names == ["pasted.png", "dropped.png", "mine.png"]
    page.locator("#own button").nth(2).click()
    shows(page, "#image-name", "mine.png")
    until_address(page, page.locator("#own button").nth(2).get_attribute("data-image"))
    page.reload()
    shows(page, "#image-name", "mine.png")
    until(page, "document.querySelectorAll('#own button').length === 3")
    assert page.locator("#own button[aria-pressed=true]").get_attribute("title") == "mine.png"
    (tmp_path / "text.png").write_text("no image")
    seen.expected.append("422")  # type: ignore[attr-defined]
    page.locator("#file").set_input_files(tmp_path / "text.png")
    shows(page, "#notice", "'text.png' is not an image file that Pillow can read")


@pytest.mark.parametrize("way", ["choose", "drop"])
def test_an_image_that_is_given_before_the_server_has_answered(seen: Watched, tmp_path: Path, way: str) -> None:
    held: list[Any] = []
    seen.page.route("**/api/state?*", lambda route: held.append(route))
    seen.page.reload()
    if way == "choose":
        (tmp_path / "early.png").write_bytes(png(seed=1))
        seen.page.locator("#file").set_input_files(tmp_path / "early.png")
    else:
        give(seen.page, "drop", "early.png")
    until(seen.page, "document.readyState === 'complete'")
    assert seen.page.evaluate("document.querySelector('main').inert"), "it can be pressed before it does anything"
    held[0].continue_()
    shows(seen.page, "#image-name", "early.png")
    seen.page.locator("[data-move='0,1']").click()
    shows(seen.page, "#shift", "0, 1")


def test_the_image_moves_under_the_network(seen: Watched) -> None:
    page = seen.page
    filled(page)
    page.get_by_role("button", name="Move down").click()
    page.get_by_role("button", name="Move right").click()
    shows(page, "#shift", "1, 1")
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 50 - box["width"] * 2 / 12, box["y"] + 50, steps=3)
    page.mouse.up()
    shows(page, "#shift", "1, -1")
    page.get_by_role("button", name="Put back").click()
    shows(page, "#shift", "0, 0")


def test_a_drag_goes_on_from_a_move_whose_picture_has_not_come(seen: Watched) -> None:
    page = seen.page
    filled(page)
    held: list[Any] = []
    page.route("**/api/image?*", lambda route: held.append(route))
    page.get_by_role("button", name="Move right").click()
    shows(page, "#shift", "0, 1")
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 50 + box["width"] * 3 / 12, box["y"] + 50, steps=3)
    page.mouse.up()
    shows(page, "#shift", "0, 4")
    for route in held:
        route.continue_()


def test_camera(seen: Watched) -> None:
    page = seen.page
    page.locator("#maps button[data-channel='2']").click()
    projected(page)
    page.locator("#camera").click()
    shows(page, "#rate", "frames per second")
    shows(page, "#image-name", "camera.jpg")
    until_address(page, "image=data-3")  # frames come and go; the address stays
    page.keyboard.press("Space")
    until_address(page, "image=own-")
    shows(page, "#freeze", "Go on")
    page.keyboard.press("Space")
    shows(page, "#rate", "frames per second")
    page.locator("#camera").click()
    until(page, "document.querySelectorAll('#own button').length >= 2")
    page.reload()
    shows(page, "#image-name", "camera.jpg")
    page.locator("#camera").click()
    shows(page, "#rate", "frames per second")
    page.locator("#strip button").nth(5).click()  # ends the camera, and no frame takes its place
    shows(page, "#image-name", "image 5")
    shows(page, "#camera", "Camera")
    page.wait_for_timeout(300)
    shows(page, "#image-name", "image 5")
    page.go_back()
    shows(page, "#image-name", "camera.jpg")


def test_pins(seen: Watched) -> None:
    page = seen.page
    for channel in range(4):
        page.locator(f"#maps button[data-channel='{channel}']").click()
        shows(page, "#unit-title", f"3 channel {channel}")
        page.get_by_role("button", name="Pin", exact=True).click()
        until(page, f"document.querySelectorAll('.pin').length === {channel + 1}")
    page.locator("#maps button[data-channel='4']").click()
    shows(page, "#unit-title", "3 channel 4")
    page.get_by_role("button", name="Pin", exact=True).click()
    shows(page, "#notice", "4 units are pinned already")
    page.get_by_label("keep this image").first.check()
    until_address(page, '"data-3"')
    kept, followed = (page.locator(".pin").nth(n).locator(".said") for n in (0, 1))
    until(page, "[...document.querySelectorAll('.pin .said')].filter(one => one.textContent).length === 4")
    before = kept.text_content(), followed.text_content()
    page.locator("#strip button").nth(5).click()
    until_address(page, "image=data-5")
    until(page, f"document.querySelectorAll('.pin .said')[1].textContent !== {before[1]!r}")
    assert kept.text_content() == before[0]
    page.get_by_role("button", name="Remove 3 channel 0").click()
    until(page, "document.querySelectorAll('.pin').length === 3")
    page.locator("#maps button[data-channel='2']").click()
    page.get_by_role("button", name="Unpin", exact=True).click()
    until(page, "document.querySelectorAll('.pin').length === 2")
    page.keyboard.press("p")
    until(page, "document.querySelectorAll('.pin').length === 3")


def test_copy_and_save(seen: Watched, tmp_path: Path) -> None:
    page = seen.page
    page.locator("#maps button[data-channel='2']").click()
    projected(page)
    page.get_by_role("button", name="Copy as Python").click()
    shows(page, "#code", "projection = net.project(x, '3', channel=2)")
    page.get_by_role("button", name="Close").last.click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the result").click()
    download.value.save_as(tmp_path / "a.safetensors")
    assert Projection.load(tmp_path / "a.safetensors").units[0].channel == 2
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the picture").click()
    assert download.value.suggested_filename == "deconvviz-3-2.png"


def test_random_weights_and_the_whole_layer(seen: Watched) -> None:
    page = seen.page
    page.locator("#maps button[data-channel='2']").click()
    projected(page)
    page.get_by_label("random weights").check()
    shows(page, ".banner", "Random weights")
    until_address(page, "random=1")
    page.get_by_role("button", name="Reconstruct from the whole layer").click()
    shows(page, "#unit-title", "3, all activations at once")
    until(page, "document.querySelector('.whole img')?.naturalWidth === 12")
    assert page.locator(".whole img").evaluate("one => getComputedStyle(one).imageRendering") == "pixelated"


def test_on_a_phone(phone: Watched) -> None:
    """One column, in the dark, which no part makes wider; a map that is touched brings its unit into view."""
    violations(phone.page)
    phone.page.locator("#maps button[data-channel='2']").tap()
    until(phone.page, "Math.abs(document.getElementById('unit-title').getBoundingClientRect().top) < 100")


def test_nothing_is_inaccessible(seen: Watched) -> None:
    violations(seen.page)


def violations(page: Any) -> None:
    """axe-core finds no violation of WCAG A and AA, with everything open, in the light and in the dark."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    page.locator("#maps button[data-channel='2']").click()
    shows(page, "#badges", "Can you trust it?")
    shows(page, "#strongest", "What fires it most")
    page.keyboard.press("p")
    page.locator("#stage").click()
    shows(page, "#at", "Firing at")
    for _ in ("light or dark", "the other one"):
        found = axe.run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"], one["nodes"][0]["failureSummary"]) for one in found] == []
        page.locator("#theme").click()


def test_a_server_that_was_away(browser: Any) -> None:
    images, watched = small_images(8), Watched(browser.new_context().new_page())
    page = watched.page
    with dv.explore(small_net(), images, token=TOKEN, open_browser=False) as explorer:
        port = int(explorer.url.split(":")[2].partition("/")[0])
        page.goto(f"{explorer.url}#layer=3&channel=2")
        shows(page, "#unit-title", "3 channel 2")
        page.locator("#file").set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": png(seed=1)})
        shows(page, "#image-name", "mine.png")
    page.locator("#maps button[data-channel='1']").click()
    shows(page, "#notice", "The explorer does not answer.")
    with dv.explore(small_net(), images, token=TOKEN, port=port, open_browser=False):
        until(page, "document.getElementById('notice').hidden")
        shows(page, "#unit-title", "3 channel 1")
        shows(page, "#image-name", "mine.png")  # it was given again
    page.context.close()
