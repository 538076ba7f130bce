"""An atlas whose title, layers and classes contain markup, and navigation to its pages in Chromium."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.helpers.synthetic_atlas import header, layer

EVIL = '<script>window.hacked=1</script>"\'</script>\u2028😀<img src=x onerror="window.hacked=1">'
EVIL_LAYER = f"../a/b {EVIL}?#%"
ABOUT = replace(header(size=(56, 56), k=9, images=60), title=f"Atlas {EVIL}", broken=((EVIL, EVIL),))
LAYERS = [
    layer("features.0", 40, (5, 5)),
    layer("features.3", 300, (21, 21)),
    layer(EVIL_LAYER, 3, (40, 40)),
    layer("single", 1, None, "Linear"),
]


def go(page: Any, address: str, heading: str) -> None:
    """Open an address in a new page load, like a link from elsewhere."""
    page.goto("about:blank")
    page.goto(address)
    at(page, heading)


def at(page: Any, heading: str) -> None:
    from playwright.sync_api import expect

    expect(page.locator("h1")).to_have_text(heading)
