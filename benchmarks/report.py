"""The coverage table as a document, from the rows of the cache."""

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
weights that start as zero or one are drawn anew, because in a fresh network a wrong rule could go unnoticed. From the
layer table six layers are taken, spread evenly from the first to the last; in each, one channel at its strongest
position, in both samples of a batch. The projection in style `deconvnet` is compared with the gradient that torch's own
autograd gives for the same network when the backward passes of its rectifiers are replaced by relu(signal), and that of
local response normalisation by the identity. That reference (`tests/helpers/autograd_reference.py`) shares no code with
the library.
Networks of other packages, checked in more ways, have [a page of their own](packages.md).

**What the columns say.** *Error* is the largest ||a - b|| / ||b|| over these layers, in float32; up to 1e-5 counts as
exact. Deep networks whose numbers grow from layer to layer lose more than that to rounding; there the comparison is
repeated in float64, where at most 1e-10 counts as exact, and the remark gives that error. *Linearised* counts the
operations that have no mirror and are replaced by their vector-Jacobian product, per kind: gates, softmax, layer norms
and the like. *Captum* is what `captum.attr.NeuronDeconvolution` gives for the same units, with up to 1e-4 allowed:
`exact`, the largest error and in how many layers, or its error message. Where that is not exact and the network has
in-place modules, these were switched off and it was asked again.

Checked on {date} with {versions}.
To run it again: `make coverage-table`; {minutes:.0f} minutes on two cores.
"""


def is_wrong(row: Row) -> bool:
    return row["status"] not in ("exact", "refused")


def in_one_line(key: str, row: Row) -> str:
    """For the progress of a run."""
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
    """Four numbers, and the rows that are not right."""
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
    parts = [INTRODUCTION.format(rows=len(rows), **_circumstances(names, rows)), _counts(known)]
    for family, title in FAMILIES.items():
        members = [(architecture, row) for architecture, row in known.values() if architecture.family == family]
        if members:
            parts.append(f"## {title}\n\n{_table(members)}")
    return "\n".join(parts)


def _circumstances(names: Iterable[str], rows: list[Row]) -> dict[str, Any]:
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
        f"Captum's three columns are its better result: on {helped} networks it was asked a second time, with in-place",
        "modules switched off, because the first answer was wrong or an error.",
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
    """How many operations of which kinds, the commonest named."""
    if not kinds:
        return ""
    names = [f"{name.rpartition('.')[2].strip('_')} {count}" for name, count in kinds.items()]
    rest = [f"{len(names) - 4} kinds more"] if len(names) > 5 else names[4:]
    return f"{sum(kinds.values())}: " + ", ".join(names[:4] + rest)


def captum(answer: Row) -> str:
    """What Captum said, as is and with in-place modules off."""
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


# Other people's packages

PACKAGES_INTRODUCTION = """\
# Other packages

<!-- Written by `python -m benchmarks.coverage`; edit that, not this. -->

The projections of deconvviz, compared with autograd on {rows} networks of {count} packages, in more ways than in
[Coverage](coverage.md).

**What was checked.** Each network is built small, with random weights; its norms get random statistics, and what
starts as zero or one is drawn anew. Three layers are taken, spread from the first to the last, and in each one
channel. Its units are projected in the styles `deconvnet`, `guided` and `gradient`, each in six ways: two images as a
batch on whole maps; the same on windows; all units at once, as a reconstruction; another image alone on whole maps;
one image alone on windows, forward and back; and after that two other images, on windows. Windows are used wherever
they are possible, also where they are more work. The reference is torch's autograd with the backward passes of
rectifiers replaced, and with all norms written out, because torch's own backward of some norms is wrong for one
sample in some layouts (`tests/helpers/autograd_reference.py`). All is in float64, where at most 1e-10 counts as exact,
also where a network calls `.float()`; those that insist on float32 otherwise are checked in that, with at most 1e-5.

**What the columns say.** *Error* is the largest ||a - b|| / ||b||. *Windows* is in how many of the projections
windows could be used. *Unsure* are projections that differ from the reference by no more than it moves itself where
the image changes in its twelfth digit, as where two values in a pooling window are equal, or where numbers cancel;
they count neither as exact nor as wrong. They are in the largest error. *Linearised* counts the operations that have
no mirror, per kind. *Failed* is a check that ended in an error of the network or the reference, or ran out of time.

Checked on {date} with {versions}.
To run it again: `make coverage-table`; {minutes:.0f} minutes on one core that was busy with other things.
"""


def packages(known: Known) -> str:
    """The page about other people's packages."""
    rows = [row for _, row in known.values()]
    names = [
        "torch",
        *(name for family, (_, name) in ZOO.items() if any(a.family == family for a, _ in known.values())),
    ]
    facts = _circumstances(names, rows)
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
        parts.append("Not run are networks of `benchmarks/zoo/` that the runs for this page did not come to.\n")
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
