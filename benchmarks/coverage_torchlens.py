"""Ask TorchLens for the networks of the coverage table, and write docs/torchlens.md.

    python -m benchmarks.coverage_torchlens                  every network that is not in the cache
    python -m benchmarks.coverage_torchlens --only '^timm'   networks whose key (family/group/name) matches
    python -m benchmarks.coverage_torchlens --only '^$'      only write the document from the cache

TorchLens explains the output of a model, so one unit of the last layer is compared. Each network runs in a worker
process with limits on time and memory, one at a time. Needs the packages of the extras `coverage` and `dev`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.coverage import ROOT, Worker
from deconvviz.errors import InputError

EXACT = 1e-4  # of TorchLens, as of Captum in the coverage table: this only asks whether it computes the same thing
ROUNDING = 1e-2  # an error up to this may be rounding, so both are compared again in float64
REFUSALS = {
    "matched ZERO exact-ReLU sites": "refused: it has no ReLU",
    "did not reproduce the plain forward": "refused: with rewritten ReLUs, the network returned other numbers",
}
Row = dict[str, Any]

INTRODUCTION = """\
# Coverage: TorchLens

<!-- Written by `python -m benchmarks.coverage_torchlens`; edit that, not this. -->

`torchlens.attribution.deconvolution` on {rows} networks of the [coverage table](coverage.md), beside deconvviz.{left}

**What was compared.** The networks, their random weights and the reference are those of the coverage table. TorchLens
explains what a model returns, so one unit is compared per network: one channel of its last layer, or of the last one
with a living unit, at its strongest position, with a seed of one. The number is ||a - b|| / ||b||; up to 1e-4 counts
as exact, as for Captum in that table. Where TorchLens lies between that and 0.01, or deconvviz above it, rounding may
be the reason, and both are compared again in float64. TorchLens rewrites ReLUs and says so: where a network has none it
refuses, and other rectifiers beside ReLUs (SiLU, GELU, hardswish, ReLU6) keep their plain gradient, which it lists. Its
definition of a deconvnet is narrower than the one compared here, so *differs* does not mean that it breaks a promise.

Checked on {date} with {versions}.
To run it again: `python -m benchmarks.coverage_torchlens`.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the selected networks, write the cache after each one, and the document at the end."""
    os.environ["PYTORCH_JIT"] = "0"  # as in benchmarks.coverage
    os.environ["MPLCONFIGDIR"] = tempfile.gettempdir()
    from benchmarks.architectures import FAMILIES, architectures  # noqa: PLC0415

    given = _parser().parse_args(arguments)
    rows = {key: row for key, row in architectures().items() if row.family in FAMILIES}
    cache: dict[str, Row] = json.loads(given.cache.read_text()) if given.cache.exists() else {}
    todo = [key for key in rows if re.search(given.only, key) and key not in cache]
    given.cache.parent.mkdir(parents=True, exist_ok=True)
    worker = Worker("coverage_torchlens")
    try:
        for number, key in enumerate(todo, 1):
            cache[key] = worker.check(key, given.limit)
            given.cache.write_text(json.dumps(cache, indent=1))
            print(f"{number}/{len(todo)} {key}: {cache[key]}", flush=True)
    finally:
        worker.stop()
    known = {key: cache[key] for key in rows if key in cache}
    given.out.write_text(document(known, len(rows)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.coverage_torchlens",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", metavar="REGEX", help="networks whose key (family/group/name) matches")
    parser.add_argument("--cache", type=Path, default=ROOT / "out" / "coverage-torchlens.json", metavar="FILE")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "torchlens.md", metavar="FILE")
    parser.add_argument("--limit", type=float, default=120, metavar="SECONDS", help="for one network (default: 120)")
    return parser


# One network, in the worker


class Returning(nn.Module):
    """A model that returns what one call of one of its modules returned, as it was then."""

    def __init__(self, model: nn.Module, call: Any) -> None:
        super().__init__()
        self.model, self.call = model, call

    def forward(self, x: Tensor) -> Tensor:
        """The tensor of the call."""
        caught: list[Tensor] = []

        def catch(module: nn.Module, args: object, output: Any) -> Any:
            caught.append(self.call.tensor(output))
            return output.clone() if isinstance(output, Tensor) else output  # a later operation may work in place

        handle = dict(self.model.named_modules())[self.call.module].register_forward_hook(catch)
        try:
            self.model(x)
        finally:
            handle.remove()
        return caught[self.call.number]


def check(architecture: Any) -> Row:
    """Build the network, compare one unit of its last layer with the reference, and ask TorchLens for the same."""
    from benchmarks.check import enliven  # noqa: PLC0415  imports what may not be imported before torch is set

    started = time.monotonic()
    torch.manual_seed(zlib.crc32(architecture.key.encode()))
    model = architecture.build().eval().requires_grad_(False)
    x = torch.randn(architecture.samples, *architecture.shape)
    enliven(model, x)
    try:
        row = compared(model, x)
    except InputError:  # an overflow of float32
        row = {"ours": math.inf}
    if row["ours"] > EXACT or EXACT < row.get("theirs", 0.0) <= ROUNDING:
        row = {**compared(model.double(), x.double()), "remark": "in float64"}
    return row | {"seconds": time.monotonic() - started}


def compared(model: nn.Module, x: Tensor) -> Row:
    """The errors of deconvviz and of TorchLens for one unit of the last layer."""
    from benchmarks.check import compare  # noqa: PLC0415
    from tests.helpers.autograd_reference import relative_error  # noqa: PLC0415

    last = compare(model, x, wanted=1)[0][-1]
    row: Row = {"layer": last.name, "ours": last.error}
    try:
        theirs, listed = asked(Returning(model, last.call), x[:1], last.unit)
    except Exception as error:
        refusals = [words for part, words in REFUSALS.items() if part in str(error)]
        said = refusals or [f"{type(error).__name__}: {error}".partition("\n")[0]]
        return row | {"status": "refused" if refusals else "error", "said": said[0]}
    row["theirs"] = relative_error(theirs.double(), last.pixels.double())
    return row | {"status": "exact" if row["theirs"] <= EXACT else "differs", "listed": listed}


def asked(model: nn.Module, x: Tensor, unit: tuple[int, ...]) -> tuple[Tensor, list[str]]:
    """TorchLens's deconvolution of one unit, and the other activations that it lists."""
    from torchlens.attribution import deconvolution  # noqa: PLC0415  slow to import, and only this needs it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = deconvolution(model, x, target=lambda made: made[unit])
    return result.values, list(result.extra["observed_activations"])


