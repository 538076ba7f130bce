"""The atlas's page: verdicts, controls beside them, one unit large, and what the search finds."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image

from tests.helpers.chromium import CHROMIUM, until
from tests.helpers.synthetic_atlas import evidence, firing, header, layer, units, write

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
ABOUT = replace(header(size=(56, 56), k=9, images=60), evidence=True, random=True)
CLASSES = ("zebra", "horse", "ant", "bee", "cat", "dog", "emu", "fox")
LAYERS = [
    replace(layer("features.3", 60, (21, 21)), said="30 of 44 channels' projections are not specific to them."),
    replace(layer("classifier.1", 8, None), names=CLASSES),
]
LOADED = "[...document.querySelectorAll('main img')].every(img => img.complete && img.naturalWidth)"


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *said: object) -> None:
        pass


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return write(tmp_path_factory.mktemp("atlas") / "out", LAYERS, ABOUT, ["tench", "otter"]).as_uri()


def opened(page, address, heading=None):
    page.goto("about:blank")
    page.goto(address)
    until(
        page,
        f"document.querySelector('h1')?.textContent === {heading!r}" if heading else "document.querySelector('h1')",
    )


def shown(tile):
    with Image.open(io.BytesIO(tile.screenshot())) as taken:
        return np.asarray(taken.convert("RGB").resize((21, 21), Image.Resampling.BOX), float)


def test_a_channel_has_one_verdict(page, atlas):
    for channel, said, patches_first in (
        (0, "✓ specific Its projections are unlike those of other channels at the same places.", False),
        (8, "◐ partly specific Its projections are in part like those of other channels", True),
        (4, "✕ not specific Its projections are like those of other channels at the same places", True),
        (15, "\u2013 not judged Its pictures, or those of other channels", True),
        (5, "\u2013 not judged The channel is dead on these images, so there is no picture to judge.", None),
    ):
        opened(page, f"{atlas}#/features.3/{channel}", f"features.3 channel {channel}")
        verdict = page.locator(".verdict").inner_text()
        assert verdict.startswith(said)
        assert page.locator(".verdict").count() == 1
        if patches_first is not None:
            assert (page.locator(".pair.patches-first").count() == 1) == patches_first
    opened(page, f"{atlas}#/features.3/1", "features.3 channel 1")
    assert "told 12.5 times of 20 which of two other images fires the channel (from another channel\u2019s 10, " in (
        page.locator(".verdict").inner_text()
    )
    page.locator(".verdict summary").click()
    assert "0.2 with that of the strongest other channel at the same place" in page.locator(".verdict").inner_text()


def test_projections_stand_beside_their_controls(page, atlas):
    opened(page, f"{atlas}#/features.3/4", "features.3 channel 4")
    until(page, LOADED)
    unit = units(4, 9, (21, 21), (56, 56), 60, ["tench", "otter"])[5]
    figures = page.locator(".three .pictures")
    assert figures.locator("figcaption").all_text_contents() == [
        "Projections",
        "Other channels at the same places",
        "With random weights",
    ]
    for number, expected in enumerate((unit.projection, unit.neighbour, unit.random)):
        tile = figures.nth(number).locator(".tile").nth(5)
        assert np.abs(shown(tile) - expected)[1:-1, 1:-1].mean() < 6
    assert page.locator(".legend").inner_text() == "Grey is zero. Each projection has its own scale."


def test_a_unit_large(page, atlas):
    opened(page, f"{atlas}#/features.3/4", "features.3 channel 4")
    page.locator(".pair .enlarge").nth(8).click()
    dialog = page.locator("dialog.lightbox")
    assert dialog.locator("h2").inner_text() == "features.3 channel 4: unit 9 of 9"
    assert "Channel 5 there" in dialog.locator("figcaption").all_text_contents()
    page.keyboard.press("ArrowRight")
    assert dialog.locator("h2").inner_text() == "features.3 channel 4: unit 1 of 9"
    opacity = "document.querySelector('.over').style.opacity"
    assert page.evaluate(opacity) == "0.5"
    dialog.locator("input").fill("80")
    assert page.evaluate(opacity) == "0.8"
    copied = "navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }"
    page.evaluate(f"() => {{ {copied} }}")
    dialog.get_by_text("copy Python").click()
    until(page, "window.copied")
    unit = units(4, 9, (21, 21), (56, 56), 60, ["tench"])[0]
    lines = page.evaluate("window.copied").splitlines()
    assert lines[1] == f"image = data[{unit.image}][0]"
    position = ", ".join(map(str, unit.position))
    assert lines[2] == f'projection = net.project(image, "features.3", channel=4, position=({position}))'
    dialog.get_by_text("copy link").click()
    until(page, "window.copied === location.href")
    dialog.get_by_text("save PNG").click()
    until(
        page, "document.querySelector('dialog [role=status]').textContent.includes('Open the atlas from a web server')"
    )
    page.keyboard.press("Escape")
    until(page, "!document.querySelector('dialog.lightbox')")
    assert page.url.endswith("#/features.3/4"), "the picture goes first, and not the page"


def test_a_picture_is_saved_where_a_web_server_gives_the_atlas(browser, atlas, tmp_path):
    folder = Path(atlas.removeprefix("file://")).parent
    serving = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), serving) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        opened(page, f"http://127.0.0.1:{server.server_port}/#/features.3/4", "features.3 channel 4")
        page.locator(".pair .enlarge").nth(5).click()
        with page.expect_download() as coming:
            page.locator("dialog.lightbox").get_by_text("save PNG").click()
        coming.value.save_as(tmp_path / "unit.png")
        page.close()
        server.shutdown()
    assert coming.value.suggested_filename == "features.3-4-6.png"
    with Image.open(tmp_path / "unit.png") as saved:
        pixels = np.asarray(saved.convert("RGB").resize((42, 21), Image.Resampling.BOX), float)
    unit = units(4, 9, (21, 21), (56, 56), 60, ["tench", "otter"])[5]
    for part, expected in enumerate((unit.patch, unit.projection)):
        assert np.abs(pixels[:, 21 * part : 21 * (part + 1)] - expected)[1:-1, 1:-1].mean() < 6


def test_the_grid_by_verdict(page, atlas):
    numbers = "[...document.querySelectorAll('.cells li b')].map(one => +one.textContent)"
    background = "document.querySelector('.cells .mosaic').style.backgroundImage"
    judged = [channel for channel in range(60) if firing(channel) and evidence(channel).verdict != "none"]
    opened(page, f"{atlas}#/features.3?sort=alike", "features.3")
    until(page, "document.querySelectorAll('.cells li').length > 30")
    expected = sorted(judged, key=lambda one: (-evidence(one).share, one))
    assert page.evaluate(numbers)[:30] == expected[:30]
    assert page.locator(".said").inner_text() == LAYERS[0].said
    page.locator("#verdict").select_option("partly")
    partly = [channel for channel in judged if evidence(channel).verdict == "partly"]
    until(page, f"document.querySelectorAll('.cells li').length === {len(partly)}")
    assert page.url.endswith("?sort=alike&verdict=partly")
    until(page, f"{background}.includes('-p0.webp')")
    page.keyboard.press("p")
    until(page, f"{background}.includes('-t0.webp')")
    page.locator(".cells li").first.hover()
    until(page, f"{background}.includes('-p0.webp')")
    opened(page, f"{atlas}#/classifier.1?verdict=none&hide=dead,always", "classifier.1")
    page.locator("#verdict").select_option("none")
    assert page.locator(".cells").count() == 1


def test_a_grid_without_channels_says_so(page, atlas):
    opened(page, f"{atlas}#/classifier.1", "classifier.1")
    page.locator("#verdict").select_option("not")
    until(page, "document.querySelectorAll('.cells li').length === 1")
    page.locator("#verdict").select_option("none")
    until(page, "document.querySelectorAll('.cells li').length === 2")
    page.locator("#hide-dead").check()
    assert page.locator(".grid .notice", has_text="No channel of this layer is left").count() == 1


@pytest.mark.parametrize(
    ("text", "hit", "address"),
    [
        ("zebra", "classifier.1 channel 0, zebra", "#/classifier.1/0"),
        ("not specific", "channels not specific", "#/features.3?verdict=not"),
        ("otter", "of otter", None),
        ("image_00004.jpg", "of image_00004.jpg", None),
    ],
)
def test_search_by_class_label_file_and_verdict(page, atlas, text, hit, address):
    opened(page, f"{atlas}#/")
    page.keyboard.press("/")
    page.keyboard.type(text)
    until(page, f"document.querySelector('#found')?.innerText.includes({hit.split(' ')[-1]!r})")
    first = " ".join(page.locator("#found li").first.inner_text().split())
    assert hit in first
    page.keyboard.press("Enter")
    if address:
        until(page, f"location.hash === {address!r}")
    else:
        until(page, "document.querySelector('.verdict')")
        assert text in page.locator("main").inner_text()


def test_class_names_and_random_weights(page, atlas):
    opened(page, f"{atlas}#/classifier.1/0", "classifier.1 channel 0 zebra")
    opened(page, f"{atlas}#/classifier.1")
    until(page, "document.querySelector('.cells b')?.textContent === '0 zebra'")
    opened(page, f"{atlas}#/")
    assert page.locator(".warning").inner_text().startswith("Random weights. This network was not trained")


def test_an_atlas_without_evidence_has_no_verdicts(page, tmp_path):
    address = write(tmp_path, LAYERS, replace(ABOUT, evidence=False, random=False)).as_uri()
    index = tmp_path / "data" / "index.js"
    index.write_text(index.read_text().replace(',"evidence":false', ""))  # as older atlases are
    opened(page, f"{address}#/features.3/4", "features.3 channel 4")
    assert page.locator(".verdict").count() == 0
    assert page.locator("figcaption").all_text_contents() == ["Image patches", "Projections"]
    opened(page, f"{address}#/features.3?sort=alike", "features.3")
    assert page.locator("#sort option").all_text_contents() == ["channel number", "firing rate", "maximum"]
    assert page.locator("#verdict").count() == 0
    opened(page, f"{address}#/")
    assert page.locator(".warning").count() == 0


PLACES = {"overview": "#/", "layer": "#/features.3", "channel": "#/features.3/4", "class": "#/classifier.1/0"}


def test_no_page_is_wider_than_a_phone(page, atlas):
    page.set_viewport_size({"width": 390, "height": 844})
    for place in PLACES.values():
        opened(page, f"{atlas}{place}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, place
    page.locator(".enlarge").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("(d => d.scrollWidth <= d.clientWidth)(document.querySelector('dialog[open]'))")


def test_nothing_is_inaccessible(page, atlas):
    """axe-core finds no violation of WCAG A and AA, in the light and in the dark."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for name, place in {**PLACES, "lightbox": PLACES["channel"]}.items():
            opened(page, f"{atlas}{place}")
            if name == "lightbox":
                page.locator(".enlarge").first.click()
            violations = axe.run(page, options={"preload": False}).response["violations"]
            found = [(one["id"], one["nodes"][0]["html"], one["nodes"][0]["failureSummary"]) for one in violations]
            assert found == [], (scheme, name)
