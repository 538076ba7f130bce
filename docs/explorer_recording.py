"""Record docs/images/explorer.webp, a walk through the explorer's page.

    python docs/explorer_recording.py MODEL DATA [--weights FILE]

The one in the documentation: `torchvision:squeezenet1_1` with torchvision's weights for ImageNet.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

import deconvviz as dv
from deconvviz.data.by_name import load_data
from deconvviz.models.by_name import load_model
from tests.helpers.chromium import ARGUMENTS, CHROMIUM, until

FOLDER = Path(__file__).parent / "images"
SIZE = {"width": 1280, "height": 760}
TRIES = 4000  # for a picture, a twentieth of a second each
SHOWN_MS = 1400  # of a picture
PROJECTED = """[...document.querySelectorAll('figure[data-style] img')].filter(one => one.naturalWidth).length === 3
  && document.getElementById('badges').textContent.includes('Can you trust it?')
  && document.getElementById('working').hidden"""
KNOWN = f"{PROJECTED} && document.querySelectorAll('#strongest img').length > 0"  # of layers that a scan reads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--weights")
    parser.add_argument("--layer", default="features.6.expand3x3")
    args = parser.parse_args()
    loaded = load_model(args.model, args.weights)
    net = dv.DeconvNet(loaded.model, preprocess=loaded.preprocess)
    with dv.explore(net, load_data(args.data), open_browser=False) as explorer, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS.split())
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        pictures = recorded(page, explorer.url, args.layer)
    pictures[0].save(
        FOLDER / "explorer.webp",
        save_all=True,
        append_images=pictures[1:],
        duration=SHOWN_MS,
        loop=0,
        quality=70,
        method=6,
    )


def recorded(page: Any, url: str, layer: str) -> list[Image.Image]:
    """The page after each step: choosing a layer, units, a pin, a place, another image, a crop of it."""
    page.goto(url)
    until(
        page,
        "document.querySelectorAll('#strip button').length && document.querySelectorAll('#maps button').length",
        TRIES,
    )
    pictures = [picture(page)]

    def step(action: Any, shown: str) -> None:
        """Do something and take a picture once the page has shown it, and an expression holds."""
        before = page.evaluate("document.body.dataset.shown")
        action()
        until(page, f"document.body.dataset.shown !== '{before}' && {shown}", TRIES)
        page.wait_for_timeout(400)
        pictures.append(picture(page))

    page.keyboard.press("Escape")
    step(
        lambda: page.locator(f"#layers li[data-layer='{layer}'] button").click(),
        f"document.getElementById('layer-name').textContent === '{layer}'",
    )
    step(page.locator("#maps button").first.click, KNOWN)
    step(lambda: page.locator("#maps button").nth(4).click(), KNOWN)
    step(lambda: page.keyboard.press("p"), "document.querySelector('.pin img').naturalWidth")
    box = page.locator("#stage").bounding_box()
    step(
        lambda: page.locator("#stage").click(position={"x": box["width"] * 0.5, "y": box["height"] * 0.45}),
        "!document.getElementById('at').hidden",
    )
    step(page.locator("#at .chip").last.click, PROJECTED)
    step(page.get_by_role("button", name="Close").first.click, "document.getElementById('at').hidden")
    step(lambda: page.keyboard.press("."), PROJECTED)
    for _ in range(2):
        page.get_by_role("button", name="Larger").click()
        page.wait_for_timeout(600)
    step(lambda: page.get_by_role("button", name="Larger").click(), PROJECTED)
    return pictures


def picture(page: Any) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


if __name__ == "__main__":
    main()
