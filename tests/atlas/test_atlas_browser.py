"""Walking through the atlas in Chromium: pages, search, order, keys. Skipped without Playwright or a Chromium."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.helpers.chromium import CHROMIUM, Watched, until
from tests.helpers.explorer_page import wait_for
from tests.helpers.hostile_atlas import ABOUT, EVIL, LAYERS, at, go
from tests.helpers.synthetic_atlas import channels, firing, units

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")


def numbers(page: Any) -> list[int]:
    """The channels in the grid's view, by their place in it."""
    cells = page.evaluate(
        "[...document.querySelectorAll('.cells li')].map(li => [+li.ariaPosInSet, +li.querySelector('b').textContent])"
    )
    return [channel for _, channel in sorted(cells)]


def focused(page: Any) -> str:
    return str(page.evaluate("document.activeElement.textContent.trim()"))


def maximum(channel: int) -> float:
    return 0.0 if firing(channel) == 0 else 9.5 - channel % 7


# Walking


def test_down_from_the_overview_to_a_channel_and_along_its_inputs_and_back(page: Any, atlas: str) -> None:
    go(page, atlas, ABOUT.title)
    assert page.locator(".card h2").all_text_contents() == [one.name for one in LAYERS]
    playwright.expect(page.locator(".lead")).to_contain_text("What 318 of 344 channels of ExampleNet respond to")
    said = [re.split(r"\d+ (?:dead|always)", one)[0].strip() for one in page.locator(".channels").all_text_contents()]
    assert said == ["40 channels, 37 with pictures", "300 channels, 277 with pictures", "3 channels", "1 channel"]
    page.get_by_role("link", name="features.3", exact=True).click()
    at(page, "features.3")
    playwright.expect(page.locator(".lead")).to_have_text("300 channels, 277 with pictures")
    playwright.expect(page.locator(".cells li").first).to_be_visible()
    assert numbers(page)[:12] == list(range(12))
    page.locator(".cells a", has=page.locator("b", has_text="17")).first.click()
    at(page, "features.3 channel 17")
    assert page.url.endswith("#/features.3/17")
    below = next(one for one in channels(LAYERS[1], ABOUT, inputs=LAYERS[:1]) if one.channel == 17).inputs[0]
    assert below[:2] == ("features.0", 17 * 7 % 40)
    page.locator(".inputs a").first.click()
    at(page, f"features.0 channel {below[1]}")
    assert page.locator(".inputs").count() == 0, "nothing feeds the first layer"
    page.go_back()
    at(page, "features.3 channel 17")
    page.go_back()
    at(page, "features.3")
    page.go_back()
    at(page, ABOUT.title)


def test_what_a_channel_says_of_itself(page: Any, atlas: str) -> None:
    go(page, f"{atlas}#/features.3/4", "features.3 channel 4")
    expected = units(4, 9, (21, 21), (56, 56), 60, [EVIL, "tench"])
    assert page.locator(".value").all_text_contents() == [f"{unit.value:.3g}" for unit in expected]
    assert page.locator(".unit-text .name").all_text_contents() == [unit.name for unit in expected]
    assert page.locator(".unit-text .label").all_text_contents() == [unit.label for unit in expected]
    terms, said = (page.locator(f".numbers {part}").all_text_contents() for part in ("dt", "dd"))
    assert terms == ["firing rate", "mean", "maximum"]
    assert said == [f"{100 * firing(4):.0f} %", f"{firing(4) / 3 - 0.1:.3g}", "5.5"]
    assert page.locator(".histogram rect").count() == 23, "of 24 bins one is empty"
    assert page.locator(".histogram svg").get_attribute("aria-label").startswith("Histogram of")

    box = page.locator(".units li").nth(3).locator(".box").evaluate("one => [one.style.top, one.style.left]")
    top, left, *_ = expected[3].box
    assert [float(side.rstrip("%")) for side in box] == pytest.approx([100 * top / 56, 100 * left / 56], abs=0.01)


def test_every_picture_has_its_words_and_is_loaded(page: Any, atlas: str) -> None:
    go(page, f"{atlas}#/features.3/4", "features.3 channel 4")
    page.mouse.wheel(0, 2000)
    pictures = page.locator("main img")
    assert pictures.count() == 27
    playwright.expect(page.locator(".units img").last).to_be_visible()
    until(page, "[...document.querySelectorAll('main img')].every(img => img.complete && img.naturalWidth)")
    alts = [one.get_attribute("alt") for one in pictures.all()]
    assert all(alts)
    assert alts[9].startswith("Projection 1: ")
    assert alts[9].endswith("activation 5.5")
    sizes = pictures.first.evaluate("one => [one.naturalHeight, one.naturalWidth]")
    assert sizes == [2 * 7 * 107, 9 * 107 + 2], "7 channels a block, of tiles of 105 pixels, and gutters"


