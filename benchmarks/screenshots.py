"""Takes the pictures of the atlas in docs/images, in a headless Chromium.

python -m benchmarks.screenshots              the reference network on the bundled digits
python -m benchmarks.screenshots --atlas DIR --out DIR --layer NAME --channel C     another atlas
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from PIL import Image

import deconvviz as dv
from deconvviz.data import MnistTest
from deconvviz.models import mnist_cnn
from tests.helpers.chromium import ARGUMENTS, CHROMIUM, until

DOCS = Path(__file__).parents[1] / "docs" / "images"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screenshots", description=__doc__.partition("\n")[0])
    parser.add_argument("--atlas", type=Path, metavar="DIR", help="an atlas that is there already")
    parser.add_argument("--out", type=Path, default=DOCS, metavar="DIR", help="folder for the pictures (%(default)s)")
    parser.add_argument("--layer", default="conv2", help="the layer shown (%(default)s)")
    parser.add_argument("--channel", type=int, default=5, help="the channel shown (%(default)s)")
    given = parser.parse_args()
    if CHROMIUM is None:
        print("there is no Chromium in the path", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as made:
        take(CHROMIUM, given.atlas or built(Path(made) / "atlas"), given.out, given.layer, given.channel)
    return 0


def built(out: Path) -> Path:
    net, data = dv.DeconvNet(mnist_cnn()), MnistTest()
    dv.build_atlas(net, data, dv.scan(net, data), out=out, title="What a small network sees in digits")
    return out


def take(chromium: str, atlas: Path, out: Path, layer: str, channel: int) -> None:
    """Take the overview, the grid (in dark mode) and a channel (on a desktop and on a phone)."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  only this needs it

    route = quote(layer, safe="")
    shots = (
        ("atlas-overview", "#/", "light", (1280, 860)),
        ("atlas-layer", f"#/{route}", "dark", (1280, 860)),
        ("atlas-channel", f"#/{route}/{channel}", "light", (1280, 1000)),
        ("atlas-phone", f"#/{route}/{channel}", "dark", (390, 844)),
    )
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=ARGUMENTS.split())
        for name, place, scheme, (width, height) in shots:
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto((atlas.resolve() / "index.html").as_uri() + place)
            page.wait_for_selector("h1")
            page.wait_for_timeout(1000)
            until(page, "[...document.querySelectorAll('main img')].every(one => one.complete)")
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            picture.quantize(256, dither=Image.Dither.NONE).save(out / f"{name}.png", optimize=True)
            page.close()
            print(out / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
