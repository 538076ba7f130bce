"""Record docs/images/explorer.webp and the screenshots of the explorer's page.

    python docs/explorer_recording.py MODEL DATA [--weights FILE]

The pictures in the documentation: `torchvision:squeezenet1_1` with torchvision's weights for ImageNet.
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
from tests.helpers.chromium import ARGUMENTS, CHROMIUM

FOLDER = Path(__file__).parent / "images"
SIZE = {"width": 1280, "height": 760}
SHOWN_MS = 1400  # of a picture


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
        for name, options in {
            "explorer-phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}
        }.items():
            phone = browser.new_page(**options)
            phone.goto(f"{explorer.url}{page.url[page.url.index('#') :]}")
            phone.wait_for_timeout(8000)
            phone.locator("#unit-title").scroll_into_view_if_needed()
            phone.evaluate("document.getElementById('unit-title').scrollIntoView()")
            phone.screenshot(path=FOLDER / f"{name}.png")
    pictures[-1].save(FOLDER / "explorer.png", optimize=True)
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
    """The page after each step: choosing a layer, units, a place, another image, moving it."""
    page.goto(url)
    page.wait_for_timeout(5000)
    pictures = [picture(page)]

    def step(action: Any, wait: int = 2500) -> None:
        action()
        page.wait_for_timeout(wait)
        pictures.append(picture(page))

    step(lambda: page.locator(f"#layers li[data-layer='{layer}'] button").click())
    step(page.locator("#maps button").first.click, 9000)
    step(lambda: page.locator("#maps button").nth(4).click(), 6000)
    step(lambda: page.keyboard.press("p"))
    box = page.locator("#stage").bounding_box()
    step(lambda: page.locator("#stage").click(position={"x": box["width"] * 0.5, "y": box["height"] * 0.45}))
    step(page.locator("#at .chip").last.click, 7000)
    step(page.get_by_role("button", name="Close").first.click, 500)
    step(lambda: page.keyboard.press("."), 7000)
    return pictures


def picture(page: Any) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


if __name__ == "__main__":
    main()
