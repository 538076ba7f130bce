"""The atlas in Chromium where something is odd: hostile text, addresses that lead nowhere, a phone, a broken atlas."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from deconvviz.atlas.site import Site
from tests.helpers.chromium import CHROMIUM
from tests.helpers.hostile_atlas import ABOUT, EVIL_LAYER, at, go
from tests.helpers.synthetic_atlas import header, layer, write

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")


def test_hostile_text_is_text(page: Any, atlas: str) -> None:
    go(page, atlas, ABOUT.title)
    assert page.title().startswith("Atlas <script>window.hacked=1")
    page.locator(".broken summary").click()
    playwright.expect(page.locator(".broken li")).to_contain_text('<img src=x onerror="window.hacked=1">')
    address = f"{atlas}#/{quote(EVIL_LAYER, safe='')}"
    go(page, address, EVIL_LAYER)
    go(page, f"{address}/2", f"{EVIL_LAYER} channel 2")
    page.keyboard.press("ArrowLeft")
    at(page, f"{EVIL_LAYER} channel 1")
    page.keyboard.press("Escape")
    at(page, EVIL_LAYER)
    page.keyboard.press("/")
    page.keyboard.type("../a/b")
    playwright.expect(page.locator("#found b")).to_have_text(EVIL_LAYER)
    page.keyboard.press("Enter")
    at(page, EVIL_LAYER)
    assert page.locator("main script, main img[onerror]").count() == 0


def test_addresses_that_lead_nowhere(page: Any, atlas: str) -> None:
    page.goto(f"{atlas}#/nothing")
    playwright.expect(page.get_by_role("alert")).to_have_text("There is no layer “nothing” in this atlas.")
    page.goto(f"{atlas}#/features.3/300")
    playwright.expect(page.get_by_role("alert")).to_contain_text("its channels are 0 to 299")
    page.goto(f"{atlas}#/%E0%A4%A")
    playwright.expect(page.get_by_role("alert")).to_contain_text("There is no layer")
    page.get_by_role("link", name="All layers").click()
    at(page, ABOUT.title)


@pytest.mark.parametrize("route", ["", "#/features.3", "#/features.3/4", f"#/{quote(EVIL_LAYER, safe='')}/1"])
def test_a_phone_does_not_scroll_sideways(page: Any, atlas: str, route: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(atlas + route)
    playwright.expect(page.locator("h1")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for one in page.locator("header.bar > *, main h1, .pictures, .cells li").all():
        box = one.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


def test_the_policy_lets_nothing_else_in(browser: Any, atlas: str) -> None:
    """The page's policy is in force on file:// too: code in the page's own markup does not run."""
    page = browser.new_page()
    go(page, atlas, ABOUT.title)
    refused = page.evaluate(
        """() => new Promise((resolve) => {
          document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
          const script = document.createElement("script");
          script.textContent = "window.hacked = 1";
          setTimeout(() => resolve("nothing"), 2000);
          document.head.append(script);
        })"""
    )
    assert refused == "script-src-elem"
    assert page.evaluate("window.hacked") is None
    page.close()


def test_an_incomplete_atlas_says_so(browser: Any, tmp_path: Path) -> None:
    page_file = write(tmp_path, [layer("a", 2, (5, 5))], header(size=(28, 28), k=1, images=5))
    (tmp_path / "data/index.js").unlink()
    page = browser.new_page()
    page.goto(page_file.as_uri())
    playwright.expect(page.get_by_role("alert")).to_contain_text("This atlas is incomplete")
    write(tmp_path, [layer("a", 2, (5, 5))], header(size=(28, 28), k=1, images=5))
    (tmp_path / "data/0-0.js").write_text("atlas.rec")
    page.goto("about:blank")
    page.goto(f"{page_file.as_uri()}#/a/1")
    playwright.expect(page.get_by_role("alert")).to_contain_text("(data/0-0.js). Build it again")
    page.close()


def test_an_older_atlas_is_shown_while_a_new_one_is_built(browser: Any, tmp_path: Path) -> None:
    about = header(size=(28, 28), k=1, images=5)
    page_file = write(tmp_path, [layer("older layer", 2, (5, 5))], about)
    Site(tmp_path, about)  # begun, and never finished
    page = browser.new_page()
    page.goto(page_file.as_uri())
    playwright.expect(page.locator("main")).to_contain_text("older layer")
    page.goto(f"{page_file.as_uri()}#/older layer/1")
    at(page, "older layer channel 1")
    playwright.expect(page.locator("main img[src$='older/sheets/0-0.webp']").first).to_be_visible()
    write(tmp_path, [layer("newer layer", 2, (5, 5))], about)
    page.goto("about:blank")
    page.goto(page_file.as_uri())
    playwright.expect(page.locator("main")).to_contain_text("newer layer")
    page.close()