# The document


def document(known: dict[str, Row], count: int) -> str:
    """The whole page."""
    from benchmarks.architectures import FAMILIES  # noqa: PLC0415
    from benchmarks.report import circumstances  # noqa: PLC0415

    facts = circumstances(("torch", "torchvision", "timm", "torchlens"), [])
    rows = f"{len(known)} of the {count}" if len(known) < count else f"all {count}"
    left = "\nThe others were not asked." if len(known) < count else ""
    lines = [
        "## In numbers",
        "",
        "| | networks | deconvviz exact | TorchLens exact | differs | refused | error |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *(_counted(title, _of(known, family)) for family, title in FAMILIES.items() if _of(known, family)),
        _counted("all", known),
        "",
    ]
    parts = [INTRODUCTION.format(rows=rows, left=left, **facts), "\n".join(lines)]
    for family, title in FAMILIES.items():
        if members := _of(known, family):
            table = ["| network | layer | deconvviz | TorchLens | it lists |", "|---|---|---:|---|---|"]
            parts.append(f"## {title}\n\n" + "\n".join([*table, *map(_line, members, members.values())]) + "\n")
    return "\n".join(parts)


def _of(known: dict[str, Row], family: str) -> dict[str, Row]:
    return {key: row for key, row in known.items() if key.partition("/")[0] == family}


def _counted(title: str, rows: dict[str, Row]) -> str:
    states = Counter(row["status"] for row in rows.values())
    ours = sum(row.get("ours", 1.0) <= EXACT for row in rows.values())
    errors = states["error"] + states["failed"]
    numbers = [len(rows), ours, states["exact"], states["differs"], states["refused"], errors]
    return f"| {title} | " + " | ".join(map(str, numbers)) + " |"


def _line(key: str, row: Row) -> str:
    _, group, name = key.split("/", 2)
    shown = name if group == "classification" else f"{name} ({group})"
    if "ours" not in row:
        return f"| {shown} | | | {row['status']}: {_cell(row['reason'])} | |"
    said = {"exact": "exact", "differs": f"differs: {row.get('theirs', 0):.1g}"}.get(row["status"]) or _cell(
        row["said"]
    )
    shown += f", {row['remark']}" if "remark" in row else ""
    return f"| {shown} | {row['layer']} | {row['ours']:.0e} | {said} | {', '.join(row.get('listed', []))} |"


def _cell(text: str) -> str:
    text = " ".join(text.replace("|", "\\|").split())
    return text if len(text) <= 160 else f"{text[:159]}…"


if __name__ == "__main__":
    sys.exit(main())
