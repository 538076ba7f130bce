"""Whether the card agrees with the CPU: in float64 to rounding, in float32 but for units whose switches flip."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import torch
from torch import Tensor, nn

import deconvviz as dv
from benchmarks import timing
from benchmarks.gpu.settings import Row, Run, at_most
from benchmarks.rivals import build

NETWORKS = ("vgg16", "resnet50", "densenet121", "googlenet", "mobilenet_v2", "efficientnet_b0", "squeezenet1_1")
NETWORKS += ("convnext_tiny", "inception_v3", "shufflenet_v2_x1_0", "regnet_y_400mf", "mnasnet0_5", "fcn_resnet50")
SIDE = 128
LONGEST = 120  # seconds for the tests marked cuda
FLIPPED = 1e-4  # a float32 picture that differs by more took another rectifier's or switch's decision somewhere


def exactness(run: Run) -> list[Row]:
    """Units at their strongest (whole maps) and at those places (crops), and reconstructions; four layers each."""
    columns = ("network", "float64: whole maps", "crops", "reconstruction", "float32: median", "units that differ")
    timing.heading("The card beside the CPU: relative differences", columns)
    torch.set_num_threads(1 if run.smoke else os.cpu_count() or 1)  # nothing is timed
    try:
        return run.each(_network, [(name,) for name in NETWORKS[: run.count(len(NETWORKS), 1)]])
    finally:
        torch.set_num_threads(timing.THREADS)


def _network(run: Run, name: str) -> Row:
    model, side = network(name), run.count(SIDE, 32)
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    layers = some_layers(model, x)
    double = _differences(run, model, x, layers, torch.float64)
    single = _differences(run, model, x, layers, torch.float32)["crops"]
    largest = {part: float(values.max()) for part, values in double.items()}
    flipped = int((single > FLIPPED).sum())
    cells = [f"{value:.0e}" for value in (*largest.values(), float(single.median()))]
    timing.line([name, *cells, f"{flipped} of {len(single)}"])
    return at_most(
        f"{name}: largest difference of float64 from the CPU", 1e-10, float(torch.tensor([*largest.values()]).max())
    )


def marked_tests(run: Run) -> list[Row]:
    """The tests that need a card; without one they are skipped."""
    timing.heading("Tests marked `cuda`", ("passed", "failed", "skipped"))
    files = sorted(str(path) for path in Path("tests").rglob("test_*.py") if "mark.cuda" in path.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "tests.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "cuda", f"--junitxml={out}"]
        done = subprocess.run([*command, *files], capture_output=True, text=True, timeout=LONGEST, check=False)
        suite = next(ElementTree.parse(out).iter("testsuite")).attrib if out.exists() else {}
    ran, skipped, failed = (int(suite.get(name, 0)) for name in ("tests", "skipped", "failures"))
    failed += int(suite.get("errors", 0))
    timing.line([str(ran - skipped - failed), str(failed), str(skipped)])
    if failed or not ran:
        print(f"\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    missing = 0 if ran and (skipped < ran or run.device == "cpu" or run.smoke) else 1  # on a card some must run
    return [at_most("tests marked cuda that fail", 0, failed + missing)]


def network(name: str) -> nn.Module:
    """A network with random weights, whose branches all matter."""
    model = build(name)
    for module in model.modules():
        if isinstance(scale := getattr(module, "layer_scale", None), nn.Parameter):  # of ConvNeXt: 1e-6 at first
            nn.init.ones_(scale)
    return model


def some_layers(model: nn.Module, x: Tensor) -> list[str]:
    names = [layer.name for layer in dv.DeconvNet(model).layers(x) if layer.kind == "Conv2d"]
    return [names[number * (len(names) - 1) // 3] for number in range(4)]


def _differences(run: Run, model: nn.Module, x: Tensor, layers: list[str], dtype: torch.dtype) -> dict[str, Tensor]:
    """For each way of projecting, the relative difference of each unit's picture."""
    here = copy.deepcopy(model).to(dtype)
    there = copy.deepcopy(here).to(run.device)
    cpu, card = dv.DeconvNet(here), dv.DeconvNet(there)
    x, far = x.to(dtype), x.to(run.device, dtype)
    parts: dict[str, list[Tensor]] = {"whole maps": [], "crops": [], "reconstruction": []}
    for layer in layers:
        strongest = cpu.project(x, layer, channel=[0, 1])
        again = card.project(far, layer, channel=[0, 1])
        parts["whole maps"].append(_relative(again.pixels, strongest.pixels))
        units = [(unit.sample, unit.channel, unit.position) for unit in strongest.units]
        crops = cpu.project_units(x, layer, units), card.project_units(far, layer, units)
        parts["crops"].append(_relative(crops[1].pixels, crops[0].pixels))
    whole = cpu.reconstruct(x, layers[1]), card.reconstruct(far, layers[1])
    parts["reconstruction"].append(_relative(whole[1].pixels, whole[0].pixels))
    return {part: torch.cat(values) for part, values in parts.items()}


def _relative(found: Tensor, expected: Tensor) -> Tensor:
    """For each picture, the norm of the difference over that of what is expected."""
    found, expected = found.cpu().double().flatten(1), expected.cpu().double().flatten(1)
    return (found - expected).norm(dim=1) / expected.norm(dim=1).clamp_min(1e-300)
