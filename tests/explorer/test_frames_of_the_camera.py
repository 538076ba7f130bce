"""A frame of the camera brings its questions along: the answers are those that each question has alone."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

import deconvviz as dv
from tests.helpers.chromium import CHROMIUM, Watched, until
from tests.helpers.explorer_client import TOKEN, Client, png, small_images, small_net
from tests.helpers.explorer_page import filled, hold, release, shows, until_address

pytest.importorskip("uvicorn", reason="needs starlette and uvicorn")

QUESTIONS: list[tuple[str, dict[str, str]]] = [
    ("image", {}),
    ("maps", {"layer": "3"}),
    ("unit", {"layer": "3", "channel": "2", "style": "deconvnet"}),
    ("unit", {"layer": "3", "channel": "1", "position": "0,1", "style": "guided"}),
    ("place", {"at": "5,8"}),
    ("maps", {"layer": "nope"}),
]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with dv.explore(small_net(), small_images(), token=TOKEN, open_browser=False) as explorer:
        yield Client(explorer)


def test_the_body_of_an_answer_does_not_wait_until_its_head_has_arrived() -> None:
    with (
        dv.explore(small_net(), small_images(), token=TOKEN, open_browser=False) as explorer,
        socket.create_connection(("127.0.0.1", Client(explorer).port)),
    ):
        while not (connections := list(explorer._server.server_state.connections)):
            time.sleep(0.01)
        own = [one.transport.get_extra_info("socket") for one in connections]
        assert all(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in own)


def test_answers_come_with_a_frame(client: Client) -> None:
    said = client.give(png(seed=3), "camera.jpg", live="1", ask=json.dumps(QUESTIONS), lane="camera", number="1").json
    alone = [client.ask(name, image=said["image"], **fields).json for name, fields in QUESTIONS]
    assert said["answers"][:5] == [{"answer": answer} for answer in alone[:5]]
    assert said["answers"][5] == alone[5]
    assert "did you mean" in alone[5]["error"] or "'nope'" in alone[5]["error"]


@pytest.mark.parametrize(
    "asked",
    [
        "no JSON",
        "3",
        "{}x",
        '["maps"]',
        '[["save", {}]]',
        '[["evidence", {}]]',
        '[["maps", 3]]',
        '[["maps", {"layer": 3}]]',
        '[["maps", {"layer": ["3"]}]]',
        json.dumps(QUESTIONS * 2),
        "[" * 5000,
    ],
    ids=range(11),
)
def test_what_is_asked_wrongly_with_a_frame_is_refused(client: Client, asked: str) -> None:
    answer = client.give(png(seed=3), live="1", ask=asked, lane=f"wrong {hash(asked)}", number="1")
    assert answer.status == 422
    assert "several questions are a list of 10 at most" in answer.json["error"]


def test_a_frame_asks_about_no_image_but_its_own(client: Client) -> None:
    fields = {"image": "data-1", "layer": "3"}
    said = client.give(png(seed=3), live="1", ask=json.dumps([["maps", fields]]), lane="own", number="1").json
    assert said["answers"] == [{"answer": client.ask("maps", image=said["image"], layer="3").json}]


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
def test_the_page_asks_once_per_frame(seen: Watched) -> None:
    page = seen.page
    page.locator("#maps button[data-channel='2']").click()
    shows(page, "#unit-title", "3 channel 2")
    page.keyboard.press("p")
    until(page, "document.querySelector('.pin .said').textContent !== ''")
    page.locator("#camera").click()
    shows(page, "#rate", "frames per second")
    shows(page, "figure[data-style=guided]", "of the image before the camera")
    asked: list[Any] = []
    page.on("request", lambda request: asked.append(request.url.partition("/api/")[2].partition("?")[0]))
    for _ in range(200):
        if asked.count("images") > 3:
            break
        page.wait_for_timeout(20)
    assert set(asked) - {""} == {"images"}
    before = page.locator(".pin .said").text_content()
    page.locator("#maps button[data-channel='4']").click()  # what is new is asked for at once
    shows(page, "#unit-title", "3 channel 4")
    until(page, "document.querySelector('#facts').textContent.includes('activation')")
    assert before
    page.locator("#camera").click()
    until_address(page, "image=own-")
    until(page, "!document.querySelector('.figures').textContent.includes('before the camera')")


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
def test_maps_are_never_empty_nor_of_two_images(seen: Watched) -> None:
    """In every frame they are those of the image before, or all of them those of the new one; its picture follows."""
    page = seen.page
    shows(page, "#image-name", "3")
    until(page, "document.querySelectorAll('#maps .mosaic').length === 6")
    page.evaluate("""() => {
      window.mapsNow = () => [...document.querySelectorAll("#maps button")]
        .sort((one, other) => one.dataset.channel - other.dataset.channel)
        .map(one => one.querySelector("canvas").toDataURL()).join(" ");
      window.seen = [];
      const look = () => {
        const now = [window.mapsNow(), document.querySelector("#image-name").textContent];
        if (String(now) !== String(window.seen.at(-1))) window.seen.push(now);
        requestAnimationFrame(look);
      };
      look();
    }""")
    settled = [page.evaluate("window.mapsNow()")]
    names = [page.text_content("#image-name")]
    for number in (4, 5, 6):
        page.locator("#strip button").nth(number).click()
        shows(page, "#image-name", str(number))
        settled.append(page.evaluate("window.mapsNow()"))
        names.append(page.text_content("#image-name"))
    assert len(set(settled)) == 4
    until(page, f"window.seen.at(-1)[1] === {names[-1]!r}")
    expected = [[settled[0], names[0]]]
    for at in (1, 2, 3):
        expected += [[settled[at], names[at - 1]], [settled[at], names[at]]]
    assert page.evaluate("window.seen") == expected


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
def test_why_the_camera_stopped_stays_on_the_page(seen: Watched) -> None:
    page, seen.expected[:] = seen.page, ["500"]  # type: ignore[attr-defined]
    until(page, "document.querySelectorAll('#maps .mosaic').length === 6")
    page.locator("#camera").click()
    shows(page, "#rate", "frames per second")
    page.route("**live=1*", lambda route: route.fulfill(status=500, json={"error": "there is no memory left"}))
    shows(page, "#camera", "Camera")
    until_address(page, "image=own-")
    shows(page, "#notice", "there is no memory left")


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
def test_the_map_over_the_image_is_that_of_the_image(seen: Watched) -> None:
    page = seen.page
    until(page, "document.querySelectorAll('#maps .mosaic').length === 6")
    filled(page)  # what is said of the layer then moves the maps
    sheets = "['#maps .mosaic', '.over'].map(one => document.querySelector(one).toDataURL())"
    page.locator("#maps button").nth(0).hover()
    before, over = page.evaluate(sheets)
    assert before == over
    page.keyboard.press(".")
    until(page, f"{sheets}[0] !== {before!r}")
    now, over = page.evaluate(sheets)
    assert now == over
    page.locator("#layer-name").hover()
    assert page.locator(".over").is_hidden()


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
def test_a_frame_is_sent_once(seen: Watched) -> None:
    page = seen.page
    page.locator("#camera").click()
    shows(page, "#rate", "frames per second")
    page.evaluate("""() => {
      const [one, fetched] = [document.createElement("canvas").toDataURL("image/jpeg"), fetch];
      HTMLCanvasElement.prototype.toDataURL = () => one;
      window.sent = 0;
      window.answered = 0;
      window.fetch = async (address, options) => {
        const live = String(address).includes("live=1");
        window.sent += live;
        const answer = await fetched(address, options);
        window.answered += live;
        return answer;
      };
    }""")
    until(page, "window.answered > 0")
    page.wait_for_timeout(300)
    assert page.evaluate("window.sent") == 1
    for words in ("Go on", "Freeze"):
        page.locator("#freeze").click()
        shows(page, "#freeze", words)
    until(page, "window.sent > 1")
    page.wait_for_timeout(100)
    assert page.evaluate("window.sent") == 2
    page.locator("#camera").click()
    until_address(page, "image=own-")


def test_a_camera_whose_frames_do_not_come_says_so(seen: Watched) -> None:
    page = seen.page
    shows(page, "#layer-name", "3")
    page.locator("#camera").click()
    shows(page, "#rate", "frames per second")
    frames = hold(page, "**/api/images?*live=1*")
    shows(page, "#rate", "waiting for the next frame")
    release(page, "**/api/images?*live=1*", frames)
    shows(page, "#rate", "frames per second")
    page.locator("#camera").click()
    shows(page, "#camera", "Camera")
    assert page.locator("#rate").text_content() == ""
