"""Peak memory of recording 8 samples and projecting one channel at its strongest position, compared with Captum.

    python -m benchmarks.memory                    VGG16 and ResNet-50 at 224 x 224; writes out/memory.json
    python -m benchmarks.memory --device cuda      also reads CUDA's allocator

Each contender runs in its own process. The resident size is read just before the measured call, when the model and the
input exist and a call on a small image has run. The result is the peak of the call above that size.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import deconvviz as dv
from benchmarks import timing
from benchmarks.rivals import Captum, build

LAYERS = {"vgg16": "features.28", "resnet50": "layer4"}
CONTENDERS = ("deconvviz", "deconvviz, full", "Captum", "Captum, cut")
CHANNEL = 100
TARGET = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=8, help="(%(default)s)")
    parser.add_argument("--side", type=int, default=224, help="of the images (%(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=Path("out/memory.json"))
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "CONTENDER"), help="only print what this one takes")
    given = parser.parse_args()
    timing.prepare(given.device)
    if given.one:
        print(json.dumps(peaks(*given.one, given.samples, given.side, given.device)))
        return
    columns = ("model", "layer", "memory", *(f"{name}, MiB" for name in CONTENDERS), "deconvviz / Captum", "target", "")
    timing.heading(f"One channel at its strongest in {given.samples} samples: peak above the resting size", columns)
    rows = []
    for model in LAYERS:
        found = {name: measured(model, name, given) for name in CONTENDERS}
        for kind in found["deconvviz"]:
            rows.append(row(model, kind, {name: peak[kind] for name, peak in found.items()}))
    timing.write(given.out, {"circumstances": timing.circumstances(given.device), "rows": rows})


def row(model: str, kind: str, found: dict[str, float]) -> dict[str, Any]:
    part = found["deconvviz"] / found["Captum"]
    cells = [f"{found[name]:,.0f}" for name in CONTENDERS]
    limit = [f"{part:.2f}", f"at most {TARGET}", timing.verdict(part, TARGET, at_most=True)]
    timing.line([model, LAYERS[model], kind, *cells, *limit])
    return {"model": model, "layer": LAYERS[model], "kind": kind, "MiB": found, "ratio": part, "target": TARGET}


def measured(model: str, contender: str, given: argparse.Namespace) -> dict[str, float]:
    """Run `peaks` in its own process."""
    command = [sys.executable, "-m", "benchmarks.memory", "--one", model, contender]
    command += ["--samples", str(given.samples), "--side", str(given.side), "--device", given.device]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def peaks(name: str, contender: str, samples: int, side: int, device: str) -> dict[str, float]:
    """The peak memory of one call, in MiB above what was used before."""
    call = caller(name, contender, device)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(samples, 3, side, side, generator=generator).to(device)
    call(x[:1, :, :64, :64].clone())
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak, if the system allows it
    before = resident("VmRSS")
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    allocated = torch.cuda.memory_allocated() if device == "cuda" else 0
    pixels = call(x)
    assert pixels.shape == x.shape
    found = {"resident": resident("VmHWM") - before}
    if device == "cuda":
        found["CUDA"] = (torch.cuda.max_memory_allocated() - allocated) / 2**20
    return found


def caller(name: str, contender: str, device: str) -> Callable[[Tensor], Tensor]:
    """The contender's function from images to pixels."""
    model, layer = build(name, device), LAYERS[name]
    if contender.startswith("deconvviz"):
        net = dv.DeconvNet(model)
        window = "full" if contender.endswith("full") else "auto"

        def project(x: Tensor) -> Tensor:
            return net.project(net.trace(x, layer), layer, channel=CHANNEL, position="max", window=window).pixels

        return project
    captum = Captum(model, layer, cut=contender.endswith("cut"))
    del model  # Captum gets a copy
    return lambda x: captum.strongest(x, CHANNEL)


def resident(line: str) -> float:
    """A figure from the kernel about this process, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{line}:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