def test_pixels_on_the_screen_are_those_of_the_unit(page: Any, atlas: str) -> None:
    """The tile of the fifth unit in Chromium's own rendering, against the patch that was given."""
    import io

    import numpy as np
    from PIL import Image

    go(page, f"{atlas}#/features.3/4", "features.3 channel 4")
    until(page, "[...document.querySelectorAll('.pair img')].every(img => img.complete && img.naturalWidth)")
    unit = units(4, 9, (21, 21), (56, 56), 60, [EVIL, "tench"])[5]
    for part, given in enumerate([unit.patch, unit.projection]):
        shot = page.locator(".pictures").nth(part).locator(".tile").nth(5).screenshot()
        with Image.open(io.BytesIO(shot)) as opened:
            seen = np.asarray(opened.convert("RGB").resize((21, 21), Image.Resampling.BOX), float)
        assert given.shape == (21, 21, 3)
        assert np.abs(seen - given)[1:-1, 1:-1].mean() < 6


def test_dead_and_single_channels(page: Any, atlas: str) -> None:
    go(page, f"{atlas}#/features.3/5", "features.3 channel 5")
    playwright.expect(page.locator(".notice")).to_contain_text("dead: it is above zero at no position")
    playwright.expect(page.locator(".badge.dead")).to_be_visible()
    go(page, f"{atlas}#/features.3/3", "features.3 channel 3")
    playwright.expect(page.locator(".badge.always")).to_have_text("always on")
    go(page, f"{atlas}#/single", "single")
    assert numbers(page) == [0]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    at(page, "single channel 0")


# Search, order and filters


def test_search(page: Any, atlas: str) -> None:
    go(page, atlas, ABOUT.title)
    page.keyboard.press("/")
    page.keyboard.type("features.3 17")
    options = page.locator("#found [role=option]")
    assert options.all_text_contents() == ["features.3 channel 17"]
    page.keyboard.press("Enter")
    at(page, "features.3 channel 17")
    page.keyboard.press("/")
    page.keyboard.type("feat")
    assert options.all_text_contents() == ["features.0 40 channels", "features.3 300 channels"]
    page.keyboard.press("ArrowDown")
    assert page.locator("#search").get_attribute("aria-activedescendant") == "found-1"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    at(page, "features.0")
    page.keyboard.press("/")
    page.keyboard.type("39")  # a channel of the layer that is shown
    page.keyboard.press("Enter")
    at(page, "features.0 channel 39")
    page.locator("#search").fill("features.3 300")
    playwright.expect(page.locator("#found")).to_have_text("nothing is called that")
    page.keyboard.press("Escape")
    playwright.expect(page.locator("#found")).to_be_hidden()
    at(page, "features.0 channel 39")
    page.locator("#search").fill("features.3/299")
    page.locator("#found li").first.click()
    at(page, "features.3 channel 299")


def test_order_and_filters(page: Any, atlas: str) -> None:
    go(page, f"{atlas}#/features.3", "features.3")
    page.locator("#sort").select_option("firing")
    by_firing = sorted(range(300), key=lambda channel: (-firing(channel), channel))
    assert numbers(page)[:30] == by_firing[:30]
    assert page.url.endswith("#/features.3?sort=firing")
    page.locator("#sort").select_option("strength")
    by_strength = sorted(range(300), key=lambda channel: (-maximum(channel), channel))
    assert numbers(page)[:30] == by_strength[:30]
    until(
        page,  # from many sheets, so not all in the first frame
        "[...document.querySelectorAll('.cells .mosaic:not(.empty)')].every(one => one.style.backgroundImage)",
    )
    page.locator("#hide-dead").check()
    page.locator("#hide-always").check()
    some = [channel for channel in by_strength if 0 < firing(channel) < 1]
    assert numbers(page)[:30] == some[:30]
    playwright.expect(page.locator(".status")).to_have_text(f"{len(some)} of 300 channels")
    assert page.url.endswith("#/features.3?sort=strength&hide=dead,always")

    go(page, f"{atlas}#/features.3?sort=firing&hide=dead", "features.3")
    assert page.locator("#sort").input_value() == "firing"
    assert page.locator("#hide-dead").is_checked()
    assert not page.locator("#hide-always").is_checked()
    alive = [channel for channel in by_firing if firing(channel) > 0]
    assert numbers(page)[:30] == alive[:30]
    page.locator(".cells a").first.click()
    at(page, f"features.3 channel {alive[0]}")
    page.keyboard.press("ArrowRight")
    at(page, f"features.3 channel {alive[1]}")


