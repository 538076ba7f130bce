"""The folder that an atlas is written to: whether it may be, what an earlier one left there, and the files of data."""

from __future__ import annotations

import contextlib
import html
import json
import math
import os
from pathlib import Path
from typing import Any

from deconvviz.atlas.inventory import ASSETS, FOLDERS, JOURNAL, MANIFEST, OLDER, PAGE, STATIC, Inventory, strange
from deconvviz.errors import InputError
from deconvviz.io.atomic import check_writable, target_of
from deconvviz.io.locks import LOCK, alone
from deconvviz.recording.restoring import Restored

OURS = '<meta name="generator" content="deconvviz atlas">'
INDEX = "data/index.js"
_HERE, _THERE = '="assets/', f'="{OLDER}/assets/'  # how the page's links begin; data.js looks where it was loaded from


def claim(out: Path, title: str) -> tuple[Inventory, set[str]]:
    """Makes `out` an unfinished atlas: the manifest and the index go, the page and what it needs are written.

    A whole atlas that is there already is copied to a folder in it, to which the page leads until `reveal`.
    Returns what the folder holds of ours, and the paths in it that were written. Raises what `check_folder` raises.
    """
    check_folder(out)
    inventory = Inventory(out)
    inventory.begin()
    page = (out / PAGE).read_text("utf-8") if inventory.ours(PAGE) else ""
    if inventory.ours(INDEX) and _HERE in page:
        for name in sorted(inventory.known):
            if not name.startswith(OLDER) and name != PAGE:
                inventory.write(f"{OLDER}/{name}", (out / name).read_bytes())
        page = page.replace(_HERE, _THERE)
        inventory.write(PAGE, page.encode())
    inventory.remove(MANIFEST, INDEX)
    if _THERE not in page:
        reveal(inventory, title)  # before all else: the sign that the folder is ours
    written = {PAGE}
    for name in ASSETS:
        inventory.write(f"assets/{name}", (STATIC / name).read_bytes())
        written.add(f"assets/{name}")
    return inventory, written


def reveal(inventory: Inventory, title: str) -> None:
    """Writes the page, which shows what lies in its folder, or says that it is incomplete."""
    page = (STATIC / PAGE).read_text("utf-8")
    inventory.write(PAGE, page.replace("$title", html.escape(well_formed(title))).encode())


def remove_older(inventory: Inventory) -> None:
    """Removes what `claim` kept."""
    inventory.remove(*(name for name in inventory.known if name.startswith(OLDER)))
    for folder in reversed([name for name in FOLDERS if name.startswith(OLDER)]):
        with contextlib.suppress(OSError):  # not there, a link, or somebody's files are in it
            os.rmdir(inventory.out / folder)


def check_folder(out: Path) -> None:
    """Raise InputError where `out` is a file, or a folder with something in it that is no atlas; OutputError where
    nothing can be written to it, another job builds there, or something that is not the atlas's is in the place of one
    of its files.
    """
    if os.path.exists(out) and not out.is_dir():
        raise InputError(f"the atlas is written to a folder, and {str(out)!r} is a file")
    # Where another job is at work its lock is what to speak of, and not the files that come and go.
    with Restored(alone(out) if os.path.lexists(out / LOCK) else contextlib.nullcontext()):
        _check_contents(out)
    check_writable(out / PAGE)


def _check_contents(out: Path) -> None:
    if os.path.isdir(out):
        inventory = Inventory(out)
        if not inventory.listed:
            _check_unlisted(out)
        elif (stranger := next(inventory.strange(), None)) is not None:
            raise strange(stranger)


def left_alone(out: Path) -> list[str]:
    """What else is in an atlas's folder: neither replaced nor removed by one that is built there."""
    inventory, ours = Inventory(out), {*FOLDERS, PAGE, MANIFEST, JOURNAL, LOCK}
    found = []
    for folder in ("", *FOLDERS):
        for path in sorted((out / folder).glob("*") if inventory.link_to(f"{folder}/x") is None else ()):
            name = path.relative_to(out).as_posix()
            if name not in ours and name not in inventory.known and target_of(path) is None:
                found.append(name)
    return found


def _check_unlisted(out: Path) -> None:
    """Raise InputError for a folder without a list of an atlas's files, unless there is nothing in it."""
    if not [path for path in out.iterdir() if path.name != LOCK and target_of(path) is None]:
        return
    if _has_page(out):
        raise InputError(
            f"{str(out)!r} holds an atlas whose list of files is missing or was changed, or an older version's; remove "
            "it, or give a new folder"
        )
    raise InputError(f"{str(out)!r} has other files in it; give a new folder, an empty one or an older atlas")


def _has_page(out: Path) -> bool:
    if not (out / PAGE).is_file():
        return False
    with (out / PAGE).open("rb") as file:
        return OURS.encode() in file.read(4096)


def remove_stale(inventory: Inventory, written: set[str]) -> None:
    """Removes what an earlier build made and this one, which made `written` (paths in the folder), did not."""
    inventory.remove(*(name for name in inventory.known if name not in written and not name.startswith(OLDER)))
    inventory.sweep()


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
