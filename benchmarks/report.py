"""Writing docs/coverage.md and docs/packages.md from cached results."""

from __future__ import annotations

import datetime
import platform
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import deconvviz
from benchmarks.architectures import FAMILIES, PACKAGES, Architecture
from benchmarks.check import NOT_THE_LAST_CALL
from benchmarks.zoo import LEFT_OUT, ZOO, zoo

Row = dict[str, Any]
Known = dict[str, tuple[Architecture, Row]]

INTRODUCTION = """\
# Coverage

<!-- Written by `python -m benchmarks.coverage`; edit that, not this. -->

The projections of deconvviz, compared with autograd on {rows} networks.

**What was checked.** Each network is built with random weights. Its norms get random statistics, and layer scales and
weights that start at zero or one get random values, because those could hide a wrong rule. Six layers are tested,
spread evenly over the layer table from the first to the last. In each, one channel is projected from its strongest
position, for both samples of a batch. The projection in the style `deconvnet` is compared with torch's own gradient
of the same network, with the backward passes of its rectifiers replaced by relu(signal) and that of local response
normalisation by the identity. This reference (`tests/helpers/autograd_reference.py`) shares no code with the library.
Networks of other packages are tested in more ways and have [their own page](packages.md), and what TorchLens does with
these has [another](torchlens.md).

**The columns.** *Error* is the largest ||a - b|| / ||b|| over these layers in float32; up to 1e-5 counts as exact.
Deep networks whose activations grow from layer to layer lose more than that to rounding. For these the comparison is
repeated in float64, where up to 1e-10 counts as exact, and the remark gives that error. *Linearised* counts, by kind,
the operations without a mirror, which are replaced by their vector-Jacobian product: gates, softmax, layer norms and
others. *Captum* is the result of `captum.attr.NeuronDeconvolution` for the same units, with a tolerance of 1e-4:
`exact`, or the largest error and the number of layers that differ, or its error message. If it is not exact and the
network has in-place modules, the comparison is repeated with these made out-of-place.

Checked on {date} with {versions}.
To run it again: `make coverage-table`; {minutes:.0f} minutes on two cores.
"""


def is_wrong(row: Row) -> bool:
    return row["status"] not in ("exact", "refused")


def in_one_line(key: str, row: Row) -> str:
    """One line of progress for a checked network."""
    if "layers" not in row:
        return f"{key}: {row['status'].upper()} {row['reason']}"
    if "captum" not in row:
        told = (
            f"{row['projections']} projections, {row['seconds']:.1f} s{', ' + row['reason'] if 'reason' in row else ''}"
        )
        return f"{key}: {row['status']} {row['error']:.1e} {told}"
    seconds = f"{row['seconds']:.1f}+{row['captum_seconds']:.1f} s"
    return (
        f"{key}: {row['status']} {row['error']:.1e} {row['layers']} layers, captum {captum(row['captum'])}, {seconds}"
    )


def summary(known: Known) -> str:
    """The rows that are wrong, the slowest ones, and four totals."""
    states = Counter(row["status"] for _, row in known.values())
    lines = [f"{key}: {row['status']}: {row['reason']}" for key, (_, row) in known.items() if is_wrong(row)]
    slowest = sorted(known, key=lambda key: -_seconds(known[key][1]))[:10]
    lines.append("slowest: " + ", ".join(f"{key} {_seconds(known[key][1]):.0f} s" for key in slowest))
    wrong = sum(is_wrong(row) for _, row in known.values())
    lines.append(f"{len(known)} rows, {states['exact']} exact, {states['refused']} refused, {wrong} wrong")
    return "\n".join(lines)


def _seconds(row: Row) -> float:
    return row.get("seconds", 0) + row.get("captum_seconds", 0)


def document(known: Known) -> str:
    """The whole page."""
    rows = [row for _, row in known.values()]
    names = ("torch", "torchvision", "timm", "transformers", "captum")
    parts = [INTRODUCTION.format(rows=len(rows), **circumstances(names, rows)), _counts(known)]
    for family, title in FAMILIES.items():
        members = [(architecture, row) for architecture, row in known.values() if architecture.family == family]
        if members:
            parts.append(f"## {title}\n\n{_table(members)}")
    return "\n".join(parts)


def circumstances(names: Iterable[str], rows: list[Row]) -> dict[str, Any]:
    versions = [f"deconvviz {deconvviz.__version__}", f"Python {platform.python_version()}"]
    versions += [f"{name} {version(name).partition('+')[0]}" for name in names]
    minutes = sum(map(_seconds, rows)) / 60
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date(),
        "versions": ", ".join(versions),
        "minutes": minutes,
    }


