"""Put the figures and pages of two versions side by side: docs/images/before-after-NAME.webp.

    python docs/before_after.py BEFORE AFTER --atlases BEFORE_ATLAS AFTER_ATLAS

BEFORE and AFTER are folders that docs/looked_at.py has written, each with its version. The atlases come from `deconvviz
atlas mnist mnist --layers conv1 conv2` in each version; their pages are photographed in Chromium.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import sync_playwright

from tests.helpers.chromium import ARGUMENTS, CHROMIUM

FOLDER = Path(__file__).parent / "images"
FIGURES = ["projection-whole", "overlay", "occlusion", "comparison", "invariance", "evolution"]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PAGES = {
    "atlas-overview": ("", DESKTOP),
    "atlas-layer": ("#/conv2", DESKTOP),
    "atlas-channel": ("#/conv2/7", DESKTOP),
    "atlas-phone": ("#/conv2/7", PHONE),
}
LABEL, GAP = 30, 12  # pixels
WIDEST = 1500  # pixels of a picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--atlases", type=Path, nargs=2, required=True)
    given = parser.parse_args()
    for name in FIGURES:
        two = [Image.open(folder / f"{name}.png").convert("RGB") for folder in (given.before, given.after)]
        save(name, joined(two, beside=two[0].width < WIDEST / 2))
    with tempfile.TemporaryDirectory() as folder:
        for name in PAGES:
            save(name, joined([photographed(atlas, name, Path(folder)) for atlas in given.atlases], beside=True))


def photographed(atlas: Path, name: str, folder: Path) -> Image.Image:
    """A page of an atlas as Chromium shows it."""
    place, size = PAGES[name]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS.split())
        page = browser.new_page(viewport=size, color_scheme="light")
        page.goto(f"{(atlas / 'index.html').resolve().as_uri()}{place}")
        page.wait_for_timeout(3000)
        page.screenshot(path=folder / "page.png")
        browser.close()
    return Image.open(folder / "page.png").convert("RGB")


def joined(two: list[Image.Image], *, beside: bool) -> Image.Image:
    """The picture before and the one after it, with a word above each: side by side, or one above the other."""
    width, height = (max(picture.size[axis] for picture in two) for axis in (0, 1))
    step = (width + GAP, 0) if beside else (0, height + LABEL + GAP)
    sheet = Image.new("RGB", (width + step[0], height + LABEL + step[1]), "white")
    font = ImageFont.load_default(18)
    for index, (picture, word) in enumerate(zip(two, ("before", "after"), strict=True)):
        left, top = index * step[0], index * step[1]
        ImageDraw.Draw(sheet).text((left + 4, top + 4), word, fill="black", font=font)
        sheet.paste(picture, (left, top + LABEL))
    return sheet


def save(name: str, picture: Image.Image) -> None:
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)), Image.Resampling.LANCZOS)
    path = FOLDER / f"before-after-{name}.webp"
    picture.save(path, quality=80, method=6)
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
