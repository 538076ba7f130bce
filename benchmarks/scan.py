"""The cost of a scan on top of its forward passes, and whether its memory grows with the dataset.

    python -m benchmarks.scan                VGG16 and ResNet-50 at 224 x 224, all convolutions; then the memory
    python -m benchmarks.scan --model NAME   only one network of torchvision
    python -m benchmarks.scan --labels       only what labels cost: VGG16, 96 images of 6 labels; and, of drawn maxima,
                                             1,000 images of 12 labels and 16,000 images of 1,000 labels

Bare passes and scans alternate over the same batches, with the same batch size and memory format, in `inference_mode`.
The work at the end of a scan is included. If other programs run, processor time is more reliable than elapsed time.
What labels cost is also told by the processor time in their own functions, which noise of the machine hardly changes.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
import torchvision
from torch import nn

import deconvviz as dv
from deconvviz.data.batches import Batch
from deconvviz.io.restoring import Restored
from deconvviz.mining.label_scores import channel_labels
from deconvviz.mining.labelled_maxima import KeptImages, KeptRows, LabelledMaxima, most_images
from deconvviz.mining.reducer import Scanner
from deconvviz.mining.scanned_layers import ScannedLayers
from deconvviz.recording.isolation import as_it_was

if TYPE_CHECKING:
    from typing_extensions import Self

THREADS = 2
VGG16_CHANNELS = (64, 64, 128, 128, 256, 256, 256, *[512] * 6)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scan", description=__doc__.partition("\n")[0])
    parser.add_argument("--batches", type=int, default=12, help="batches (%(default)s)")
    parser.add_argument("--size", type=int, default=16, help="images in a batch (%(default)s)")
    parser.add_argument("--model", help="only this network of torchvision, and not the memory")
    parser.add_argument("--labels", action="store_true", help="only what labels cost in a scan of VGG16")
    parser.add_argument("--memory", type=int, metavar="IMAGES", help="only print the peak memory of one scan, in MiB")
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    if given.memory:
        print(peak(given.memory))
        return
    if given.labels:
        found = cost_of_labels(torchvision.models.vgg16(weights=None), given.batches // 2, given.size)
        print(json.dumps(found), flush=True)
        bare = found["processor"]["without, s"] / found["images"]
        for images, labels in ((1_000, 12), (16_000, 1_000)):
            print(json.dumps(labels_alone(VGG16_CHANNELS, images, labels, given.size, bare)), flush=True)
        return
    for name in ("vgg16", "resnet50") if given.model is None else (given.model,):
        for layout in (torch.contiguous_format, torch.channels_last):
            model = torchvision.models.get_model(name, weights=None).to(memory_format=layout)
            print(
                json.dumps({"model": name, "layout": str(layout), **overhead(model, given.batches, given.size)}),
                flush=True,
            )
    if given.model is not None:
        return
    peaks = {count: measured(count) for count in (1_000, 100_000)}
    print(json.dumps({"peak memory, MiB": peaks, "ratio": round(peaks[100_000] / peaks[1_000], 3)}))


def overhead(model: nn.Module, count: int, size: int) -> dict[str, Any]:
    """The median times of a bare pass and of a scan over the same batches, and the median of their ratios."""
    last = next(model.parameters()).is_contiguous(memory_format=torch.channels_last)
    x = torch.randn(size, 3, 224, 224).contiguous(
        memory_format=torch.channels_last if last else torch.contiguous_format
    )
    net = dv.DeconvNet(model)
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    scanner = Scanner(ScannedLayers.of(net, layers, x[:1], batched=True), k=9, per_image=1)
    bare, scanned = [], []

    def alone() -> None:
        with torch.inference_mode():
            _until(model, x, layers[-1])

    def with_scan(batch: Batch) -> None:
        with Restored(as_it_was(model), torch.no_grad()):  # as in `scan`
            scanner.run(batch)

    model.eval()
    alone()
    for number in range(count):
        x.normal_()  # new images, so that the top lists change as in a real scan
        batch = Batch(number, torch.arange(number * size, (number + 1) * size), x, (), ())
        for first in (number % 2, 1 - number % 2):
            if first:
                bare.append(_timed(alone))
            else:
                scanned.append(_timed(partial(with_scan, batch)))
    entering = _timed(scanner.results) / count
    found = {}
    for name, column in (("clock", 0), ("processor", 1)):
        own, other = [[float(row[column]) for row in rows] for rows in (bare, scanned)]
        ratios = sorted((b + float(entering[column])) / a for a, b in zip(own, other, strict=True))
        quartiles = [f"{ratios[len(ratios) * part // 4] - 1:.1%}" for part in (1, 3)]
        found[name] = {
            "bare, s": round(statistics.median(own), 3),
            "scanned, s": round(statistics.median(other), 3),
            "entering, s": round(float(entering[column]), 4),
            "overhead": f"{statistics.median(ratios) - 1:.1%}",
            "quartiles": quartiles,
        }
    return found


def cost_of_labels(model: nn.Module, count: int, size: int) -> dict[str, Any]:
    """The times of scans with and without labels over the same batches in turn, of which each label has 16 images.

    Beside them, what of the processor's time was spent in the functions of which a scan without labels has no need.
    """
    net, x = dv.DeconvNet(model.eval()), torch.randn(size, 3, 224, 224)
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    layered = ScannedLayers.of(net, layers, x[:1], batched=True)
    scanners = {kind: Scanner(layered, k=9, per_image=1) for kind in ("without", "with")}
    times: dict[str, list[torch.Tensor]] = {kind: [] for kind in scanners}
    kinds = max(1, count * size // 16)

    def scan(kind: str, batch: Batch) -> None:
        labels = [int(number) % kinds for number in batch.numbers] if kind == "with" else []
        with Restored(as_it_was(model), torch.no_grad()):
            scanners[kind].run(batch, labels)

    def finish(kind: str) -> None:
        scanners[kind].results()
        if kind == "with":
            own.timed(channel_labels)(own.timed(scanners[kind].labelled)(), [], torch.device("cpu"))

    with _Own() as own:
        for number in range(-1, count):
            x.normal_()
            batch = Batch(number + 1, torch.arange(size) + (number + 1) * size, x, (), ())
            for kind in ("without", "with") if number % 2 else ("with", "without"):
                took = _timed(partial(scan, kind, batch))
                if number >= 0:  # the first batch makes room
                    times[kind].append(took)
        in_batches = own.seconds
        ends = {kind: _timed(partial(finish, kind)) for kind in scanners}
    found: dict[str, Any] = {"images": count * size, "labels": kinds, "layers": len(layers)}
    for name, column in (("clock", 0), ("processor", 1)):
        total = {kind: float(torch.stack([*times[kind], ends[kind]])[:, column].sum()) for kind in scanners}
        ratios = [float(b[column] / a[column]) - 1 for a, b in zip(times["without"], times["with"], strict=True)]
        found[name] = {
            "without, s": round(total["without"], 2),
            "with, s": round(total["with"], 2),
            "more": f"{total['with'] / total['without'] - 1:.2%}",
            "more per batch, median": f"{statistics.median(ratios):.2%}",
            "end without, s": round(float(ends["without"][column]), 3),
            "end with, s": round(float(ends["with"][column]), 3),
        }
    found["processor, in labels' own functions"] = own.told(in_batches, count + 1, found["processor"]["without, s"])
    return found


def labels_alone(channels: Sequence[int], images: int, labels: int, size: int, bare: float) -> dict[str, Any]:
    """The processor time of labels in a scan, from drawn maxima, as a share of what its forward passes take.

    Args:
        channels: Of each layer.
        images: Number of images.
        labels: Number of labels, each of as many images.
        size: Images in a batch.
        bare: Processor seconds of a scan without labels for one image.
    """
    width, rows = sum(channels), most_images(sum(channels))
    kept, memory = KeptImages(rows, LabelledMaxima()), KeptRows(width, torch.device("cpu"), rows)
    maxima = torch.randn(size, width)
    with _Own() as own:
        for start in range(0, images, size):
            numbers = range(start, min(start + size, images))
            memory.write(kept.placed(numbers, [number % labels for number in numbers]), maxima[: len(numbers)])
            maxima.normal_()
        in_batches = own.seconds
        layers = zip(map(str, range(len(channels))), memory.values[:images].split(list(channels), 1), strict=True)
        found = own.timed(channel_labels)(own.timed(kept.sorted)(dict(layers)), [], torch.device("cpu"))
    told = own.told(in_batches, math.ceil(images / size), bare * images)
    return {"images": images, "labels": labels, "tested": len(found["0"].names), "processor": told}


class _Own(contextlib.ExitStack):
    """Counts the processor time of the functions of labels while it is entered.

    Attributes:
        seconds: Their time so far.
    """

    seconds = 0.0

    def __enter__(self) -> Self:
        for owner, name in ((KeptImages, "placed"), (KeptRows, "write")):
            self.enter_context(mock.patch.object(owner, name, self.timed(getattr(owner, name))))
        return self

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function, of which the time is counted: on one thread, since others spin where they have to wait."""

        @functools.wraps(function)
        def called(*args: Any) -> Any:
            torch.set_num_threads(1)
            before = time.process_time()
            result = function(*args)
            self.seconds += time.process_time() - before
            torch.set_num_threads(THREADS)
            return result

        return called

    def told(self, in_batches: float, batches: int, scan: float) -> dict[str, Any]:
        """In words, given the seconds at the end of the batches, their number, and the seconds of the scan."""
        return {
            "per batch, ms": round(1000 * in_batches / batches, 2),
            "end, s": round(self.seconds - in_batches, 3),
            "of the scan without": f"{self.seconds / scan:.2%}",
        }


class _Ended(Exception):
    """A pass has reached the last layer."""


def _until(model: nn.Module, x: torch.Tensor, layer: str) -> None:
    """A bare pass, which ends with a layer."""

    def end(module: nn.Module, args: Any, result: Any) -> None:
        raise _Ended

    handle = model.get_submodule(layer).register_forward_hook(end)
    try:
        with contextlib.suppress(_Ended):
            model(x)
    finally:
        handle.remove()


def _timed(run: Callable[[], object]) -> torch.Tensor:
    """Seconds by the clock and of the processor."""
    before = time.perf_counter(), time.process_time()
    run()
    return torch.tensor([time.perf_counter() - before[0], time.process_time() - before[1]], dtype=torch.float64)


class Synthetic(torch.utils.data.Dataset[torch.Tensor]):
    """Images that are generated on demand."""

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
    status = Path("/proc/self/status").read_text()  # getrusage reports the parent's peak if that was larger
    return round(int(status.partition("VmHWM:")[2].split()[0]) / 1024, 1)


def measured(count: int) -> float:
    command = [sys.executable, "-m", "benchmarks.scan", "--memory", str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
