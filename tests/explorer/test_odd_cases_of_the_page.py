"""The explorer's page with networks, data and addresses that are not the usual ones."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from matplotlib import colormaps
from torch import nn

import deconvviz as dv
from tests.explorer.conftest import LAYOUTS
from tests.helpers.chromium import CHROMIUM, Watched, until
from tests.helpers.explorer_client import small_images, small_net
from tests.helpers.explorer_page import filled, hold, projected, shows, until_address, wait_for

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")


@contextlib.contextmanager
def page_of(browser: Any, net: dv.DeconvNet, data: Any, address: str) -> Iterator[Any]:
    """A page on a network of one's own, which says nothing on the console."""
    with dv.explore(net, data, open_browser=False) as explorer:
        context = browser.new_context(**LAYOUTS["desktop"])
        watched = Watched(context.new_page())
        watched.page.goto(f"{explorer.url}#{address}")
        yield watched.page
        assert [said for said in watched.wrong if not said.startswith("failed: ") and "422" not in said] == []
        context.close()


def test_a_frame_is_in_its_place_when_the_unit_is_known_before_its_image(browser: Any) -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 5), nn.ReLU())
    with page_of(browser, dv.DeconvNet(model), torch.randn(3, 1, 40, 40), "layer=0&channel=1") as page:
        shows(page, "#facts", "activation")
        until(page, "document.querySelector('#stage .frame').hidden === false")
        known = page.locator("#stage .frame").evaluate("one => [one.style.width, one.style.top]")
        assert known[0] == "12.5%"
        page.route("**/api/image?*", lambda route: (page.wait_for_timeout(300), route.continue_()))
        page.reload()
        shows(page, "#image-name", "image 0")
        assert page.locator("#stage .frame").evaluate("one => [one.style.width, one.style.top]") == known


def test_an_address_that_changes_while_the_page_loads_counts(browser: Any, shown_explorer: Any) -> None:
    page = browser.new_page()
    page.route(
        "**/api/state?*", lambda route: (page.evaluate("location.hash = 'layer=3&channel=2'"), route.continue_())
    )
    page.goto(f"{shown_explorer.url}#image=data-3&layer=1")
    shows(page, "#unit-title", "3 channel 2")
    page.close()


def test_a_signal_is_a_band(browser: Any) -> None:
    model = nn.Sequential(nn.Conv1d(2, 3, 5), nn.ReLU())
    with page_of(browser, dv.DeconvNet(model), torch.randn(3, 2, 40), "layer=0&channel=1") as page:
        shows(page, "#facts", "activation")
        until(page, "document.querySelector('#stage .frame').hidden === false")
        image, frame = (page.locator(f"#stage {name}").bounding_box() for name in (".image", ".frame"))
        assert image["height"] >= 40
        assert frame["height"] >= 40
        assert frame["width"] < image["width"] / 4
        page.locator("#stage").click(position={"x": image["width"] / 2, "y": 20})
        shows(page, "#at", "Firing at row 0, column 20")
        assert "false" not in page.locator("#at").text_content()
        shows(page, "#badges", "Faithfulness not judged")
        assert page.locator("[data-move]").first.is_hidden(), "a signal is not moved"


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("image=data-99", "the data set has images 0 to 29, not '99'"),
        ("layer=nope", "'nope'"),
        ("layer=3&channel=99999", "layer '3' has channels 0 to 5, not 99999"),
        ("layer=3&channel=1&position=99,99", "the position (99, 99) lies outside"),
        ("shift=0,0,9000", "an image has a size of 25 to 800 percent, not 9000"),
        ("layer=3&at=12,3", "the image is 12 x 12 pixels large; the place (12, 3) lies outside"),
        ("layer=3&at=-1,3", "the place (-1, 3) lies outside"),
    ],
)
def test_an_address_that_means_nothing_says_so(seen: Watched, address: str, sentence: str) -> None:
    seen.expected.append("422")  # type: ignore[attr-defined]
    page = seen.page
    shows(page, "#layer-name", "3")
    page.evaluate(f"location.hash = {address!r}")
    shows(page, "#notice", sentence)
    page.evaluate("location.hash = 'image=data-5'")  # and the page goes on
    until(page, "document.querySelector('#image-name').textContent === 'image 5'")
    until(page, "document.querySelectorAll('#maps .mosaic').length === 4")  # of the first layer
    assert page.locator("#notice").is_hidden(), page.locator("#notice").text_content()


def test_an_order_that_there_is_not_is_the_usual_one(seen: Watched) -> None:
    seen.page.evaluate("location.hash = 'image=data-3&layer=3&sort=nonsense&channel=2'")
    shows(seen.page, "#unit-title", "3 channel 2")
    assert seen.page.locator("#sort").input_value() == "strength"


