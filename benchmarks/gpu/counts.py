"""What a GPU is asked to do, counted without one: operations launched, copies sent, reads that make the host wait.

A pretend accelerator of the tests counts them (`tests/helpers/pretend_device.py`). Its kernels are the CPU's, so it
tells how many steps there are, not how long they take.
"""

from __future__ import annotations

import torch
from torch import nn

import deconvviz as dv
from benchmarks import timing
from benchmarks.gpu import predicting
from benchmarks.gpu.settings import Row, Run, at_most
from benchmarks.projection import random_places
from benchmarks.rivals import Bare, build

SIDE, IMAGES = 64, 20
BATCH = 4
READS = {"crops": 5, "whole maps": 3}  # wanted at most, whatever the number of units


def counts(run: Run) -> list[Row]:
    """Crops for 10, 1,000 and 10,000 units, whole maps for 1 and 16, and `scan` per batch."""
    if run.device == "cuda":
        print("\nCounted on machines without a GPU.")
        return []
    timing.heading("Steps: VGG16, 20 images of 64 x 64", ("call", "units", "launches", "copies sent", "reads"))
    rows = []
    for layer, numbers in (("features.2", (10, 1_000, 10_000)), ("features.7", (10, 1_000))):
        rows += [_projected(layer, number, "auto", "crops") for number in numbers[: run.count(3, 1)]]
    rows += [_projected("features.28", number, "full", "whole maps") for number in (1, 16)[: run.count(2, 1)]]
    return [*rows, *_scanned(), *predicting.whole_maps(run)]


def _projected(layer: str, number: int, window: str, kind: str) -> Row:
    from tests.helpers.pretend_device import pretending  # noqa: PLC0415 - patches torch

    model = build("vgg16")
    places = random_places(Bare(model, layer)(torch.zeros(1, 3, SIDE, SIDE)).shape[1:], number)
    units = [(n % IMAGES, channel, position) for n, (channel, position) in enumerate(places)]
    x = torch.randn(IMAGES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    with pretending("cuda") as device:
        net, there = dv.DeconvNet(model.to(device.name)), x.to(device.name)
        with device.counted() as counted:
            net.project_units(there, layer, units, window=window)
    steps = counted.launches, counted.uploads, counted.host_reads
    timing.line([f"{kind}, {layer}", f"{number:,}", *map(str, steps)])
    return at_most(f"{kind}, {layer}, {number:,} units: reads by the host", READS[kind], counted.host_reads)


def _scanned() -> list[Row]:
    """The difference between scans of 40 and of 8 images, per batch and layer, without the network's own operations."""
    from tests.helpers.pretend_device import pretending  # noqa: PLC0415 - patches torch

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 6, 3), nn.ReLU())
    layers, images = ["0", "3"], torch.randn(40, 3, 12, 12)
    launches, reads = [], []
    with pretending("cuda") as device:
        net, x = dv.DeconvNet(model.to(device.name)), images.to(device.name)
        with device.counted() as own, torch.no_grad():
            model[:4](x[:BATCH])  # a scan ends with the last of its layers
        for count in (8, 40):
            with device.counted() as counted:
                dv.scan(net, images[:count], layers=layers, batch_size=BATCH, progress=False)
            launches.append(counted.launches)
            reads.append(counted.host_reads)
    batches = 32 // BATCH
    per_layer = ((launches[1] - launches[0]) / batches - own.launches) / len(layers)
    per_batch = (reads[1] - reads[0]) / batches
    timing.line(["scan, per batch and layer", "", f"{per_layer:g}", "", f"{per_batch:g}"])
    return [
        at_most("scan: operations per layer and batch", 4, per_layer),
        at_most("scan: reads by the host per batch, between saves", 0, per_batch),
    ]