def test_the_grid_shows_projections_or_patches(page: Any, atlas: str) -> None:
    go(page, f"{atlas}#/features.3", "features.3")
    image = "getComputedStyle(document.querySelector('.cells .mosaic')).backgroundImage"
    assert "sheets/1-t0.webp" in page.evaluate(image)
    page.locator("#show").click()
    assert "sheets/1-p0.webp" in page.evaluate(image)
    assert page.locator("#show").get_attribute("aria-pressed") == "true"
    assert page.url.endswith("?show=patches")


def test_only_what_is_in_view_is_loaded(watched: Watched, atlas: str) -> None:
    def loaded() -> set[str]:
        return {url.rpartition("/")[2] for url in watched.requests if url.endswith(".webp")}

    page = watched.page
    go(page, f"{atlas}#/features.3", "features.3")
    wait_for(page, lambda: "1-t0.webp" in loaded())
    page.wait_for_timeout(300)  # for what should not come
    assert 40 < page.locator(".cells li").count() < 150
    assert not loaded() & {"1-t8.webp", "1-p0.webp", "0-t0.webp", "1-0.webp"}
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    playwright.expect(page.locator(".cells a", has_text="299")).to_be_visible()
    wait_for(page, lambda: "1-t8.webp" in loaded())
    until(page, "document.querySelectorAll('.cells li').length < 150")


# Keys


def test_keys(page: Any, atlas: str) -> None:
    go(page, atlas, ABOUT.title)
    page.keyboard.press("ArrowDown")
    assert focused(page) == "features.0"
    page.keyboard.press("ArrowDown")
    assert focused(page) == "features.3"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    at(page, "features.3")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert focused(page).startswith("1")
    page.keyboard.press("ArrowDown")
    first, second = (page.locator(".cells li").nth(at).bounding_box()["x"] for at in (0, 1))
    width = page.locator(".cells").bounding_box()["width"]
    columns = round((width + 8) / (second - first))
    playwright.expect(page.locator(".cells a:focus b")).to_have_text(str(1 + columns))
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", "the focus is visible"
    page.keyboard.press("Enter")
    at(page, f"features.3 channel {1 + columns}")
    page.keyboard.press("ArrowRight")
    at(page, f"features.3 channel {2 + columns}")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    at(page, f"features.3 channel {columns}")
    page.keyboard.press("Escape")
    at(page, "features.3")
    playwright.expect(page.locator(".cells a:focus b")).to_have_text(str(columns))
    page.keyboard.press("Shift+ArrowLeft")
    at(page, "features.0")
    page.keyboard.press("Escape")
    at(page, ABOUT.title)
    assert focused(page) == "features.0"
    page.keyboard.press("?")
    playwright.expect(page.locator("#help")).to_be_visible()
    playwright.expect(page.locator("#help")).to_contain_text("up: from a channel to its layer")
    page.keyboard.press("Escape")
    playwright.expect(page.locator("#help")).to_be_hidden()
    at(page, ABOUT.title)


def test_the_grid_is_where_it_was_left(page: Any, atlas: str) -> None:
    go(page, f"{atlas}#/features.3", "features.3")
    page.evaluate("scrollTo(0, 1500)")
    playwright.expect(page.locator("[aria-label^='Channel 90,']")).to_be_visible()
    before = page.evaluate("scrollY")
    assert before == 1500
    for back in (page.go_back, lambda: page.keyboard.press("Escape"), lambda: page.locator("h1 a").click()):
        page.locator("[aria-label^='Channel 90,']").click()
        at(page, "features.3 channel 90")
        assert page.evaluate("scrollY") == 0
        back()
        at(page, "features.3")
        assert page.evaluate("scrollY") == before
    page.keyboard.press("Escape")
    page.get_by_role("link", name="features.3", exact=True).click()
    at(page, "features.3")
    assert page.evaluate("scrollY") == 0, "opened anew, it begins at its top"


def test_light_and_dark(page: Any, atlas: str) -> None:
    go(page, atlas, ABOUT.title)
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.locator("#theme").click()
    dark = page.evaluate(paper)
    assert dark != light
    assert page.locator("#theme").get_attribute("aria-pressed") == "true"
    go(page, atlas, ABOUT.title)
    assert page.evaluate(paper) == dark, "the choice is kept"
    page.locator("#theme").click()
    assert page.evaluate(paper) == light
    page.evaluate("localStorage.clear()")
    page.emulate_media(color_scheme="dark")
    go(page, atlas, ABOUT.title)
    assert page.evaluate(paper) == dark, "without a choice it is the system's"
