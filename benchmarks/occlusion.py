"""Whether occlusion runs as fast as the network does: images per second beside a bare pass of the same batches.

    python -m benchmarks.occlusion            VGG16 and ResNet-18 at 224 x 224, 18 x 18 places, batches of 32

What is timed is the whole call, with the recorded runs before the sweep and the projection after it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

import deconvviz as dv
from benchmarks import timing
from benchmarks.timing import Contender, number

MODELS = {"vgg16": 3, "resnet18": 7}  # rounds
TARGET = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.occlusion", description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="NAME", help="of torchvision")
    parser.add_argument("--rounds", type=int, metavar="N", help="alternations of the two (3 of VGG16, 7 of others)")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", default="out/bench-occlusion.json", metavar="FILE")
    given = parser.parse_args()
    timing.prepare(given.device)
    found: dict[str, Any] = {**timing.circumstances(given.device), "load before": os.getloadavg()}
    timing.heading(
        "Occlusion beside a bare pass", ("model", "occlusion, images/s", "bare, images/s", "occlusion / bare", "")
    )
    for name in given.models:
        model = torchvision.models.get_model(name, weights=None).eval().to(given.device)
        rounds = given.rounds or MODELS.get(name, 7)
        timings = timing.measure(contenders(model, given.batch_size, given.device), rounds, given.device)
        reached = timing.ratio(timings["bare"], timings["occlusion"])
        rates = [number(1 / timings[which].median) for which in ("occlusion", "bare")]
        timing.line([name, *rates, timing.spread(reached), timing.verdict(reached[1], TARGET)])
        found[name] = {"reached": reached, **timing.as_json(timings)}
    timing.write(Path(given.out), {**found, "load after": os.getloadavg()})


def contenders(model: nn.Module, batch_size: int, device: str) -> dict[str, Contender]:
    """The default sweep of one image, and as many images in batches of the same size."""
    image = torch.randn(1, 3, 224, 224, device=device)
    net = dv.DeconvNet(model)
    places = dv.experiments.occlusion(net, image, batch_size=batch_size, progress=False).probability.numel()
    batch = torch.randn(batch_size, 3, 224, 224, device=device)

    def bare() -> None:
        with torch.inference_mode():
            for start in range(0, places, batch_size):
                model(batch[: min(batch_size, places - start)])

    def occluded() -> None:
        dv.experiments.occlusion(net, image, batch_size=batch_size, progress=False)

    return {"bare": Contender(bare, places), "occlusion": Contender(occluded, places)}


if __name__ == "__main__":
    main()
