"""The main path of the explorer and of the atlas in Firefox. Skipped without a Firefox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import deconvviz as dv
from tests.helpers.explorer_client import TOKEN, small_images, small_net
from tests.helpers.firefox import FIREFOX, Firefox, firefox
from tests.helpers.synthetic_atlas import header, layer, write

pytestmark = pytest.mark.skipif(FIREFOX is None, reason="needs a Firefox in the path")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    with firefox(tmp_path_factory.mktemp("firefox") / "profile") as session:
        yield session


def test_the_atlas_from_the_disk(browser: Firefox, tmp_path: Path) -> None:
    page = write(
        tmp_path / "at", [layer("a", 40, (11, 11)), layer("b", 12, (3, 3))], header(size=(28, 28), k=4, images=20)
    )
    browser.go(page.as_uri())
    browser.until("document.querySelectorAll('.card').length === 2")
    browser.click(".card:nth-child(2) a")
    browser.until("document.querySelector('h1').textContent === 'b'")
    browser.until("document.querySelectorAll('.cells li').length === 12")
    browser.until(
        "[...document.querySelectorAll('.cells .mosaic')].some(one => one.style.backgroundImage.includes('1-t0.webp'))"
    )
    browser.press("/")
    for key in "a 17":
        browser.press(key)
    browser.until("document.querySelectorAll('#found [role=option]').length === 1")
    browser.press("\ue007")
    browser.until("document.querySelector('h1').textContent === 'a channel 17'")
    browser.until("[...document.querySelectorAll('.square img')].filter(one => one.naturalWidth > 0).length === 8")
    assert browser.run("getComputedStyle(document.querySelector('.tile img')).position") == "absolute"
    browser.press("\ue00c")
    browser.until("document.querySelector('h1').textContent === 'a'")


def test_the_explorer(browser: Firefox) -> None:
    pytest.importorskip("uvicorn", reason="needs deconvviz[explore]")
    net, images = small_net(), small_images(8)
    with dv.explore(net, images, token=TOKEN, open_browser=False) as explorer:
        browser.go(f"{explorer.url}#image=data-3&layer=3")
        browser.until("document.querySelectorAll('#maps button').length === 6")
        browser.click("#maps button[data-channel='2']")
        browser.until("document.querySelector('#unit-title').textContent === '3 channel 2'")
        browser.until(
            "[...document.querySelectorAll('figure[data-style] img')].filter(one => one.naturalWidth).length === 3"
        )
        expected = net.project(images[3:4], "3", channel=2).units[0]
        said = browser.run("document.querySelector('#facts').textContent")
        assert f"{expected.activation:.3g}".replace("-", "\u2212") in said
        assert f"row {expected.position[0]}, column {expected.position[1]}" in said
        browser.press(".")
        browser.until("location.hash.includes('image=data-4')")
        browser.press("/")
        for key in "0 3":
            browser.press(key)
        browser.until("document.querySelectorAll('#found [role=option]').length > 0")
        browser.press("\ue007")
        browser.until("document.querySelector('#unit-title').textContent === '0 channel 3'")
        browser.click("#stage")
        browser.until("document.querySelector('#at').textContent.includes('Firing at row')")
        assert browser.run("document.querySelector('#notice').hidden")
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