# Counts


def _counts(known: Known) -> str:
    lines = [
        "## In numbers",
        "",
        "| | networks | exact | refused | wrong | layers | largest error | Captum exact | wrong | error |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    everything: list[Row] = []
    for family, title in FAMILIES.items():
        rows = [row for architecture, row in known.values() if architecture.family == family]
        everything += rows
        lines.append(_counted(title, rows))
    lines.append(_counted("all", everything))
    helped = sum("out of place" in row.get("captum", {}) for row in everything)
    lines += [
        "",
        f"Captum's three columns show the better of two results: on {helped} networks it ran a second time with",
        "out-of-place modules, because the first result was wrong or an error.",
        "",
    ]
    return "\n".join(lines)


def _counted(title: str, rows: list[Row]) -> str:
    states = Counter("wrong" if is_wrong(row) else row["status"] for row in rows)
    asked = [row for row in rows if "captum" in row]
    theirs = Counter(_captum_state(row["captum"].get("out of place", row["captum"])) for row in asked)
    layers = sum(row.get("layers", 0) for row in rows)
    error = max((row["error"] for row in rows if row["status"] == "exact"), default=0)
    numbers = [len(rows), states["exact"], states["refused"], states["wrong"], layers, f"{error:.0e}"]
    numbers += [theirs["exact"], theirs["wrong"], theirs["error"]]
    return f"| {title} | " + " | ".join(map(str, numbers)) + " |"


def _captum_state(answer: Row) -> str:
    errors = sum(answer["errors"].values())
    if answer["exact"] + errors < answer["layers"]:
        return "wrong"
    return "error" if set(answer["errors"]) - {NOT_THE_LAST_CALL} else "exact"


# The tables


def _table(members: list[tuple[Architecture, Row]]) -> str:
    lines = ["| network | input | layers | error | linearised | Captum | remark |", "|---|---|---:|---:|---|---|---|"]
    for architecture, row in members:
        name = (
            f"{architecture.name} ({architecture.group})"
            if architecture.group != "classification"
            else architecture.name
        )
        shape = " x ".join(map(str, (architecture.samples, *architecture.shape)))
        if "layers" not in row:
            lines.append(f"| {name} | {shape} | | {row['status']} | | | {_cell(row['reason'], 300)} |")
            continue
        error = f"{row['error']:.0e}" if row["status"] == "exact" else f"**{row['error']:.0e}**"
        cells = [name, shape, f"{row['layers']} of {row['table']}", error, linearised(row["linearised"])]
        lines.append("| " + " | ".join([*cells, _cell(captum(row["captum"]), 160), _cell(_remark(row), 200)]) + " |")
    return "\n".join(lines) + "\n"


def linearised(kinds: dict[str, int]) -> str:
    """The number of linearised operations, and the most common kinds."""
    if not kinds:
        return ""
    names = [f"{name.rpartition('.')[2].strip('_')} {count}" for name, count in kinds.items()]
    rest = [f"{len(names) - 4} kinds more"] if len(names) > 5 else names[4:]
    return f"{sum(kinds.values())}: " + ", ".join(names[:4] + rest)


def captum(answer: Row) -> str:
    """Captum's result, with the model as it is and with out-of-place modules."""
    said = _said(answer)
    again = _said(answer["out of place"]) if "out of place" in answer else said
    return said if again == said else f"{said}; out of place: {again}"


def _said(answer: Row) -> str:
    parts = []
    wrong = answer["layers"] - answer["exact"] - sum(answer["errors"].values())
    if wrong:
        parts.append(f"{answer['worst']:.1g} in {wrong} of {answer['layers']}")
    elif answer["exact"]:
        parts.append("exact" if not answer["errors"] else f"exact in {answer['exact']}")
    for message, count in answer["errors"].items():
        parts.append(f"{message[:70]} ({count} of {answer['layers']})")
    return ", ".join(parts)


def _remark(row: Row) -> str:
    parts = [row["remark"], row.get("reason", "")]
    if "double" in row and row["status"] == "exact":
        parts.append(f"{row['double']:.0e} in float64")
    if row["stopped"]:
        parts.append(f"part of the signal ends at {', '.join(row['stopped'][:2])}")
    return "; ".join(filter(None, parts))


def _cell(text: str, length: int) -> str:
    text = " ".join(text.replace("|", "\\|").split())
    return text if len(text) <= length else text[: length - 1] + "…"


# Other packages

PACKAGES_INTRODUCTION = """\
# Other packages

<!-- Written by `python -m benchmarks.coverage`; edit that, not this. -->

The projections of deconvviz, compared with autograd on {rows} networks of {count} packages, in more ways than in
[Coverage](coverage.md).

**What was checked.** Each network is built small, with random weights. Its norms get random statistics, and weights
that start at zero or one get random values. Three layers are tested, spread from the first to the last, with one
channel each. Its units are projected in the styles `deconvnet`, `guided` and `gradient`, each in six ways: a batch of
two images on whole maps; the same batch on crops; all units at once, as a reconstruction; another image alone on
whole maps; one image alone on crops, forward and back; and then two other images on crops. Crops are used wherever
they are possible, even if they are more work. The reference is torch's autograd with the backward passes of
rectifiers replaced. All norms are written out, because torch's own backward pass of some norms is wrong for one
sample in some memory layouts (`tests/helpers/autograd_reference.py`). Everything runs in float64, where up to 1e-10
counts as exact, even if a network calls `.float()`. Networks that only run in float32 are tested in float32, with a
tolerance of 1e-5.

**The columns.** *Error* is the largest ||a - b|| / ||b||. *Windows* is the number of projections for which crops
could be used. *Unsure* projections differ from the reference by no more than the reference itself changes when the
image changes in its twelfth digit, for example because two values in a pooling window are equal or because terms
cancel. They count neither as exact nor as wrong, but are included in the largest error. *Linearised* counts the
operations without a mirror, by kind. *Failed* means that the network or the reference raised an error, or that time
ran out.

Checked on {date} with {versions}.
To run it again: `make coverage-table`; {minutes:.0f} minutes on one core shared with other jobs.
"""


def packages(known: Known) -> str:
    """The whole page about other packages."""
    rows = [row for _, row in known.values()]
    names = [
        "torch",
        *(name for family, (_, name) in ZOO.items() if any(a.family == family for a, _ in known.values())),
    ]
    facts = circumstances(names, rows)
    parts = [PACKAGES_INTRODUCTION.format(rows=len(rows), count=len(names) - 1, **facts)]
    lines = [
        "| | networks | exact | refused | wrong | failed | not run | projections | on windows | unsure |",
        "|---|" + "---:|" * 9,
    ]
    listed = Counter(entry.family for entry in zoo())
    for family, title in [*PACKAGES.items(), ("", "all")]:
        members = [row for architecture, row in known.values() if family in ("", architecture.family)]
        states = Counter(row["status"] for row in members)
        sums = [sum(row.get(name, 0) for row in members) for name in ("projections", "windows", "unsure")]
        left = (listed[family] if family else listed.total()) - len(members)
        numbers = [len(members), *(states[name] for name in ("exact", "refused", "wrong", "failed")), left, *sums]
        lines.append(f"| {title} | " + " | ".join(f"{number:,}" for number in numbers) + " |")
    parts.append("## In numbers\n\n" + "\n".join(lines) + "\n")
    if len(rows) < listed.total():
        parts.append("*Not run*: networks of `benchmarks/zoo/` that the runs for this page did not reach.\n")
    parts.append("Left out of the list:\n\n" + "\n".join(f"- {line}" for line in LEFT_OUT) + "\n")
    for family, title in PACKAGES.items():
        members = [(architecture, row) for architecture, row in known.values() if architecture.family == family]
        if members:
            parts.append(f"## {title}\n\n{_packages_table(members)}")
    return "\n".join(parts)


def _packages_table(members: list[tuple[Architecture, Row]]) -> str:
    lines = ["| network | input | error | windows | linearised | remark |", "|---|---|---:|---:|---|---|"]
    for architecture, row in members:
        shape = " x ".join(map(str, architecture.shape))
        if "error" not in row:
            lines.append(f"| {architecture.name} | {shape} | {row['status']} | | | {_cell(row['reason'], 300)} |")
            continue
        error = f"{row['error']:.0e}" if row["status"] == "exact" else f"**{row['error']:.0e}**"
        unsure = f"{row['unsure']} unsure" if row["unsure"] else ""
        remark = "; ".join(filter(None, [unsure, _remark(row)]))
        windows = f"{row['windows']} of {row['projections']}"
        cells = [architecture.name, shape, error, windows, linearised(row["linearised"]), _cell(remark, 200)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
