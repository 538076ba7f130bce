"""The folder that an atlas is written to: whether it may be, what an earlier one left there, and the files of data."""

from __future__ import annotations

import contextlib
import html
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deconvviz.errors import InputError
from deconvviz.files import check_writable, remove, remove_leftovers, replacing, target_of
from deconvviz.locks import LOCK

STATIC = Path(__file__).parent / "static"
OURS = '<meta name="generator" content="deconvviz atlas">'
MANIFEST, INDEX, PAGE = "manifest.json", "data/index.js", "index.html"
OLDER = "older"  # where an older atlas lies while it is built anew; the page leads there meanwhile
_HERE, _THERE = '="assets/', f'="{OLDER}/assets/'  # how the page's links begin; data.js looks where it was loaded from

# What this writer makes, with the temporary files that a killed one leaves (`deconvviz.files.replacing`).
_MADE = {
    "data": re.compile(r"(index|images|\d+(-\d+)?)\.js"),
    "sheets": re.compile(r"\d+-[prt]?\d+\.webp"),
    "images": re.compile(r"\d+\.webp"),
    "assets": re.compile(r"\w+\.(js|css)"),
}


def claim(out: Path, title: str) -> set[str]:
    """Makes `out` an unfinished atlas: the manifest and the index go, the page and what it needs are written.

    A whole atlas that is there already is copied to a folder in it, to which the page leads until `reveal`.
    Returns the paths in `out` that were written. Raises what `check_folder` raises.
    """
    check_folder(out)
    if (out / INDEX).is_file() and _HERE in (page := (out / PAGE).read_text("utf-8")):
        for path in list(_made(out)):
            if target_of(path) is None:
                with replacing(out / OLDER / path.relative_to(out)) as beside:
                    shutil.copyfile(path, beside)
        write_text(out / PAGE, page.replace(_HERE, _THERE))
    remove(out / name for name in (MANIFEST, INDEX))
    if not (out / PAGE).is_file() or _THERE not in (out / PAGE).read_text("utf-8"):
        reveal(out, title)  # before all else: the sign that the folder is ours
    written = {PAGE}
    for source in sorted([*STATIC.glob("*.js"), *STATIC.glob("*.css")]):
        write_text(out / "assets" / source.name, source.read_text("utf-8"))
        written.add(f"assets/{source.name}")
    return written


def reveal(out: Path, title: str) -> None:
    """Writes the page, which shows what lies in `out`, or says that it is incomplete."""
    page = (STATIC / PAGE).read_text("utf-8")
    write_text(out / PAGE, page.replace("$title", html.escape(well_formed(title))))


def remove_older(out: Path) -> None:
    """Removes what `claim` kept."""
    remove(list(_made(out / OLDER)))
    for folder in (*_MADE, ""):
        with contextlib.suppress(OSError):  # not there, or somebody's files are in it
            os.rmdir(out / OLDER / folder)


def check_folder(out: Path) -> None:
    """Raise InputError where `out` is a file, or a folder with something in it that is no atlas; OutputError where
    nothing can be written to it.
    """
    if os.path.exists(out) and not out.is_dir():
        raise InputError(f"the atlas is written to a folder, and {str(out)!r} is a file")
    if os.path.isdir(out) and not _is_atlas(out):
        raise InputError(f"{str(out)!r} has other files in it; give a new folder, an empty one or an older atlas")
    check_writable(out / PAGE)


def _is_atlas(out: Path) -> bool:
    page = out / PAGE
    if page.is_file():
        with page.open("rb") as file:
            return OURS.encode() in file.read(4096)
    return all(path.name == LOCK or path.name.startswith(".index.html.deconvviz-") for path in out.iterdir())


def remove_stale(out: Path, written: set[str]) -> None:
    """Removes what an earlier build made and this one, which made `written` (paths in `out`), did not."""
    remove_leftovers(out, r"index\.html|manifest\.json")
    remove(path for path in list(_made(out)) if path.relative_to(out).as_posix() not in written)


def _made(out: Path) -> Iterator[Path]:
    for folder, pattern in _MADE.items():
        for path in (out / folder).glob("*"):
            if pattern.fullmatch(target_of(path) or path.name) and not path.is_dir():
                yield path


def write_text(path: Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text, "utf-8", newline="\n")


def call(key: str, value: Any) -> str:
    """A script that hands `value` to the page, which may not read files but may load scripts.

    ASCII and without "<": no text in it can end a script, a line or a string.

    >>> call("3", {"name": "</script>\\u2028"})
    'atlas.receive("3", {"name":"\\\\u003c/script>\\\\u2028"});\\n'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'atlas.receive("{key}", {text});\n'


def shown_name(name: str) -> str:
    """A layer's name as the page and its links have it: the model itself, as a layer, has an empty one."""
    return well_formed(name) or "(model)"


def well_formed(text: str) -> str:
    """`text` without lone surrogates, which the bytes of an undecodable file name become and no link can hold."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def rounded(value: float) -> float | int | None:
    """Five digits; None for what is not finite.

    >>> rounded(0.123456789), rounded(2.0), rounded(float("nan"))
    (0.12346, 2, None)
    """
    if not math.isfinite(value):
        return None
    short = float(f"{value:.5g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
