"""The page of the demonstration in Chromium: nothing goes over its edge, and figures are dark in the dark."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deconvviz.io.pages import web_page
from tests.helpers.chromium import CHROMIUM

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
HEADINGS = ["The nine strongest images of every channel, second convolution", "A" * 60]  # a long one, and one long word


def png(colour: str) -> str:
    picture = io.BytesIO()
    Image.new("RGB", (2000, 300), colour).save(picture, format="png")
    return base64.b64encode(picture.getvalue()).decode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    sections = [
        {"name": f"s{n}", "heading": heading, "words": heading, "png": png("#fefefe"), "dark": png("#1c1e24")}
        for n, heading in enumerate(HEADINGS)
    ]
    words = dict.fromkeys(("introduction", "channels", "footer", "generator"), "words")
    written = tmp_path / "index.html"
    written.write_text(web_page("demo.html", title="Demo", atlas="atlas/index.html", sections=sections, **words))
    return written


@pytest.mark.parametrize("width", [390, 554, 1280])
def test_no_width_scrolls_sideways(page: Any, path: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_figures_follow_the_colours_of_the_system(page: Any, path: Path) -> None:
    page.goto(path.as_uri())
    shown = "document.querySelector('figure img').currentSrc"
    light = page.evaluate(shown)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"{shown} !== '{light}'")
    assert page.evaluate(shown) == f"data:image/png;base64,{png('#1c1e24')}"
    assert page.evaluate("getComputedStyle(document.querySelector('figure img')).backgroundColor") == "rgb(28, 30, 36)"
