"""What comes late, after the next key or press: an event, an answer, a camera. The page follows what was asked last."""

from __future__ import annotations

import pytest

from tests.helpers.chromium import CHROMIUM, Watched, until
from tests.helpers.explorer_client import png
from tests.helpers.explorer_page import choose, filled, hold, projected, release, shows, until_address, wait_for

pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")

KEY = "document.body.dispatchEvent(new KeyboardEvent('keydown', {{key: '{}', bubbles: true, cancelable: true}}));"
# The address is entered late, as on a slow machine.
LATE_ADDRESS = """() => {
  const real = window.setTimeout.bind(window);
  window.setTimeout = (act, wait) => real(act, wait === 100 ? 1000 : wait);
}"""


def test_a_key_that_comes_before_the_event_of_an_address_counts(seen: Watched) -> None:
    page = seen.page
    shows(page, "#layer-name", "3")
    until(page, "document.querySelectorAll('#layers button').length > 3")
    page.evaluate("location.hash = 'image=data-5&layer=0';" + KEY.format("]"))
    until(page, "document.querySelector('#image-name').textContent === 'image 5'")
    page.wait_for_timeout(200)
    shows(page, "#layer-name", "1")
    until_address(page, "image=data-5&layer=1")


def test_back_takes_back_what_was_pressed_just_before(seen: Watched) -> None:
    page = seen.page
    shows(page, "#layer-name", "3")
    page.evaluate("location.hash = 'image=data-3&layer=3&channel=1'")
    shows(page, "#unit-title", "3 channel 1")
    choose(page, 4)
    until_address(page, "channel=4")
    page.evaluate(LATE_ADDRESS)
    page.evaluate("""() => {
        window.heard = 0;
        addEventListener("popstate", () => { window.heard += 1; });
        document.querySelector("#maps button[data-channel='2']").click();
        history.back();
    }""")
    until(page, "window.heard === 2")  # back, and forward again
    shows(page, "#unit-title", "3 channel 4")
    until_address(page, "channel=4")
    page.go_back()
    shows(page, "#unit-title", "3 channel 1")
    page.go_forward()
    shows(page, "#unit-title", "3 channel 4")


def test_an_address_that_is_written_while_another_is_to_be_entered_counts(seen: Watched) -> None:
    page = seen.page
    shows(page, "#layer-name", "3")
    page.evaluate(LATE_ADDRESS)
    page.evaluate("document.querySelector(`#maps button[data-channel='2']`).click(); location.hash = 'image=data-7';")
    until(page, "document.querySelector('#image-name').textContent === 'image 7'")
    assert page.url.endswith("#image=data-7")


def test_the_strongest_units_are_those_of_the_unit_that_is_shown(seen: Watched) -> None:
    page = seen.page
    choose(page, 2)
    until(page, "document.querySelectorAll('#strongest .tile').length > 0")
    units = hold(page, "**/api/unit?*")
    choose(page, 5)
    wait_for(page, lambda: units)
    page.locator("#strongest .tile").first.click()
    release(page, "**/api/unit?*", units)
    shows(page, "#unit-title", "3 channel 2")
    until_address(page, "position=")
    assert page.url.endswith("&channel=2")


def test_a_place_that_is_refused_has_no_cross(seen: Watched) -> None:
    page, seen.expected[:] = seen.page, ["422"]  # type: ignore[attr-defined]
    filled(page)
    page.evaluate("location.hash = 'image=data-3&layer=3&at=4,4'")
    until(page, "!document.querySelector('#stage .cross').hidden")
    page.evaluate("location.hash = 'image=data-3&layer=3&at=here'")
    shows(page, "#notice", "here")
    assert page.locator("#stage .cross").is_hidden()
    page.locator("#stage").click()
    until(page, "!document.querySelector('#stage .cross').hidden")


def test_a_press_that_ends_elsewhere_moves_nothing(seen: Watched) -> None:
    page = seen.page
    filled(page)
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] - 3, box["y"] + 30)
    page.mouse.up()
    page.mouse.move(box["x"] + 90, box["y"] + 90, steps=3)
    page.wait_for_timeout(200)
    assert page.locator("#shift").text_content() == "0, 0"
    assert page.locator("#at").is_hidden()


def test_a_strip_that_comes_late_leaves_what_is_typed(seen: Watched) -> None:
    page = seen.page
    filled(page)  # what is below it stays in its place
    until(page, "document.querySelectorAll('#strip button').length === 24")
    strips = hold(page, "**/api/dataset?*")
    page.locator("#later").click()
    wait_for(page, lambda: strips)
    assert page.locator("#from").input_value() == "24"
    page.locator("#from").fill("12")
    release(page, "**/api/dataset?*", strips)
    until(page, "document.querySelector('#strip button').dataset.image === 'data-24'")
    assert page.locator("#from").input_value() == "12"
    page.locator("#from").press("Enter")
    until(page, "document.querySelector('#strip button').dataset.image === 'data-12'")
    page.locator("#from").fill("-7")
    page.locator("#from").press("Enter")
    until(page, "document.querySelector('#strip button').dataset.image === 'data-0'")
    page.locator("#from").fill("-3")
    page.locator("#from").press("Enter")
    assert page.locator("#from").input_value() == "0"


def test_lines_that_come_late_are_not_shown_beside_another_unit(seen: Watched) -> None:
    page = seen.page
    choose(page, 2)
    projected(page)
    lines = hold(page, "**/api/python?*")
    page.get_by_role("button", name="Copy as Python").click()
    wait_for(page, lambda: lines)
    choose(page, 5)
    shows(page, "#unit-title", "3 channel 5")
    release(page, "**/api/python?*", lines)
    assert page.locator("#lines").is_hidden()
    page.get_by_role("button", name="Copy as Python").click()
    shows(page, "#code", "channel=5")


