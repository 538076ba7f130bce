"""What mining costs beside the forward pass it rides on, and whether its memory grows with the dataset.

    python -m benchmarks.scan            VGG16 at 224 x 224, all convolution layers; then 1,000 and 100,000 images

Bare and scanned passes alternate over the same batches: same batch size, same memory format, `inference_mode`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

import deconvviz as dv
from deconvviz.data.batches import Batch
from deconvviz.mining.layer_results import LayerResults
from deconvviz.mining.reducer import Scanner
from deconvviz.mining.scanned_layers import ScannedLayers
from deconvviz.recording.isolation import as_it_was

THREADS = 2


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scan", description=__doc__.partition("\n")[0])
    parser.add_argument("--batches", type=int, default=12, help="batches of 16 images (%(default)s)")
    parser.add_argument("--memory", type=int, metavar="IMAGES", help="only print the peak memory of one scan, in MiB")
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    if given.memory:
        print(peak(given.memory))
        return
    for name, model in (
        ("VGG16", torchvision.models.vgg16(weights=None)),
        ("VGG16, channels_last", torchvision.models.vgg16(weights=None).to(memory_format=torch.channels_last)),
    ):
        print(json.dumps({"model": name, **overhead(model, given.batches)}))
    peaks = {count: measured(count) for count in (1_000, 100_000)}
    print(json.dumps({"peak memory, MiB": peaks, "ratio": round(peaks[100_000] / peaks[1_000], 3)}))


def overhead(model: nn.Module, count: int, size: int = 16) -> dict[str, Any]:
    """Medians of a bare and of a scanned pass over the same batches, and the median of their ratios."""
    last = next(model.parameters()).is_contiguous(memory_format=torch.channels_last)
    x = torch.randn(size, 3, 224, 224).contiguous(
        memory_format=torch.channels_last if last else torch.contiguous_format
    )
    net = dv.DeconvNet(model)
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    scanner = Scanner(ScannedLayers.of(net, layers, x[:1], batched=True), k=9, per_image=1)
    features = model.features  # the pass ends with the last layer that is scanned
    results: dict[str, LayerResults] = {}
    bare, scanned = [], []
    with as_it_was(model), torch.inference_mode():
        features(x)
        for number in range(count):
            x.normal_()  # new images, so that lists change as they do in a scan
            for first in (number % 2, 1 - number % 2):
                started = time.perf_counter()
                if first:
                    features[:-2](x)
                    bare.append(time.perf_counter() - started)
                else:
                    batch = Batch(number, torch.arange(number * size, (number + 1) * size), x, (), ())
                    scanner.run(batch, results)
                    scanned.append(time.perf_counter() - started)
    ratios = sorted(b / a for a, b in zip(bare, scanned, strict=True))
    return {
        "bare, s": round(statistics.median(bare), 3),
        "scanned, s": round(statistics.median(scanned), 3),
        "overhead": f"{statistics.median(ratios) - 1:.1%}",
        "quartiles": [f"{ratios[len(ratios) // 4] - 1:.1%}", f"{ratios[3 * len(ratios) // 4] - 1:.1%}"],
    }


class Synthetic(torch.utils.data.Dataset[torch.Tensor]):
    """Images made when they are asked for."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((3, 32, 32), index % 1000 / 1000)


def peak(count: int) -> float:
    """The peak resident memory of this process after a scan, in MiB."""
    model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(64, 128, 3, stride=4))
    dv.scan(dv.DeconvNet(model), Synthetic(count), progress=False)
    status = Path("/proc/self/status").read_text()  # getrusage's number is that of the parent where it was larger
    return round(int(status.partition("VmHWM:")[2].split()[0]) / 1024, 1)


def measured(count: int) -> float:
    command = [sys.executable, "-m", "benchmarks.scan", "--memory", str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
