"""Times contenders in rounds of changing order; prints medians and quartiles as Markdown and writes JSON."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

THREADS = 2


@dataclass(frozen=True)
class Contender:
    """A call that projects `units` units (or passes that many images)."""

    run: Callable[[], Any]
    units: int


@dataclass(frozen=True)
class Timing:
    """Seconds per unit: of the first call, which is left out if it was a warm-up, and of each round."""

    first: float
    rounds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


def timed(contender: Contender, device: str) -> float:
    """Time one call, in seconds per unit."""
    gc.collect()
    _synchronise(device)
    started = time.perf_counter()
    contender.run()
    _synchronise(device)
    return (time.perf_counter() - started) / contender.units


def measure(contenders: Mapping[str, Contender], rounds: int, device: str, warm: bool = True) -> dict[str, Timing]:
    """Time every contender once per round. Rounds start with different contenders; every other one runs backwards."""
    first = {name: timed(contender, device) for name, contender in contenders.items()} if warm else {}
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in _turn(list(contenders), number):
            found[name].append(timed(contenders[name], device))
    return {name: Timing(first.get(name, seconds[0]), seconds) for name, seconds in found.items()}


def _turn(names: list[str], number: int) -> list[str]:
    start = number % len(names)
    turned = names[start:] + names[:start]
    return turned if number % 2 == 0 else turned[::-1]


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def quartiles(values: list[float]) -> list[float]:
    """Lower quartile, median, upper quartile."""
    if len(values) < 2:
        return values * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def ratio(slow: Timing, fast: Timing) -> list[float]:
    """Quartiles of the ratios within each round."""
    return quartiles([a / b for a, b in zip(slow.rounds, fast.rounds, strict=True)])


def as_json(found: Mapping[str, Timing]) -> dict[str, Any]:
    return {
        name: {"first": timing.first, "quartiles": quartiles(timing.rounds), "rounds": timing.rounds}
        for name, timing in found.items()
    }


# Text


def number(value: float) -> str:
    """A number with three significant digits: 0.0123, 4.56, 789, 12,300."""
    if value >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    return f"{number(1000 * seconds)} ms" if seconds < 1 else f"{number(seconds)} s"


def spread(three: list[float]) -> str:
    """A median with its quartiles."""
    low, middle, high = map(number, three)
    return f"**{middle}** ({low} to {high})"


def verdict(value: float, target: float, at_most: bool = False) -> str:
    return "ok" if (value <= target if at_most else value >= target) else "**NOT**"


def heading(title: str, columns: Iterable[str]) -> None:
    """Print the head of a Markdown table whose first column is text and whose other columns are numbers."""
    columns = list(columns)
    print(f"\n**{title}**\n")
    line(columns)
    line(["---"] + ["--:"] * (len(columns) - 1))


def line(cells: Iterable[str]) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


# The machine


def circumstances(device: str) -> dict[str, Any]:
    """The machine and the versions of Python and packages."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "versions": {name: _version(name) for name in ("torch", "torchvision", "deconvviz", "captum", "zennit")},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    names = [each for each in path.read_text().splitlines() if "model name" in each] if path.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor()


def prepare(device: str) -> None:
    """Use two threads, and full float32 precision on CUDA too."""
    torch.set_num_threads(THREADS)
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def write(path: Path, contents: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(contents, indent=1) + "\n")