def test_the_search_finds_a_channel_whose_number_is_in_its_layers_name(seen: Watched) -> None:
    page = seen.page
    until(page, "document.querySelectorAll('#layers button').length > 3")
    for text in ("3 3", "3/3", "3:3"):
        page.locator("#search").fill(text)
        assert page.locator("#found li").first.text_content() == "3 channel 3"
    for text in ("[", "(.*", "\\", "3 99", "<b>"):
        page.locator("#search").fill(text)
        assert page.locator("#found").text_content() == "nothing is called that"
    page.locator("#search").fill("3")
    assert page.locator("#found li").all_text_contents() == ["3 6 channels", "3 channel 3"]


def test_what_is_refused_is_said_also_where_another_part_is_superseded(seen: Watched) -> None:
    page, seen.expected[:] = seen.page, ["409", "422"]  # type: ignore[attr-defined]
    shows(page, "#layer-name", "3")
    page.route("**/api/maps*", lambda route: route.fulfill(status=409, json={"error": "a newer one"}))
    page.route("**/api/image?*", lambda route: route.fulfill(status=422, json={"error": "this image is broken"}))
    page.locator("#strip button").nth(5).click()
    shows(page, "#notice", "this image is broken")


def test_a_strip_that_is_refused_says_why(seen: Watched) -> None:
    page, seen.expected[:] = seen.page, ["503"]  # type: ignore[attr-defined]
    until(page, "document.querySelectorAll('#strip button').length === 24")
    page.route("**/api/dataset*", lambda route: route.fulfill(status=503, json={"error": "too much to do"}))
    page.locator("#later").click()
    shows(page, "#notice", "too much to do")


def test_what_comes_late_takes_no_place_of_what_is_shown_now(seen: Watched) -> None:
    page = seen.page
    shows(page, "#layer-name", "3")
    filled(page)
    wholes, places = hold(page, "**/api/reconstruction*"), hold(page, "**/api/place*")
    page.locator("#whole").click()
    page.locator("#stage").click()
    until_address(page, "at=")
    page.locator("#maps button").nth(1).click()
    until_address(page, "channel=")
    page.evaluate("history.go(-2)")
    until(page, "location.hash.includes('whole=1') && !location.hash.includes('at=')")
    page.locator("#maps button").nth(1).click()
    shows(page, "#facts", "activation")
    title = page.locator("#unit-title").text_content()
    for route in wholes + places:
        with contextlib.suppress(playwright.Error):  # the page has cancelled it
            route.continue_()
    page.wait_for_timeout(300)
    assert page.locator("#unit-title").text_content() == title
    assert page.locator("#facts").is_visible()
    assert page.locator("#at").is_hidden()


def test_what_is_refused_late_is_not_said_of_what_is_shown_now(seen: Watched) -> None:
    page, seen.expected[:] = seen.page, ["422"]  # type: ignore[attr-defined]
    shows(page, "#layer-name", "3")
    page.locator("#maps button").nth(1).click()
    projected(page)
    images, units = hold(page, "**/api/image?*"), hold(page, "**/api/unit?*")
    page.locator("#strip button").nth(5).click()
    wait_for(page, lambda: images and units)
    maps = hold(page, "**/api/maps?*")
    page.locator("#strip button").nth(6).click()
    wait_for(page, lambda: maps)
    for route in images + units:
        with contextlib.suppress(playwright.Error):  # the page has cancelled it
            route.fulfill(status=422, json={"error": "that of the image before"})
    page.wait_for_timeout(200)
    assert page.locator("#notice").is_hidden()
    for address in ("**/api/image?*", "**/api/unit?*"):
        page.unroute(address)
    maps[0].continue_()
    until(page, "document.querySelector('#image-name').textContent === 'image 6'")


def test_maps_that_come_late_are_not_drawn_over_those_of_a_later_image(seen: Watched) -> None:
    """The maps are the library's own, pixel by pixel, of one image as a whole or of the other."""
    page, seen.expected[:] = seen.page, ["Canvas2D: Multiple readback"]  # type: ignore[attr-defined]
    until(page, "document.querySelectorAll('#maps .mosaic').length === 6")
    page.evaluate("""() => {
      window.mapsNow = () => [...document.querySelectorAll("#maps button")].map(one => [one.dataset.channel,
        ...one.querySelector("canvas").getContext("2d").getImageData(0, 0, 4, 4).data].join(" "));
      window.seen = [window.mapsNow()];
      const look = () => {
        const now = window.mapsNow();
        if (String(now) !== String(window.seen.at(-1))) window.seen.push(now);
        requestAnimationFrame(look);
      };
      look();
    }""")
    slow = hold(page, "**/api/maps?*image=data-5*")
    page.locator("#strip button").nth(5).click()
    wait_for(page, lambda: slow)
    answer = slow[0].fetch()
    page.locator("#strip button").nth(6).click()
    until(page, "window.seen.length === 2")
    with contextlib.suppress(playwright.Error):  # the page has cancelled it
        slow[0].fulfill(response=answer)
    until(page, "document.querySelector('#image-name').textContent === 'image 6'")
    page.wait_for_timeout(200)
    assert page.evaluate("window.seen") == [drawn_maps(3), drawn_maps(6)]


