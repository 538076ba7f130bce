"""The time to project a unit, compared with Captum, zennit and a bare forward pass in the same run.

    python -m benchmarks.projection              tables A, B and C; writes out/projection.json
    python -m benchmarks.projection --tables A --layers features.2 features.7 --device cuda
    python -m benchmarks.projection --quick      fewer units and rounds, to see whether everything runs

Needs captum and zennit. Times are per unit, from a tensor to pixels, so they include each contender's forward pass.
Contenders alternate over rounds. A ratio is the median, with quartiles, of the ratios within each round.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import deconvviz as dv
from benchmarks import timing
from benchmarks.rivals import Bare, Captum, Place, Zennit, build, difference, with_modules
from benchmarks.timing import Contender, Timing

SIDE = 224
CONVOLUTIONS = tuple(f"features.{n}" for n in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28))  # of VGG16
TARGETS_A = {  # layer: units in one call, and the speed-up over Captum's deconvolution that is wanted
    "features.2": (1024, 5000),
    "features.7": (256, 1000),
    "features.14": (128, 80),
    "features.21": (32, 10),
    "features.28": (16, 2.5),
}
TARGETS_B = (("vgg16", "features.28", 5), ("resnet50", "layer2.3", 5), ("resnet50", "layer4.2", 3))
TARGETS_B += (("googlenet", "inception4a", 4),)
TARGET_C = 5
OURS, FULL, DECONVOLUTION, CUT = "deconvviz", "deconvviz, full", "Captum", "Captum, cut"
GUIDED, ZENNIT, BATCH, BARE = "Captum, guided", "zennit", "zennit, batch", "bare forward"
LEGEND = """
Ratios to the time of deconvviz per unit; above 1 is slower than deconvviz.

- deconvviz: window="auto"; deconvviz, full: window="full"
- Captum: `NeuronDeconvolution` on the model as it is; cut: on a model that ends with the layer; guided:
  `NeuronGuidedBackprop`; one call per unit
- zennit: `Gradient` with the composite `DeconvNet`, on a model that ends with the layer; one call per unit, and batches
- bare forward: one image, `inference_mode`, ending with the layer
- difference: the largest between the pixels of deconvviz and Captum's deconvolution, relative to the largest pixel
"""
Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """The settings of a run."""

    device: str
    rounds: int
    quick: bool
    rival_units: int  # units that Captum and zennit are averaged over

    def images(self, count: int, seed: int = 1) -> Tensor:
        return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)).to(self.device)

    def measure(self, contenders: dict[str, Contender]) -> dict[str, Timing]:
        return timing.measure(contenders, self.rounds, self.device)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.projection", description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", default="ABC", help="which tables (%(default)s)")
    parser.add_argument("--layers", nargs="+", help="only these layers, in all tables")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s); table C takes a third")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="an eighth of the units, and one round")
    parser.add_argument("--out", type=Path, default=Path("out/projection.json"))
    given = parser.parse_args()
    timing.prepare(given.device)
    run = Run(given.device, 1 if given.quick else given.rounds, given.quick, 1 if given.quick else 3)
    results: dict[str, Any] = {"circumstances": timing.circumstances(given.device), "quick": given.quick}
    print(LEGEND)
    for name, table in (("A", table_a), ("B", table_b), ("C", table_c)):
        if name in given.tables:
            results[name] = table(run, given.layers)
            timing.write(given.out, results)


# Contenders


def rivals(run: Run, model: nn.Module, layer: str, images: Sequence[Tensor], places: Sequence[Place]) -> dict[str, Any]:
    """The other contenders, on the first of these units. Each image is (1, 3, H, W)."""
    images, places = images[: run.rival_units], places[: run.rival_units]
    captum, cut = Captum(model, layer), Captum(model, layer, cut=True)
    guided, zennit, bare = Captum(model, layer, "guided"), Zennit(model, layer), Bare(model, layer)
    together, count = torch.cat(list(images)), len(images)
    return {
        DECONVOLUTION: Contender(lambda: captum.units(images, places), count),
        CUT: Contender(lambda: cut.units(images, places), count),
        GUIDED: Contender(lambda: guided.units(images, places), count),
        ZENNIT: Contender(lambda: zennit.units(images, places), count),
        BATCH: Contender(lambda: zennit.together(together, places), count),
        BARE: Contender(lambda: [bare(image) for image in images], count),
    }


def random_places(shape: Sequence[int], count: int, seed: int = 2) -> list[Place]:
    """Random units of a map of shape (channels, rows, columns)."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randint(size, (count,), generator=generator).tolist() for size in shape]
    return [(channel, (row, column)) for channel, row, column in zip(*drawn, strict=True)]