SHARES = """(() => {
  const real = window.fetch.bind(window);
  window.fetch = async (address, options) => {
    if (!String(address).includes("/api/strongest")) return real(address, options);
    const line = share => new TextEncoder().encode(`{"share": ${share}}\\n`);
    return new Response(new ReadableStream({start(control) {
      control.enqueue(line(0.25));
      window.goOn = () => control.enqueue(line(0.75));
    }}));
  };
})()"""


def test_the_share_of_the_strongest_units_goes_on(seen: Watched) -> None:
    page = seen.page
    page.add_init_script(SHARES)
    page.reload()
    shows(page, "#layer-name", "3")
    choose(page, 2)
    shows(page, "#strongest", "Projecting its strongest units: 25 %.")
    page.evaluate("goOn()")
    shows(page, "#strongest", "Projecting its strongest units: 75 %.")


@pytest.mark.parametrize(("key", "ends"), [(".", "image=data-9&layer=3"), ("[", "image=data-3&layer=0")])
def test_a_key_that_is_held_is_one_step(seen: Watched, key: str, ends: str) -> None:
    page = seen.page
    shows(page, "#layer-name", "3")
    until(page, "document.querySelectorAll('#layers button').length > 3")
    page.evaluate("location.hash = 'image=data-3&layer=4'" if key == "[" else "location.hash = 'image=data-4&layer=3'")
    until(page, "document.body.dataset.shown > 1")
    before = page.url
    for _ in range(5):
        page.keyboard.down(key)  # all but the first are repeats
    page.keyboard.up(key)
    until_address(page, ends)
    page.wait_for_timeout(200)
    assert page.url.endswith(ends)
    page.go_back()
    until(page, f"location.href === {before!r}")


def test_a_key_that_is_held_turns_nothing_on_and_off(seen: Watched) -> None:
    page = seen.page
    choose(page, 2)
    projected(page)
    for key, word in (("p", "pin="), ("w", "random=1")):
        for _ in range(4):
            page.keyboard.down(key)
        page.keyboard.up(key)
        until_address(page, word)


# A camera

LATE_CAMERA = """() => {
  window.tracks = [];
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (...wanted) => {
    window.wanted = true;
    await new Promise(done => { window.granted = done; });
    const stream = await real(...wanted);
    window.tracks.push(...stream.getTracks());
    return stream;
  };
}"""


@pytest.mark.parametrize("then", ["an image", "hidden"])
def test_a_camera_that_comes_late_does_not_start(seen: Watched, then: str) -> None:
    page = seen.page
    until(page, "document.querySelectorAll('#strip button').length === 24")
    page.evaluate(LATE_CAMERA)
    page.locator("#camera").click()
    until(page, "window.wanted")
    if then == "an image":
        page.locator("#strip button").nth(5).click()
        shows(page, "#image-name", "image 5")
    else:
        page.evaluate("""() => {
          Object.defineProperty(document, "hidden", {value: true, configurable: true});
          document.dispatchEvent(new Event("visibilitychange"));
        }""")
    page.evaluate("granted()")
    until(page, "tracks.length === 1 && tracks[0].readyState === 'ended'")
    assert page.locator("#camera").text_content() == "Camera"


def test_a_camera_that_comes_late_leaves_the_search_alone(seen: Watched) -> None:
    page = seen.page
    until(page, "document.querySelectorAll('#strip button').length === 24")
    page.evaluate(LATE_CAMERA)
    page.locator("#camera").click()
    until(page, "window.wanted")
    page.locator("#strip button").nth(5).click()
    page.locator("#camera").click()  # it is wanted after all
    page.keyboard.press("/")
    page.evaluate("granted()")
    shows(page, "#rate", "frames per second")
    assert page.locator("#search:focus").count() == 1
    page.locator("#camera").click()
    shows(page, "#camera", "Camera")


# Before the server's first answer


def test_the_bar_works_before_the_server_has_answered(seen: Watched) -> None:
    page = seen.page
    states = hold(page, "**/api/state?*")
    page.reload()
    wait_for(page, lambda: states)
    page.locator("#theme").click()
    assert page.locator("#theme").get_attribute("aria-pressed") in ("true", "false")
    assert page.evaluate("document.documentElement.dataset.theme") in ("dark", "light")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    for key in "p.w]":
        page.keyboard.press(key)  # what is not shown yet is not changed
    page.keyboard.press("/")
    page.keyboard.type("3 channel 4")
    page.keyboard.press("Enter")
    assert page.locator("#found").is_hidden()
    shows(page, "#working", "Working")
    until(page, "!document.querySelector('#working').hidden")
    assert page.locator("#cancel").is_hidden(), "without the first answer there is nothing to go on with"
    release(page, "**/api/state?*", states)
    shows(page, "#unit-title", "3 channel 4")
    assert page.locator("#image-name").text_content() == "image 3"
    assert page.locator("#pins-part").is_hidden()


def test_another_program_that_takes_an_image_is_noticed(seen: Watched) -> None:
    page = seen.page
    shows(page, "#layer-name", "3")
    page.route("**/api/images?*", lambda route: route.fulfill(status=200, body="<h1>Hello</h1>"))
    page.locator("#file").set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": png(seed=1)})
    shows(page, "#notice", "Another program answers at this address, and not the explorer.")
