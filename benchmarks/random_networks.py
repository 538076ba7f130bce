"""Compare many random networks with the reference: see docs/robustness.md.

    python -m benchmarks.random_networks --count 10000 --processes 2
    python -m benchmarks.random_networks --count 10000 --one-style    a third of the time
    python -m benchmarks.random_networks --count 10000 --one-style --half    a sixth of the time, as the tests do

Each network is checked in all three styles, or with --one-style in one of them, in turn; and in all ways of asking for
a projection, or with --half in every other one. For each network that fails, it writes a program that reproduces the
failure in as few steps as possible to out/random-networks/. Exits with status 1 if a network is wrong, refused or
raises an error.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import warnings
from collections import Counter
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

ROOT = Path(__file__).parents[1]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.random_networks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=10_000, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--processes", type=int, default=2, metavar="N")
    parser.add_argument("--one-style", action="store_true", help="each network in one of the styles, in turns")
    parser.add_argument("--half", action="store_true", help="with half of the comparisons, in turns")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "random-networks", metavar="FOLDER")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    seeds = range(given.first, given.first + given.count)
    started, total, slowest = time.monotonic(), Counter[str](), (0.0, -1)
    checked = partial(_checked, one_style=given.one_style, half=given.half)
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        for seed, counts, seconds, reports in tqdm(pool.imap_unordered(checked, seeds, 4), total=len(seeds)):
            total += counts
            slowest = max(slowest, (seconds, seed))
            for style, text in reports.items():
                (given.out / f"{seed}-{style}.py").write_text(text)
                print("\n".join(text.splitlines()[:2]), flush=True)
    for name in NAMES:
        print(f"{total[name]:>9,} {name}")
    print(f"in {(time.monotonic() - started) / 60:.0f} minutes; the slowest, {slowest[1]}, took {slowest[0]:.1f} s")
    return int(any(total[name] for name in ("wrong", "refused", "errors")))


NAMES = (
    *("networks", "steps", "checks", "exact", "wrong", "refused", "errors", "not decided", "without a reference"),
    *("judged by finite differences", "with windows", "for one sample only"),
)


def _checked(seed: int, one_style: bool, half: bool) -> tuple[int, Counter[str], float, dict[str, str]]:
    from tests.helpers.random_networks.check import EVERY, OF_A_BATCH, OF_ANOTHER_IMAGE, STYLES, check, report  # noqa: PLC0415  what the tests use
    from tests.helpers.random_networks.network import random_network  # noqa: PLC0415

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    started = time.monotonic()
    network = random_network(seed)
    counts = Counter({"networks": 1, "steps": len(network.steps), "for one sample only": int(network.alone)})
    reports = {}
    ways = (OF_A_BATCH, OF_ANOTHER_IMAGE)[seed % 2] if half else EVERY
    for style in (STYLES[seed % 3],) if one_style else STYLES:
        counts["checks"] += 1
        try:
            found = check(network, style, ways=ways)
        except Exception as error:  # the reference itself fails: autograd cannot run backward
            counts["without a reference"] += 1
            print(f"{seed}, {style}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        counts["judged by finite differences"] += found.judged
        counts["with windows"] += found.windows > 0
        kinds = {fault.split()[0] for fault in found.faults}
        if kinds:
            counts["wrong" if kinds & {"wrong", "reference:"} else "errors" if "error" in kinds else "refused"] += 1
            reports[style] = report(network, style)
        else:
            counts["not decided" if found.unstable else "exact"] += 1
    return seed, counts, time.monotonic() - started, reports


if __name__ == "__main__":
    sys.exit(main())
