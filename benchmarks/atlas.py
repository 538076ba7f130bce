"""How fast an atlas opens and scrolls in Chromium: `python -m benchmarks.atlas`, one table, a few minutes.

Needs Playwright (`pip install playwright`) and Chromium on the PATH. It builds two synthetic atlases in a temporary
folder: one has a single layer of 10,000 channels, the other 20 layers of 500 channels and one of 4096. It opens each
from disk and scrolls the largest grid from top to bottom, first in channel order, then sorted by firing rate. In the
second case, neighbouring cells come from many files.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.helpers import synthetic_atlas as example

ARGUMENTS = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"
WATCH = """() => {
  window.frames_ = [];
  let last = performance.now();
  const tick = (now) => { window.frames_.push(now - last); last = now; window.asked_ = requestAnimationFrame(tick); };
  window.asked_ = requestAnimationFrame((now) => { last = now; window.asked_ = requestAnimationFrame(tick); });
}"""
PAINTED = """() => new Promise((resolve) => {
  const look = () => {
    const cells = document.querySelectorAll(".cells li, .card").length;
    if (!cells) return requestAnimationFrame(look);
    requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now())));
  };
  look();
})"""


def build(folder: Path, channels: list[int], size: tuple[int, int], field: tuple[int, int]) -> tuple[Path, float]:
    """Build an atlas of layers with these numbers of channels; return its page and the seconds it took."""
    layers = [example.layer(f"features.{at}", count, field) for at, count in enumerate(channels)]
    start = time.perf_counter()
    page = example.write(folder, layers, example.header(size, title="Benchmark"), ["tench", "chain saw"], pool=128)
    return page, time.perf_counter() - start


def opened(page: Page, address: str) -> float:
    """Milliseconds from the request of the page until its first cells are painted."""
    page.goto("about:blank")
    page.goto(address, wait_until="commit")
    page.wait_for_load_state("domcontentloaded")
    return float(page.evaluate(PAINTED))


def scrolled(page: Page, seconds: float) -> list[float]:
    """Milliseconds per frame while the mouse wheel scrolls from top to bottom in about `seconds`."""
    page.mouse.move(400, 500)
    height = page.evaluate("document.documentElement.scrollHeight - innerHeight")
    page.evaluate(WATCH)
    start = time.perf_counter()
    while (position := page.evaluate("scrollY")) < height - 2:
        goal = height * min(1.0, (time.perf_counter() - start) / seconds + 0.005)
        page.mouse.wheel(0, max(100, goal - position))
        time.sleep(1 / 60)
    return list(page.evaluate("() => { cancelAnimationFrame(window.asked_); return window.frames_; }"))


def measured(page: Page, name: str, route: str, index: Path, seconds: float) -> dict[str, Any]:
    address = index.as_uri() + route
    opening = opened(page, address)
    page.wait_for_timeout(500)
    frames = sorted(scrolled(page, seconds))
    late = page.evaluate("document.querySelectorAll('.cells li').length")
    return {
        "grid": name,
        "opens ms": round(opening),
        "frames": len(frames),
        "longest ms": round(frames[-1]),
        "99 % ms": round(frames[int(0.99 * len(frames))]),
        "over 100 ms": sum(frame > 100 for frame in frames),
        "median ms": round(frames[len(frames) // 2], 1),
        "cells at the end": late,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="of scrolling from top to bottom")
    parser.add_argument("--large", action="store_true", help="224 x 224 images and fields of 99, 10 minutes to build")
    given = parser.parse_args()
    size, field = ((224, 224), (99, 99)) if given.large else ((64, 64), (27, 27))
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        atlases = {"one": [10_000], "many": [500] * 20 + [4096]}
        pages = {}
        for name, channels in atlases.items():
            pages[name], seconds = build(Path(folder) / name, channels, size, field)
            files = [path.stat().st_size for path in (Path(folder) / name).rglob("*") if path.is_file()]
            print(f"{name}: {sum(channels):,} channels written in {seconds:.0f} s,", end=" ")
            print(f"{len(files):,} files, {sum(files) / 2**20:.0f} MiB")
        browser = play.chromium.launch(executable_path=browser_path, args=ARGUMENTS.split())
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        print(f"{opened(page, pages['many'].as_uri()):.0f} ms until the overview of 21 layers is painted")
        for name, layer, query in (("one", 0, ""), ("one", 0, "?sort=firing"), ("many", 20, "")):
            title = f"{atlases[name][layer]:,} channels{', sorted' if query else ''}"
            rows.append(measured(page, title, f"#/features.{layer}{query}", pages[name], given.seconds))
        browser.close()
    widths = {key: max(len(key), *(len(str(row[key])) for row in rows)) for key in rows[0]}
    print("  ".join(key.ljust(width) for key, width in widths.items()))
    for row in rows:
        print("  ".join(str(row[key]).ljust(width) for key, width in widths.items()))


if __name__ == "__main__":
    main()
