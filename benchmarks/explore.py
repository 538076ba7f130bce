"""How long the explorer takes from a click to the picture, in a browser, and whether its memory grows.

python -m benchmarks.explore [--clicks 40] [--requests 10000] [--camera 10] [--weights squeezenet1_1.safetensors]

The times are measured in the page, from the click to the first frame with the new picture: of a unit's projection, of
another image's feature maps, and of frames of a camera with one pinned unit (Chromium's pretended one). With
``--camera 3600``, the camera runs for an hour, and what memory has grown since its first tenth is printed.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import statistics
import time
from typing import Any

import torch
from torchvision.models import squeezenet1_1

import deconvviz as dv
from deconvviz.data.mnist import MnistTest
from deconvviz.images import Preprocess
from deconvviz.models import load_weights
from deconvviz.models.mnist import mnist_cnn
from tests.helpers.chromium import ARGUMENTS, CHROMIUM
from tests.helpers.explorer_client import Client, png

QUESTIONS = ("unit", "maps", "image", "place", "known", "reconstruction", "python")
UNIT, MAPS = "figure[data-style] img", "#maps .mosaic"
CLICK = """([button, picture]) => new Promise(resolve => {
  const one = document.querySelector(picture);
  const source = () => (document.querySelector(picture) || {}).src;
  const before = source();
  let drawn = false; // a canvas gets its size whenever it is drawn
  new MutationObserver(() => { drawn = true; }).observe(one, { attributeFilter: ["width"] });
  const start = performance.now();
  const look = () => {
    const loaded = source() && source() !== before && document.querySelector(picture).complete;
    if (drawn || loaded) resolve(performance.now() - start);
    else requestAnimationFrame(look);
  };
  document.querySelector(button).click();
  look();
})"""


def shown(name: str, times: list[float], limit: float) -> None:
    times = sorted(times)
    median, late = statistics.median(times), times[min(len(times) - 1, int(0.95 * len(times)))]
    print(f"{name:45} {median:7.0f} ms {late:7.0f} ms   (at most {limit:.0f} ms)")


def measure(
    page: Any, url: str, layer: str, name: str, *, clicks: int, camera: int, limits: tuple[float, float, float]
) -> None:
    page.goto(f"{url}#image=data-0&layer={layer}&channel=0&sort=number")
    for part in ("#strip li:nth-child(17)", "#maps li:nth-child(16)", UNIT):
        page.locator(part).first.wait_for(timeout=120_000)
    times = [
        page.evaluate(CLICK, [f"#maps button[data-channel='{1 + n % 15}']", UNIT])
        for n in range(clicks)
        if settled(page)
    ]
    shown(f"{name}: unit to projection", times, limits[0])
    times = [
        page.evaluate(CLICK, [f"#strip li:nth-child({2 + n % 15}) button", MAPS])
        for n in range(clicks)
        if settled(page)
    ]
    shown(f"{name}: image to feature maps of {layer}", times, limits[1])
    page.keyboard.press("p")
    page.locator("#camera").click()
    page.wait_for_timeout(100 * camera)
    before = resident()
    page.wait_for_timeout(900 * camera)
    grown = f"{(resident() - before) / 2**20:+.1f} MiB in {0.9 * camera:,.0f} s"
    rate = page.locator("#rate").text_content()
    print(f"{name}: camera, one unit pinned{'':16} {rate}   (at least {limits[2]:.0f}); memory {grown}")
    page.locator("#camera").click()


def settled(page: Any) -> bool:
    """Wait until nothing is asked for any more, as a person does who looks."""
    page.wait_for_timeout(600)
    return True


def memory(explorer: Any, requests: int) -> tuple[float, int]:
    """By how much memory grows while all is asked about units and images again and again, after the first tenth.

    Returns:
        MiB, and how many more objects Python knows. The scan behind has ended before.
    """
    client = Client(explorer)
    unit: dict[str, Any] = {"layer": "conv2", "at": "9,9"}
    while "scanning" in client.ask("known", image="data-0", channel=0, **unit).json:
        time.sleep(0.2)
    before, known = 0, 0
    for number in range(requests + 1):
        image = f"data-{number % 100}"
        if number % 10 == 3:
            image = client.give(png((320, 240), seed=number % 50), live="1").json["image"]
        client.ask(QUESTIONS[number % len(QUESTIONS)], image=image, channel=number % 48, **unit)
        if number in (requests // 10, requests):
            gc.collect()
            grown, more = resident() - before, len(gc.get_objects()) - known
            before, known = resident(), len(gc.get_objects())
    return grown / 2**20, more


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def main() -> None:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  not among the dependencies

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=40)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--camera", type=int, default=10, metavar="SECONDS", help="for which it runs (10)")
    parser.add_argument("--weights", metavar="FILE", help="of SqueezeNet 1.1 (random)")
    args = parser.parse_args()
    torch.manual_seed(0)
    squeezenet = squeezenet1_1()
    if args.weights:
        load_weights(squeezenet, args.weights)
    photos = torch.randint(0, 256, (40, 256, 256, 3), dtype=torch.uint8).numpy()
    load = f"load {os.getloadavg()[0]:.1f}"
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, {load}; median, 95th percentile")
    with sync_playwright() as play:
        page = play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS.split()).new_page()
        net = dv.DeconvNet(squeezenet, preprocess=Preprocess(224))
        with dv.explore(net, photos, open_browser=False) as explorer:
            given = {"clicks": args.clicks, "camera": args.camera}
            measure(page, explorer.url, "features.6.expand3x3", "SqueezeNet", **given, limits=(150, 250, 4))
        with dv.explore(
            dv.DeconvNet(mnist_cnn(), preprocess=Preprocess(28, (0.0,), (1.0,))), MnistTest(), open_browser=False
        ) as explorer:
            measure(page, explorer.url, "conv2", "reference network", **given, limits=(30, 30, 15))
            (grown, more), first = memory(explorer, args.requests), args.requests // 10
            print(f"after {args.requests:,} requests: {grown:+.1f} MiB and {more:+,} objects since request {first:,}")


if __name__ == "__main__":
    main()
