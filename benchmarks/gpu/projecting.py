"""Projections: units of many images on crops and on whole maps, units of one image, an atlas's worth, and memory."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

import torch
from torch import Tensor, nn

import deconvviz as dv
from benchmarks import timing
from benchmarks.gpu import limits
from benchmarks.gpu.settings import BFLOAT16_LAST, FLOAT32, TF32_LAST, Arithmetic, Row, Run, at_least, at_most
from benchmarks.projection import CONVOLUTIONS, random_places, spread
from benchmarks.rivals import Bare, Captum, Place, Zennit, build, with_modules
from benchmarks.timing import Contender, Timing

OURS, CAPTUM, ZENNIT, LIMIT = "deconvviz", "Captum, one by one", "zennit, batch", "autograd"
RIVALS = (f"{CAPTUM} / {OURS}", f"{ZENNIT} / {OURS}")
WINDOWS = {"features.2": 8, "features.7": 20, "features.14": 120}  # microseconds per unit
ONE_IMAGE = (("vgg16", "features.28", 5), ("resnet50", "layer2.3", 15), ("resnet50", "layer4.2", 15))
ONE_IMAGE += (("googlenet", "inception4a", 20),)  # times faster than Captum
MEMORY = (("vgg16", "features.28"), ("resnet50", "layer4"))
RIVAL_UNITS = 8  # over which the rivals average


def listed(places: list[Place]) -> list[tuple[int, int, tuple[int, int]]]:
    """Units of as many images: (sample, channel, position)."""
    return [(sample, channel, position) for sample, (channel, position) in enumerate(places)]


def windows(run: Run) -> list[Row]:
    """One unit per image, position given, in layers whose units see little."""
    columns = ("layer", "units", "µs per unit", "goal", "", CAPTUM, ZENNIT, LIMIT)
    timing.heading("Crops: VGG16, one image per unit", columns)
    return run.each(_windows, WINDOWS.items())


def _windows(run: Run, layer: str, goal: float) -> Row:
    model = build("vgg16", run.device)
    net, captum = dv.DeconvNet(model), Captum(model, layer)
    x = run.images(run.count(4096))
    places = random_places(Bare(model, layer)(x[:1]).shape[1:], len(x))
    few = min(RIVAL_UNITS, len(x))
    seen = net.project_units(x[:few], layer, listed(places[:few])).receptive_fields.diff(dim=-1)
    size = int(seen.max())
    crops, plain = x[:, :, :size, :size].contiguous(), limits.Crops(model, layer)
    contenders = {
        OURS: Contender(lambda: net.project_units(x, layer, listed(places)), len(x)),
        CAPTUM: Contender(lambda: captum.units(x[:few].split(1), places[:few]), few),
        LIMIT: Contender(lambda: plain(crops), len(x)),
    }
    contenders |= _zennit(model, layer, x[:few], places[:few])
    measured = {name: 1e6 * found.median for name, found in run.measure(contenders).items()}
    reached = run.verdict(measured[OURS], goal, at_most=True)
    others = [timing.number(measured[name]) if name in measured else "-" for name in (CAPTUM, ZENNIT, LIMIT)]
    timing.line([layer, str(len(x)), timing.number(measured[OURS]), str(goal), reached, *others])
    return at_most(f"{layer}: microseconds per unit", goal, measured[OURS])


def _zennit(model: nn.Module, layer: str, x: Tensor, places: list[Place]) -> dict[str, Contender]:
    """zennit with one unit of each image in one call; none where it is not installed."""
    if not find_spec("zennit"):
        return {}
    zennit = Zennit(model, layer)
    return {ZENNIT: Contender(lambda: zennit.together(x, places), len(x))}


def _rivals(found: dict[str, Timing]) -> list[str]:
    """How many times our time the rivals take, as cells of a table."""
    return [
        timing.number(timing.ratio(found[name], found[OURS])[1]) if name in found else "-" for name in (CAPTUM, ZENNIT)
    ]


def whole_maps(run: Run) -> list[Row]:
    """One unit per image in layers whose units see most of it."""
    columns = ("layer", "arithmetic", "units", "ms per unit", f"{OURS} / {LIMIT}", "goal", "", *RIVALS)
    timing.heading("Whole maps: VGG16, one image per unit", columns)
    settings = (FLOAT32, 3.0), (TF32_LAST, 10.0), (BFLOAT16_LAST, None)
    return run.each(_whole_maps, [(layer, *each) for layer in ("features.21", "features.28") for each in settings])


def _whole_maps(run: Run, layer: str, arithmetic: Arithmetic, faster: float | None) -> list[Row]:
    with arithmetic.switched():
        return _in_arithmetic(run, layer, arithmetic, faster)


def _in_arithmetic(run: Run, layer: str, arithmetic: Arithmetic, faster: float | None) -> list[Row]:
    model = arithmetic.applied(build("vgg16", run.device))
    net, plain, captum = dv.DeconvNet(model), limits.WholeMaps(model, layer), Captum(model, layer)
    x = arithmetic.applied(run.images(run.count(256)))
    places = random_places(Bare(model, layer)(x[:1]).shape[1:], len(x))
    few = min(RIVAL_UNITS, len(x))
    found = run.measure(
        {
            OURS: Contender(lambda: net.project_units(x, layer, listed(places)), len(x)),
            LIMIT: Contender(lambda: plain(x, places), len(x)),
            CAPTUM: Contender(lambda: captum.units(x[:few].split(1), places[:few]), few),
            **_zennit(model, layer, x[:few], places[:few]),
        }
    )
    beside, rival = timing.ratio(found[OURS], found[LIMIT])[1], timing.ratio(found[CAPTUM], found[OURS])[1]
    goals = [at_most(f"{layer}, {arithmetic.name}: time / batched autograd's", 1.3, beside)]
    if faster is not None:
        goals.append(at_least(f"{layer}, {arithmetic.name}: Captum's time / ours", faster, rival))
    milliseconds = timing.number(1e3 * found[OURS].median)
    verdict = run.verdict(beside, 1.3, at_most=True)
    cells = [milliseconds, timing.number(beside), "1.3", verdict, *_rivals(found)]
    timing.line([layer, arithmetic.name, str(len(x)), *cells])
    return goals


def one_image(run: Run) -> list[Row]:
    """The strongest units of 64 channels in one image."""
    columns = ("model", "layer", "units", "ms per unit", *RIVALS, "goal", "")
    timing.heading("64 units of one image", columns)
    return run.each(_one_image, ONE_IMAGE)


def _one_image(run: Run, name: str, layer: str, goal: float) -> Row:
    model = build(name, run.device)
    net, x = dv.DeconvNet(model), run.images(1)
    output = Bare(model, layer)(x)[0]
    channels = spread(len(output), run.count(64, 8))
    places: list[Place] = [(c, divmod(int(output[c].argmax()), output.shape[2])) for c in channels]
    seen, few = with_modules(model), RIVAL_UNITS
    captum = Captum(seen, layer)
    found = run.measure(
        {
            OURS: Contender(lambda: net.project(x, layer, channel=channels), len(channels)),
            CAPTUM: Contender(lambda: captum.units([x] * few, places[:few]), few),
            **_zennit(seen, layer, torch.cat([x] * few), places[:few]),
        }
    )
    rival = timing.ratio(found[CAPTUM], found[OURS])[1]
    cells = [timing.number(1e3 * found[OURS].median), *_rivals(found), str(goal), run.verdict(rival, goal)]
    timing.line([name, layer, str(len(channels)), *cells])
    return at_least(f"{name} {layer}, 64 units of one image: Captum's time / ours", goal, rival)


def all_units(run: Run) -> list[Row]:
    """The projections of an atlas of VGG16: nine images for each channel of each convolution, 38,016 units."""
    timing.heading("All projections of an atlas of VGG16", ("layer", "units", "s", "Captum, s"))
    model = build("vgg16", run.device)
    net, x = dv.DeconvNet(model), run.images(run.count(64, 2))
    rows = [_all_units(run, net, model, layer, x) for layer in CONVOLUTIONS]
    units, seconds, rival = (sum(column) for column in zip(*rows, strict=True))
    timing.line(["all", str(units), timing.number(seconds), timing.number(rival)])
    return [at_most("projections of an atlas of VGG16, 38,016 units: seconds", 60, seconds)]


def _all_units(run: Run, net: dv.DeconvNet, model: nn.Module, layer: str, x: Tensor) -> tuple[int, float, float]:
    """Number of units, our seconds for all of them, and Captum's as three units foretell them."""
    shape = Bare(model, layer)(x[:1]).shape[1:]
    drawn = random_places(shape, 9 * (2 if run.smoke else shape[0]))
    units = [(n % len(x), n // 9, position) for n, (_, position) in enumerate(drawn)]
    captum = Captum(model, layer)
    captum.units([x[:1]], drawn[:1])
    ours = timing.timed(Contender(lambda: net.project_units(x, layer, units), 1), run.device)
    rival = timing.timed(Contender(lambda: captum.units([x[:1]] * 3, drawn[:3]), 3), run.device)
    timing.line([layer, str(len(units)), timing.number(ours), timing.number(len(units) * rival)])
    run.free()
    return len(units), ours, len(units) * rival


def memory(run: Run) -> list[Row]:
    """The card's memory that recording and projecting one channel in eight images takes at most."""
    timing.heading("Peak memory on the card", ("model", "layer", f"{OURS}, MiB", "Captum, MiB", "ratio", "goal", ""))
    if run.device == "cuda":
        return run.each(_memory, MEMORY)
    from tests.helpers.pretend_device import pretending  # noqa: PLC0415 - patches torch

    with pretending("cuda"):  # which counts tensors, without what the kernels of a card take beside them
        return replace(run, device="cuda").each(_memory, MEMORY)


def _memory(run: Run, name: str, layer: str) -> Row:
    model = build(name, run.device)
    net, captum, x = dv.DeconvNet(model), Captum(model, layer), run.images(run.count(8, 2))
    ours = _peak(lambda: net.project(net.trace(x, layer), layer, channel=100))
    rival = _peak(lambda: captum.strongest(x, 100))
    verdict = run.verdict(ours / rival, 0.5, at_most=True)
    timing.line([name, layer, f"{ours:,.0f}", f"{rival:,.0f}", timing.number(ours / rival), "0.5", verdict])
    return at_most(f"{name} {layer}: peak memory / Captum's", 0.5, ours / rival)


def _peak(call: Callable[[], object]) -> float:
    """In MiB, what a call allocates at most beside what is there."""
    call()
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20
