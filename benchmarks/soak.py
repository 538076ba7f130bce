"""Long runs in one process: does memory stay constant, and is nothing left behind?

    python -m benchmarks.soak                    10,000 traces with projections, then a scan of 200,000 images
    python -m benchmarks.soak --device cuda      the same on a GPU, with its allocator

The work mixes networks, layers, styles, windows and image sizes, and one call in five fails
(`tests/helpers/mixed_workload.py`). Memory is the resident size of the process after the C library's allocator has
returned freed memory to the system. Its median over the last tenth of the run is compared with that over the second
tenth; the reported maximum includes memory that the allocator keeps. Writes out/soak.json. Exits with status 1 if
memory grew by more than 2 % or something was left behind.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import deconvviz as dv
from benchmarks import timing
from tests.helpers.mixed_workload import Generated, give_back, held, resident, rounds, scanned

LIMIT = 0.02
SAMPLES = 200  # during a run


class Watch:
    """Samples memory during a run."""

    def __init__(self, count: int, device: str) -> None:
        self.count, self.device = count, device
        self.every = max(1, count // SAMPLES)
        self.resident: list[float] = []
        self.kept: list[float] = []  # including memory that the allocator keeps
        self.allocated: list[float] = []

    def __call__(self, number: int) -> None:
        if number % self.every == 0:
            self.kept.append(resident())
            give_back()
            self.resident.append(resident())
            self.allocated.append(torch.cuda.memory_allocated() / 2**20 if self.device == "cuda" else 0.0)

    def early_and_late(self, values: list[float]) -> tuple[float, float]:
        tenth = max(1, len(values) // 10)
        return statistics.median(values[tenth : 2 * tenth]), statistics.median(values[-tenth:])


def traces(count: int, watch: Watch) -> None:
    for number in rounds(count, device=watch.device):
        watch(number)


def scan(count: int, watch: Watch) -> None:
    net = dv.DeconvNet(scanned().to(watch.device))
    dv.scan(net, Generated(count, 16, watch), batch_size=100, progress=False)


def measured(name: str, run: Callable[[int, Watch], None], count: int, device: str) -> dict[str, Any]:
    run(max(10, count // 20), Watch(count, device))  # allocate what is allocated only once
    before, watch = held(), Watch(count, device)
    run(count, watch)
    left = {what: [before[what], number] for what, number in held().items() if number != before[what]}
    row: dict[str, Any] = {"run": name, "count": count, "left": left, "MiB": watch.resident, "kept, MiB": watch.kept}
    of_the_gpu = ("of the GPU", watch.allocated, watch.allocated)
    for kind, values, most in (("memory", watch.resident, watch.kept), of_the_gpu):
        early, late = watch.early_and_late(values)
        row[kind] = [early, late, late / early - 1 if early else 0.0]
        if early:
            row["ok"] = row.get("ok", not left) and late / early - 1 <= LIMIT
            cells = [name, f"{count:,}", kind, f"{early:,.1f}", f"{late:,.1f}", f"{max(most):,.1f}"]
            timing.line(
                [*cells, f"{100 * row[kind][2]:+.2f} %", str(left or "nothing"), "ok" if row["ok"] else "**NOT**"]
            )
    return row


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--traces", type=int, default=10_000, help="(%(default)s)")
    parser.add_argument("--images", type=int, default=200_000, help="(%(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=Path("out/soak.json"))
    given = parser.parse_args()
    timing.prepare(given.device)
    columns = ("run", "rounds", "memory", "early, MiB", "late, MiB", "most, MiB", "grew", "left", "at most 2 %")
    timing.heading("Long runs", columns)
    rows = [
        measured("traces and projections", traces, given.traces, given.device),
        measured("scan", scan, given.images, given.device),
    ]
    timing.write(given.out, {"circumstances": timing.circumstances(given.device), "rows": rows})
    return int(not all(row["ok"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
