"""How the cost of projecting grows with the number of units, the size of the image and the depth of the layer.

    python -m benchmarks.growth      VGG16; writes out/growth.json and docs/images/performance-growth.png

Times are from a tensor to pixels. It compares window="auto", window="full" and a bare forward pass up to the layer.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import torch
from torch import nn

import deconvviz as dv
from benchmarks import timing
from benchmarks.projection import CONVOLUTIONS, random_places
from benchmarks.rivals import Bare, build
from benchmarks.timing import Contender

matplotlib.use("Agg")
from matplotlib import pyplot

UNITS = tuple(4**n for n in range(7))
SIDES = (64, 96, 128, 192, 256, 384, 512)
MIDDLE, LAST = "features.14", "features.28"
CURVES = {"auto": ("windows (auto)", "#0072b2"), "full": ("whole maps (full)", "#d55e00"), "bare": ("forward", "#777")}
DASHES = {MIDDLE: "-", LAST: "--"}
Point = dict[str, Any]  # x, and for each curve the quartiles of its seconds


class Growth:
    """Times single points, and stops a curve when its next point would take too long."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.device, self.rounds, self.limit, self.side = given.device, given.rounds, given.limit, given.side
        self.model: nn.Module = build("vgg16", given.device)
        self.net = dv.DeconvNet(self.model)

    def point(self, place: int, layer: str, count: int, side: int, previous: Point | None = None) -> Point:
        """Time `count` units of one image. A single unit is in the middle, where no border cuts its window."""
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(1, 3, side, side, generator=generator).to(self.device)
        bare = Bare(self.model, layer)
        channels, rows, columns = bare(x).shape[1:]
        places = random_places((channels, rows, columns), count) if count > 1 else [(1, (rows // 2, columns // 2))]
        units = [(0, channel, position) for channel, position in places]
        contenders = {
            "auto": Contender(lambda: self.net.project_units(x, layer, units), 1),
            "full": Contender(lambda: self.net.project_units(x, layer, units, window="full"), 1),
            "bare": Contender(lambda: bare(x), 1),
        }
        if previous:
            factor = count / previous["units"]
            contenders = {
                name: each
                for name, each in contenders.items()
                if name == "bare" or (name in previous and factor * previous[name][1] < self.limit)
            }
        found = timing.measure(contenders, self.rounds, self.device)
        result = {"x": place, "units": count, "layer": layer, "side": side}
        result |= {name: timing.quartiles(each.rounds) for name, each in found.items()}
        cells = (timing.duration(result[name][1]) if name in result else "left out" for name in CURVES)
        timing.line([layer, str(count), str(side), *cells])
        return result

    def units(self, counts: Iterable[int]) -> list[Point]:
        points: list[Point] = []
        for count in counts:
            points.append(self.point(count, MIDDLE, count, self.side, points[-1] if points else None))
        return points

    def sides(self, sides: Iterable[int]) -> list[Point]:
        return [self.point(side, layer, 1, side) for layer in (MIDDLE, LAST) for side in sides]

    def depth(self, layers: Iterable[str]) -> list[Point]:
        return [self.point(n, layer, 1, self.side) for n, layer in enumerate(layers, 1)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--limit", type=float, default=60, help="of seconds that a call should take (%(default)s)")
    parser.add_argument("--most", type=int, default=UNITS[-1], help="units (%(default)s: 2.4 GB of pixels)")
    parser.add_argument("--side", type=int, default=224, help="of the image that does not grow (%(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="one round, few points")
    parser.add_argument("--out", type=Path, default=Path("out/growth.json"))
    parser.add_argument("--figure", type=Path, default=Path("docs/images/performance-growth.png"))
    given = parser.parse_args()
    step = 3 if given.quick else 1
    given.rounds = 1 if given.quick else given.rounds
    timing.prepare(given.device)
    growth = Growth(given)
    timing.heading("VGG16", ("layer", "units", "side", *(label for label, _ in CURVES.values())))
    found = {
        "units": growth.units([count for count in UNITS if count <= given.most][:: min(step, 2)]),
        "sides": growth.sides(SIDES[::step]),
        "depth": growth.depth(CONVOLUTIONS[::step]),
    }
    timing.write(given.out, {"circumstances": timing.circumstances(given.device), "quick": given.quick, **found})
    draw(found, given.side, given.figure)


def draw(found: dict[str, list[Point]], side: int, path: Path) -> None:
    """Draw three panels with a common vertical axis."""
    figure, panels = pyplot.subplots(1, 3, figsize=(13, 4.4), sharey=True, layout="constrained")
    titles = (f"units of one {side} x {side} image, {MIDDLE}", "side of the image, one unit", "depth, one unit")
    for panel, title, (kind, points) in zip(panels, titles, found.items(), strict=True):
        for layer in (MIDDLE, LAST) if kind == "sides" else (None,):
            curves(panel, [point for point in points if layer in (None, point["layer"])], layer)
        ticks = sorted({point["x"] for point in points})
        if kind != "depth":
            panel.set_xscale("log")
        panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=9)
        panel.minorticks_off()
        panel.set_yscale("log")
        panel.set_title(title, fontsize=11)
        panel.grid(alpha=0.3)
        panel.legend(loc="upper left", fontsize=8, frameon=False)
    panels[0].set_ylabel("seconds, from a tensor to pixels")
    panels[0].set_xlabel("units")
    panels[1].set_xlabel("pixels")
    panels[2].set_xlabel(f"convolution of VGG16 ({MIDDLE} is number {CONVOLUTIONS.index(MIDDLE) + 1})")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def curves(panel: Any, points: list[Point], layer: str | None) -> None:
    """Draw medians as lines and quartiles as bands."""
    for name, (label, colour) in CURVES.items():
        here = [point for point in points if name in point]
        if not here:
            continue
        x = [point["x"] for point in here]
        low, middle, high = zip(*(point[name] for point in here), strict=True)
        style = DASHES[layer] if layer else "-"
        panel.plot(x, middle, style, color=colour, marker="o", ms=3.5, label=f"{label}, {layer}" if layer else label)
        panel.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


if __name__ == "__main__":
    main()