def inner_places(shape: Sequence[int], count: int) -> list[Place]:
    """Units near the middle of the map, in evenly spaced channels."""
    channels, rows, columns = shape
    return [(n * channels // count, (rows // 2 - n % 2, columns // 2)) for n in range(count)]


def errors(net: dv.DeconvNet, model: nn.Module, layer: str, images: Sequence[Tensor], places: Sequence[Place]) -> Row:
    """The largest difference between the pixels of each rival and of deconvviz, over all units."""
    x = torch.cat(list(images))
    units = [(n, channel, position) for n, (channel, position) in enumerate(places)]
    ours = net.project_units(x, layer, units, seed="one").pixels
    full = net.project_units(x, layer, units, seed="one", window="full").pixels
    captum = Captum(model, layer).units(images, places)
    zennit = Zennit(model, layer).units(images, places)
    return {
        DECONVOLUTION: max(map(difference, ours.split(1), captum)),
        ZENNIT: max(map(difference, ours.split(1), zennit)),
        FULL: max(map(difference, full.split(1), captum)),
    }


# Table A


def table_a(run: Run, only: Sequence[str] | None) -> list[Row]:
    others = (FULL, CUT, GUIDED, ZENNIT, BATCH, BARE)
    columns = ("layer", "units", OURS, DECONVOLUTION, "target", "", *others, "difference")
    timing.heading("A. One image per unit, position given; VGG16", columns)
    model = build("vgg16", run.device)
    net = dv.DeconvNet(model)
    rows = []
    for layer, (all_units, target) in TARGETS_A.items():
        if only and layer not in only:
            continue
        count = max(4, all_units // 8) if run.quick else all_units
        x = run.images(count)
        shape = Bare(model, layer)(x[:1]).shape[1:]
        places = random_places(shape, count)
        found = run.measure(ours_a(net, layer, x, places) | rivals(run, model, layer, x[:4].split(1), places))
        inner = errors(net, model, layer, x[:2].split(1), inner_places(shape, 2))
        rows.append(row(found, others, target, inner, layer=layer, units=count))
    return rows


def ours_a(net: dv.DeconvNet, layer: str, x: Tensor, places: Sequence[Place]) -> dict[str, Contender]:
    """deconvviz in table A. window="full" gets 16 units at most, because whole maps of 512 images need many GB."""
    units = [(n, channel, position) for n, (channel, position) in enumerate(places)]
    few = min(16, len(units))
    return {
        OURS: Contender(lambda: net.project_units(x, layer, units), len(units)),
        FULL: Contender(lambda: net.project_units(x[:few], layer, units[:few], window="full"), few),
    }


def row(found: dict[str, Timing], others: Sequence[str], target: float, wrong: Row, **words: Any) -> Row:
    """Print and return one row of table A or B."""
    faster = timing.ratio(found[DECONVOLUTION], found[OURS])
    ratios = {name: timing.ratio(found[name], found[OURS])[1] for name in others}
    timing.line(
        [
            *map(str, words.values()),
            timing.duration(found[OURS].median),
            timing.spread(faster),
            timing.number(target),
            timing.verdict(faster[1], target),
            *map(timing.number, ratios.values()),
            f"{wrong[DECONVOLUTION]:.0e}",
        ]
    )
    summary = {"ratio": faster, "target": target, "ratios": ratios, "differences": wrong}
    return {**words, **summary, "seconds": timing.as_json(found)}


# Table B


def table_b(run: Run, only: Sequence[str] | None) -> list[Row]:
    others = (FULL, CUT, GUIDED, ZENNIT, BATCH, BARE)
    columns = ("model", "layer", "units", OURS, DECONVOLUTION, "target", "", *others, "difference")
    timing.heading("B. 64 units of one image, each its channel's strongest", columns)
    rows, remarks = [], []
    for name, layer, target in TARGETS_B:
        if only and layer not in only:
            continue
        model = build(name, run.device)
        net, seen = dv.DeconvNet(model), with_modules(model)
        x = run.images(1)
        output = Bare(model, layer)(x)[0]
        channels = spread(len(output), 8 if run.quick else 64)
        places = [(channel, divmod(int(output[channel].argmax()), output.shape[2])) for channel in channels]
        # Captum and zennit are given the positions, at no cost in time; deconvviz finds them itself.
        ours = ours_b(net, layer, x, channels)
        found = run.measure(ours | rivals(run, seen, layer, [x] * 4, places))
        sample = [places[len(places) // 3], places[2 * len(places) // 3]]
        wrong = errors(net, seen, layer, [x, x], sample)
        rows.append(row(found, others, target, wrong, model=name, layer=layer, units=len(channels)))
        if seen is not model:
            untouched = errors(net, model, layer, [x, x], sample)
            rows[-1]["differences, model untouched"] = untouched
            remarks.append(
                f"{name}: Captum and zennit got a copy whose rectifiers are modules. On the model itself "
                f"they run, but are wrong by {untouched[DECONVOLUTION]:.0%} and {untouched[ZENNIT]:.0%}."
            )
    print("", *remarks, sep="\n")
    return rows


def ours_b(net: dv.DeconvNet, layer: str, x: Tensor, channels: list[int]) -> dict[str, Contender]:
    return {
        OURS: Contender(lambda: net.project(x, layer, channel=channels), len(channels)),
        FULL: Contender(lambda: net.project(x, layer, channel=channels, window="full"), len(channels)),
    }


def spread(count: int, wanted: int) -> list[int]:
    return [n * count // wanted for n in range(min(count, wanted))]


# Table C


def table_c(run: Run, only: Sequence[str] | None) -> Row:
    """Nine images for every channel, extrapolated from 64 channels per layer. First calls count, as in an atlas."""
    columns = ("layer", "channels", OURS, DECONVOLUTION, CUT, "ratio")
    timing.heading("C. The whole atlas of VGG16, 9 images for each channel; hours", columns)
    model = build("vgg16", run.device)
    net = dv.DeconvNet(model)
    rounds = max(1, round(run.rounds / 3))
    x = run.images(16 if run.quick else 64)
    rows = []
    for layer in CONVOLUTIONS:
        if only and layer not in only:
            continue
        shape = Bare(model, layer)(x[:1]).shape[1:]
        contenders = contenders_c(run, net, model, layer, x, shape)
        found = timing.measure(contenders, rounds, run.device, warm=False)
        hours = {name: found[name].median * 9 * shape[0] / 3600 for name in found}
        rows.append({"layer": layer, "channels": shape[0], "hours": hours, "seconds": timing.as_json(found)})
        print_hours(layer, shape[0], hours)
    total = {name: sum(each["hours"][name] for each in rows) for name in (OURS, DECONVOLUTION, CUT)}
    print_hours("all", sum(each["channels"] for each in rows), total)
    faster = total[DECONVOLUTION] / total[OURS]
    print(f"\nCaptum / deconvviz: {faster:.2f}, target {TARGET_C}: {timing.verdict(faster, TARGET_C)}")
    return {"layers": rows, "hours": total, "ratio": faster, "target": TARGET_C}


def contenders_c(
    run: Run, net: dv.DeconvNet, model: nn.Module, layer: str, x: Tensor, shape: Sequence[int]
) -> dict[str, Contender]:
    """deconvviz projects nine images of each of 64 channels in one call; Captum, warmed up, projects a few units."""
    chosen = spread(shape[0], 8 if run.quick else 64)
    drawn = random_places(shape, 9 * len(chosen))
    samples = torch.randint(len(x), (len(drawn),), generator=torch.Generator().manual_seed(3)).tolist()
    units = [(samples[n], chosen[n // 9], position) for n, (_, position) in enumerate(drawn)]
    few = [(x[n : n + 1], (channel, position)) for n, channel, position in units[: run.rival_units]]
    images, places = [image for image, _ in few], [place for _, place in few]
    captum, cut = Captum(model, layer), Captum(model, layer, cut=True)
    captum.units(images[:1], places[:1])
    cut.units(images[:1], places[:1])
    return {
        OURS: Contender(lambda: net.project_units(x, layer, units), len(units)),
        DECONVOLUTION: Contender(lambda: captum.units(images, places), len(few)),
        CUT: Contender(lambda: cut.units(images, places), len(few)),
    }


def print_hours(label: str, channels: int, hours: dict[str, float]) -> None:
    each = (timing.number(hours[name]) for name in (OURS, DECONVOLUTION, CUT))
    timing.line([label, f"{channels:,}", *each, timing.number(hours[DECONVOLUTION] / hours[OURS])])


if __name__ == "__main__":
    main()