def drawn_maps(image: int) -> list[str]:
    """The maps of an image as the page lists them: the strongest first, each on its own scale in inferno's colours."""
    with torch.no_grad():
        maps = small_net().model[:4](small_images(30)[image : image + 1])[0].flatten(1)
    found = []
    for channel in maps.amax(1).argsort(descending=True).tolist():
        levels = (maps[channel].clamp(min=0) / maps[channel].max() * 255).round().int().tolist()
        colours = (colormaps["inferno"](levels) * 255).round().astype(int)
        found.append(" ".join(map(str, [channel, *colours.flatten().tolist()])))
    return found


def test_a_place_and_a_move_stay_from_frame_to_frame(seen: Watched) -> None:
    page = seen.page
    until(page, "document.querySelectorAll('#maps .mosaic').length === 6")
    filled(page)
    page.locator("#stage").click()
    shows(page, "#at", "Firing at row")
    page.locator("#camera").click()
    shows(page, "#rate", "frames per second")
    assert page.locator("#at").is_hidden(), "it was a place of another image"
    page.locator("#stage").click(position={"x": 5, "y": 5})
    page.locator("[data-move]").first.click()
    shows(page, "#at", "Firing at row 0, column 0")
    until(page, "document.querySelector('#shift').textContent !== '0, 0'")
    moved = page.locator("#shift").text_content()
    before = page.locator("#stage .image").get_attribute("src")
    until(page, f"document.querySelector('#stage .image').src !== {before!r}")
    page.wait_for_timeout(300)
    assert page.locator("#at").is_visible()
    assert page.locator("#shift").text_content() == moved
    page.locator("#camera").click()
    until_address(page, "image=own-")
    assert page.locator("#shift").text_content() == moved


@pytest.mark.parametrize(
    ("shift", "notice", "shown"),
    [("0,12", "cannot be moved by 0 and 12 pixels", "0, 12"), ("a,b", "shift is a whole number, not 'a'", "0, 0")],
)
def test_a_move_that_is_refused_can_be_taken_back(seen: Watched, shift: str, notice: str, shown: str) -> None:
    page, seen.expected[:] = seen.page, ["422"]  # type: ignore[attr-defined]
    shows(page, "#layer-name", "3")
    page.evaluate(f"location.hash = 'image=data-3&layer=3&shift={shift}'")
    shows(page, "#notice", notice)
    assert page.locator("#shift").text_content() == shown
    page.locator("#unmoved").click()
    until(page, "document.querySelector('#notice').hidden && !location.hash.includes('shift')")
    assert page.locator("#shift").text_content() == "0, 0"


@pytest.mark.parametrize(("tall", "wide"), [(2, 2000), (2000, 2)])
def test_an_image_that_is_very_long_can_be_seen_and_pressed(browser: Any, tall: int, wide: int) -> None:
    """As recordings are that are given as images: the picture is squeezed, and a place in it stays what it is."""
    model = nn.Sequential(nn.Conv2d(1, 1, (2, 1) if tall == 2 else (1, 2)), nn.ReLU())
    images = torch.randn(3, 1, tall, wide, generator=torch.Generator().manual_seed(0))
    with page_of(browser, dv.DeconvNet(model), images, "layer=0&channel=0") as page:
        projected(page)
        filled(page)
        for selector in ("#stage .image", "#maps .mosaic"):
            box = page.locator(selector).bounding_box()
            assert box["width"] / 8.1 < box["height"] < 3.1 * box["width"]
        box = page.locator("#stage").bounding_box()
        page.locator("#stage").click(position={"x": box["width"] * 0.6, "y": box["height"] * 0.6})
        shows(page, "#at", "Firing at row ")
        row, column = (int(word) for word in re.findall(r"\d+", page.locator("#at h3").text_content()))
        long, short = (column, row) if tall == 2 else (row, column)
        assert short == 1
        assert long == pytest.approx(1200, abs=20)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
