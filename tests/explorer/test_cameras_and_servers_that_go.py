"""A camera beside other actions, and a server that goes or is another: the page says so, and goes on."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from torch import nn

import deconvviz as dv
from tests.helpers.chromium import CHROMIUM, Watched, until
from tests.helpers.explorer_client import TOKEN, png, small_images, small_net
from tests.helpers.explorer_page import choose, hold, projected, release, shows, until_address, wait_for

pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")

# A camera

CAMERAS = """() => {
  window.tracks = [];
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (...wanted) => {
    const stream = await real(...wanted);
    window.tracks.push(...stream.getTracks());
    return stream;
  };
}"""


def test_a_pin_that_keeps_a_frame_of_the_camera_can_be_loaded_again(seen: Watched) -> None:
    page = seen.page
    choose(page, 2)
    projected(page)
    page.get_by_role("button", name="Pin", exact=True).click()
    shows(page, ".pin .said", "0")
    page.locator("#camera").click()
    shows(page, "#rate", "frames per second")
    page.locator("#keep-0").check()
    until_address(page, 'pin=["own-')
    until(page, "/[0-9]/.test(document.querySelector('.pin .said').textContent)")
    said = page.locator(".pin .said").text_content()
    page.locator("#camera").click()
    until_address(page, "image=own-")
    page.reload()
    until(page, f"document.querySelector('.pin .said')?.textContent === {said!r}")


def test_the_frame_that_is_shown_can_be_kept_while_the_next_one_is_given(seen: Watched) -> None:
    shows(seen.page, "#layer-name", "3")
    kept = seen.page.evaluate(
        """async pictures => {
          const {give, kept} = await import("/web/explorer/server.js");
          const blob = one => new Blob([Uint8Array.from(atob(one), char => char.charCodeAt(0))]);
          const keys = [];
          for (const one of pictures) keys.push(await give(blob(one), "camera.jpg", true));
          return [keys[1], await kept(keys[1])];
        }""",
        [base64.b64encode(png(seed=number)).decode() for number in range(3)],
    )
    assert kept == [kept[0], kept[0].replace("live-", "own-")]


def test_what_is_known_while_a_camera_runs_is_not_that_of_the_image_before(seen: Watched) -> None:
    page = seen.page
    choose(page, 2)
    shows(page, "#badges", "Can you trust it?")
    shows(page, "#inputs", "What feeds it here")
    shows(page, "#strongest", "What fires it most")
    page.locator("#camera").click()
    shows(page, "#rate", "frames per second")
    shows(page, "#badges", "Whether to believe it is measured when the camera stops.")
    assert page.locator("#inputs").text_content() == ""
    told = "document.querySelector('#values svg').getAttribute('aria-label').split(' ').at(-1)"
    until(page, f"{told} === document.querySelector('#facts dd').textContent")
    page.locator("#strongest button").first.click()  # an image of the data set, at which the camera ends
    shows(page, "#camera", "Camera")
    shows(page, "#badges", "Can you trust it?")
    page.wait_for_timeout(200)
    assert page.locator("#image-name").text_content().startswith("image ")


def test_a_camera_is_started_once(seen: Watched) -> None:
    page = seen.page
    shows(page, "#layer-name", "3")
    page.evaluate(CAMERAS)
    page.evaluate("[1, 2].forEach(() => document.querySelector('#camera').click())")
    shows(page, "#rate", "frames per second")
    page.locator("#camera").click()
    shows(page, "#camera", "Camera")
    assert page.evaluate("tracks.map(one => one.readyState)") == ["ended"]


def test_a_camera_that_is_taken_away_is_noticed(seen: Watched) -> None:
    page = seen.page
    shows(page, "#layer-name", "3")
    page.evaluate(CAMERAS)
    page.locator("#camera").click()
    shows(page, "#rate", "frames per second")
    page.evaluate("tracks[0].stop(), tracks[0].dispatchEvent(new Event('ended'))")
    shows(page, "#notice", "The camera has stopped: it was unplugged, or taken by another program.")
    shows(page, "#camera", "Camera")
    shows(page, "#image-name", "camera.jpg")


def test_a_camera_goes_before_an_image_that_is_still_read(seen: Watched) -> None:
    page = seen.page
    shows(page, "#layer-name", "3")
    given = hold(page, "**/api/images?*live=0*")
    page.locator("#file").set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": png(seed=1)})
    shows(page, "#status", "Reading mine.png")
    page.locator("#camera").click()
    shows(page, "#rate", "frames per second")
    assert page.locator("#status").text_content() == ""
    release(page, "**/api/images?*live=0*", given)
    assert page.locator("#image-name").text_content() == "camera.jpg"
    assert page.locator("#camera").text_content() == "Stop the camera"


def test_an_image_that_is_chosen_goes_before_the_last_frame(seen: Watched) -> None:
    page = seen.page
    until(page, "document.querySelectorAll('#strip button').length === 24")
    page.locator("#camera").click()
    shows(page, "#rate", "frames per second")
    last = hold(page, "**/api/images?*live=0*")
    page.locator("#camera").click()
    wait_for(page, lambda: last)
    page.locator("#strip button").nth(5).click()
    shows(page, "#image-name", "image 5")
    release(page, "**/api/images?*live=0*", last)
    assert page.locator("#image-name").text_content() == "image 5"
    assert "image=data-5" in page.url


# A server that goes

CUT = """(() => {
  const real = window.fetch.bind(window);
  let cuts = 1;
  window.fetch = async (address, options) => {
    const answer = await real(address, options);
    if (!String(address).includes("/api/evidence") || !cuts) return answer;
    cuts -= 1;
    return new Response(new ReadableStream({start(control) {
      control.enqueue(new TextEncoder().encode('{"share": 0.25}\\n'));
      setTimeout(() => END, 300);
    }}));
  };
})()"""


@pytest.mark.parametrize(
    "end", ["control.error(new TypeError('network error'))", pytest.param("control.close()", marks=pytest.mark.slow)]
)
def test_a_server_that_goes_in_the_middle_of_an_answer(seen: Watched, end: str) -> None:
    page = seen.page
    page.add_init_script(CUT.replace("END", end))
    page.reload()
    shows(page, "#layer-name", "3")
    choose(page, 2)
    shows(page, "#badges", "Measuring whether to believe it: 25 %")
    shows(page, "#notice", "The explorer does not answer.")
    shows(page, "#badges", "Can you trust it?")  # asked again when it was back
    assert page.locator("#notice").is_hidden()


@pytest.mark.parametrize("status", [200, 404])
def test_another_program_at_the_same_address(seen: Watched, status: int) -> None:
    page = seen.page
    seen.expected.append("404")  # type: ignore[attr-defined]
    choose(page, 2)
    projected(page)
    answer = {"status": status, "body": "<h1>Hello</h1>", "content_type": "text/html"}
    page.route("**/api/unit?*", lambda route: route.fulfill(**answer))
    choose(page, 1)
    shows(page, "#notice", "Another program answers at this address, and not the explorer.")
    page.unroute("**/api/unit?*")
    choose(page, 3)
    shows(page, "#unit-title", "3 channel 3")
    assert page.locator("#notice").is_hidden()


def test_what_cannot_be_saved_leaves_the_notice(seen: Watched) -> None:
    page = seen.page
    seen.expected.append("net::ERR")  # type: ignore[attr-defined]
    seen.expected.append("/save/")  # type: ignore[attr-defined]
    choose(page, 2)
    projected(page)
    for address in ("**/api/**", "**/save/**"):
        page.route(address, lambda route: route.abort())
    page.get_by_role("button", name="Save the result").click()
    shows(page, "#notice", "The explorer does not answer.")
    page.wait_for_timeout(100)
    assert page.locator("#notice").is_visible()


def test_a_server_that_comes_back_with_another_network(browser: Any) -> None:
    watched = Watched(browser.new_context().new_page())
    page = watched.page
    with dv.explore(small_net(), small_images(8), token=TOKEN, open_browser=False) as explorer:
        port = int(explorer.url.split(":")[2].partition("/")[0])
        page.goto(f"{explorer.url}#layer=3&channel=2")
        shows(page, "#unit-title", "3 channel 2")
    page.locator("#maps button[data-channel='1']").click()
    shows(page, "#notice", "The explorer does not answer.")
    other = dv.DeconvNet(nn.Conv2d(1, 3, 5))
    with dv.explore(other, small_images(40), token=TOKEN, port=port, open_browser=False):
        shows(page, "#title", "Conv2d")
        shows(page, "#strip-title", "(40)")
    page.context.close()
