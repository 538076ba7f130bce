"""Images per second of occlusion, compared with bare forward passes of the same batches.

    python -m benchmarks.occlusion            VGG16 and ResNet-18 at 224 x 224, batches of 32

First, one batch of the sweep alternates with one bare batch, so that other load on the machine affects both equally.
Then the whole call runs on one image with 18 x 18 positions. It includes the recorded runs before the sweep and the
projection after it.
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
from deconvviz.experiments.occlusion import _Followed

TARGET = 0.9
ROWS = 4  # rows of patch positions in a batch


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.occlusion", description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["vgg16", "resnet18"], metavar="NAME", help="of torchvision")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="of one batch each (%(default)s)")
    parser.add_argument("--calls", type=int, default=3, metavar="N", help="rounds of the whole call (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="a multiple of 4 (%(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", default="out/bench-occlusion.json", metavar="FILE")
    given = parser.parse_args()
    timing.prepare(given.device)
    found: dict[str, Any] = {**timing.circumstances(given.device), "load before": os.getloadavg()}
    timing.heading("Occlusion beside a bare pass", ("model", "what", "images/s", "bare, images/s", "of bare", ""))
    for name in given.models:
        model = torchvision.models.get_model(name, weights=None).eval().to(given.device)
        for what, rounds, contenders in (
            ("sweep", given.rounds, batches(model, given.batch_size, given.device)),
            ("whole call", given.calls, calls(model, given.batch_size, given.device)),
        ):
            if rounds:
                found[f"{name}, {what}"] = compared(name, what, contenders, rounds, given.device)
    timing.write(Path(given.out), {**found, "load after": os.getloadavg()})


def compared(name: str, what: str, contenders: dict[str, Contender], rounds: int, device: str) -> dict[str, Any]:
    """Time two contenders and print a line of the table."""
    timings = timing.measure(contenders, rounds, device)
    reached = timing.ratio(timings["bare"], timings["occlusion"])
    rates = [number(1 / timings[which].median) for which in ("occlusion", "bare")]
    timing.line([name, what, *rates, timing.spread(reached), timing.verdict(reached[1], TARGET)])
    return {"reached": reached, **timing.as_json(timings)}


def batches(model: nn.Module, size: int, device: str) -> dict[str, Contender]:
    """Contenders: one batch of the sweep, and one bare batch."""
    image = torch.randn(1, 3, 224, 224, device=device)
    colours = torch.zeros(1, 3, 1, 1, device=device)
    followed = _Followed(dv.DeconvNet(model), image, None, colours, batch_size=size, classes=())
    followed.choose(None, None)
    tops, lefts = range(0, 20 * ROWS, 20), range(0, 20 * (size // ROWS), 20)
    return {
        "bare": bare(model, size, size, device),
        "occlusion": Contender(lambda: followed.sweep((44, 44), tops, lefts, False), len(tops) * len(lefts)),
    }


def calls(model: nn.Module, size: int, device: str) -> dict[str, Contender]:
    """Contenders: the default call on one image, and as many bare forward passes in batches of the same size."""
    image, net, places = torch.randn(1, 3, 224, 224, device=device), dv.DeconvNet(model), 18 * 18

    def occluded() -> None:
        found = dv.experiments.occlusion(net, image, batch_size=size, progress=False)
        assert found.probability.numel() == places

    return {"bare": bare(model, size, places, device), "occlusion": Contender(occluded, places)}


def bare(model: nn.Module, size: int, count: int, device: str) -> Contender:
    """Contender: the model alone, in batches."""
    batch = torch.randn(size, 3, 224, 224, device=device)

    def run() -> None:
        with torch.inference_mode():
            for start in range(0, count, size):
                model(batch[: min(size, count - start)])

    return Contender(run, count)


if __name__ == "__main__":
    main()
