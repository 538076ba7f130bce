"""Everything that is measured on a GPU, in one run of at most six minutes on an H100.

    python -m benchmarks.gpu                         all parts, into out/gpu.md and out/gpu.json
    python -m benchmarks.gpu --parts windows scans   some of them
    python -m benchmarks.gpu --parts counts memory   what a GPU would be asked to do and to hold, counted without one
    python -m benchmarks.gpu --smoke                 everything small, on the CPU where there is no card

Needs captum and zennit beside deconvviz. Contenders alternate in one run; ratios are medians of the ratios within a
round. Results are written after each part, so that a run that is cut short leaves what it has measured.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import torch

from benchmarks import timing
from benchmarks.gpu import counts, exactness, mining, projecting
from benchmarks.gpu.settings import Row, Run

Part = Callable[[Run], list[Row]]
PARTS: dict[str, Part] = {
    "counts": counts.counts,
    "windows": projecting.windows,
    "whole_maps": projecting.whole_maps,
    "one_image": projecting.one_image,
    "all_units": projecting.all_units,
    "memory": projecting.memory,
    "exactness": exactness.exactness,
    "tests": exactness.marked_tests,
    "scans": mining.scans,
    "files": mining.files,
}


COUNTED = frozenset({"counts", "memory"})  # without a GPU


class _Both(io.TextIOBase):
    """Prints, and keeps what was printed."""

    def __init__(self, out: TextIO) -> None:
        self.out, self.kept = out, io.StringIO()

    def write(self, text: str) -> int:
        self.kept.write(text)
        return self.out.write(text)

    def flush(self) -> None:
        self.out.flush()


def main() -> None:
    names = [*PARTS, "atlas"]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=names, default=names, metavar="PART", help=", ".join(names))
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--photographs", type=Path, help="a folder for the atlas (default: drawn clouds)")
    parser.add_argument("--smoke", action="store_true", help="few units, small images: does everything run?")
    parser.add_argument("--out", type=Path, default=Path("out/gpu.json"), help="beside it a .md (%(default)s)")
    options = parser.parse_args()
    if not torch.cuda.is_available() and not options.smoke and not COUNTED.issuperset(options.parts):
        parser.error("torch sees no GPU here; --smoke runs everything small on the CPU")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    timing.prepare(device)
    run = Run(device, options.smoke, 1 if options.smoke else options.rounds)
    parts = {**PARTS, "atlas": lambda run: mining.atlas(run, options.photographs)}
    results: dict[str, Any] = {"circumstances": timing.circumstances(device), "smoke": options.smoke, "parts": {}}
    failed = []
    both = _Both(sys.stdout)
    with contextlib.redirect_stdout(both):
        for name in options.parts:
            results["parts"][name] = measured = _measured(parts[name], run)
            failed += [name] if "error" in measured else []
            timing.write(options.out, results)
            options.out.with_suffix(".md").write_text(both.kept.getvalue())
        _summary(results)
    options.out.with_suffix(".md").write_text(both.kept.getvalue())
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _measured(part: Part, run: Run) -> dict[str, Any]:
    """The goals of a part, what was measured, and how long it took; and what failed, so that the others still run."""
    started = time.perf_counter()
    run.failures.clear()
    measured: dict[str, Any] = {"goals": run.tried(lambda: part(run), "the part") or []}
    if run.failures:
        measured["error"] = "; ".join(run.failures)
    return {**measured, "seconds": round(time.perf_counter() - started, 1)}


def _summary(results: dict[str, Any]) -> None:
    timing.heading("Goals", ("what", "goal", "measured", ""))
    for name, part in results["parts"].items():
        if "error" in part:
            timing.line([f"{name}: something failed, see above", "", "", "**NOT**"])
        for row in part["goals"]:
            reached = "" if results["smoke"] else "ok" if row["reached"] else "**NOT**"
            timing.line([row["what"], row["goal"], timing.number(row["measured"]), reached])
    seconds = {name: part["seconds"] for name, part in results["parts"].items()}
    print(
        f"\n{sum(seconds.values()):.0f} s in all: " + ", ".join(f"{name} {part:.0f}" for name, part in seconds.items())
    )


if __name__ == "__main__":
    main()
