"""An atlas can be looked at while it is built: the layers that are done, and the names of the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deconvviz.atlas.site import Site
from tests.helpers.chromium import CHROMIUM
from tests.helpers.files import contents
from tests.helpers.hostile_atlas import EVIL, EVIL_LAYER, go
from tests.helpers.synthetic_atlas import channels, header, layer, picture, read_script

ABOUT = replace(header(size=(28, 28), k=2, images=20), layers=("a", EVIL_LAYER, "c"))
LAYERS = [layer("a", 40, (3, 3)), layer(EVIL_LAYER, 10, (5, 5)), layer("c", 3, None)]


def shown(number: int) -> Any:
    return picture(number, (28, 28))


def opens(file: Path) -> bool:
    with Image.open(file) as sheet:
        sheet.load()
        return sheet.width > 0


def begun(out: Path, done: int) -> Site:
    site = Site(out, ABOUT)
    site.add_images(range(20), shown)
    for one in LAYERS[:done]:
        site.add_layer(one, channels(one, ABOUT))
    return site


@pytest.mark.parametrize("done", range(4))
def test_all_that_the_page_of_an_unfinished_atlas_loads_is_there(done: int, tmp_path: Path) -> None:
    begun(tmp_path, done)
    index = read_script(tmp_path / "data/unfinished.js")
    assert [one["name"] for one in index["layers"]] == list(ABOUT.layers[:done])
    assert index["unfinished"] == list(ABOUT.layers[done:])
    assert not (tmp_path / "data/index.js").exists()
    assert read_script(tmp_path / "data/images.js") == list(range(20))
    assert opens(tmp_path / "images/0.webp")
    for number, one in enumerate(LAYERS[:done]):
        assert len(read_script(tmp_path / f"data/{number}.js")["firing"]) == one.channels
        for block in range(-(-one.channels // index["layers"][number]["block"])):
            assert read_script(tmp_path / f"data/{number}-{block}.js")
            assert opens(tmp_path / f"sheets/{number}-{block}.webp")


def test_a_finished_atlas_has_no_trace_of_it(tmp_path: Path) -> None:
    begun(tmp_path / "at", 3).finish(shown)
    found = contents(tmp_path / "at")
    assert "data/unfinished.js" not in found
    assert b"unfinished" not in found["data/index.js"]
    assert b"unfinished" not in found["manifest.json"]


playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
def test_layers_open_as_soon_as_they_are_done(browser: Any, tmp_path: Path) -> None:
    site = begun(tmp_path, 1)
    page, address = browser.new_page(), (tmp_path / "index.html").as_uri()
    try:
        go(page, address, ABOUT.title)
        playwright.expect(page.get_by_role("status")).to_contain_text(f"Still to be built: {EVIL_LAYER}, c.")
        assert page.locator(".card h2").all_text_contents() == ["a"]
        go(page, f"{address}#/a/17", "a channel 17")
        go(page, f"{address}#/a", "a")
        playwright.expect(page.locator(".cells li").first).to_be_visible()
        page.goto("about:blank")
        page.goto(f"{address}#/c")
        playwright.expect(page.get_by_role("alert")).to_have_text("Layer “c” is not built yet. Reload the page later.")
        for one in LAYERS[1:]:
            site.add_layer(one, channels(one, ABOUT))
        go(page, f"{address}#/c", "c")
        go(page, address, ABOUT.title)
        playwright.expect(page.get_by_role("status")).to_contain_text("Still to be built: the last files.")
        site.finish(shown)
        go(page, address, ABOUT.title)
        assert page.get_by_role("status").count() == 0
        assert page.locator(".card h2").count() == 3
        assert page.evaluate("window.hacked") is None
        assert EVIL in EVIL_LAYER
    finally:
        page.close()
