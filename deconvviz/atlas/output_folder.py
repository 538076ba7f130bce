"""The folder of an atlas: whether it may be written to, what an earlier build left there, and its data files."""

from __future__ import annotations

import contextlib
import json
import math
import os
from pathlib import Path
from typing import Any

from deconvviz.atlas.inventory import ASSETS, FOLDERS, JOURNAL, MANIFEST, OLDER, PAGE, Inventory, strange
from deconvviz.errors import InputError
from deconvviz.io.atomic import check_writable, target_of
from deconvviz.io.locks import LOCK, alone
from deconvviz.io.pages import web_file, web_page
from deconvviz.io.restoring import Restored

OURS = '<meta name="generator" content="deconvviz atlas">'
INDEX = "data/index.js"
UNFINISHED = "data/unfinished.js"  # in its place until the atlas is complete
# How links in the page begin, for the atlas and for the older one; the script uses the folder that it was loaded from.
_OWN_LINKS, _OLDER_LINKS = '="assets/', f'="{OLDER}/assets/'


def claim(out: Path, title: str, build: str) -> tuple[Inventory, set[str]]:
    """Make a folder an unfinished atlas: remove manifest and index, and write the page and its assets.

    A complete atlas in the folder is copied to a folder inside of it, which the page shows until `reveal`.

    Args:
        out: The folder.
        title: Title of the page.
        build: Digest of what the atlas is built from. What an unfinished build with the same digest has finished stays;
            with an empty digest nothing does.

    Returns:
        The inventory of the folder, and the paths in it that were written.

    Raises:
        InputError: As `check_folder`.
        OutputError: As `check_folder`.
    """
    check_folder(out)
    inventory = Inventory(out)
    inventory.begin(build)
    page = (out / PAGE).read_text("utf-8") if inventory.ours(PAGE) else ""
    if inventory.ours(INDEX) and _OWN_LINKS in page:
        for name in sorted(inventory.known):
            if not name.startswith(OLDER) and name not in (PAGE, UNFINISHED):
                inventory.write(f"{OLDER}/{name}", (out / name).read_bytes())
        page = page.replace(_OWN_LINKS, _OLDER_LINKS)
        inventory.write(PAGE, page.encode())
    inventory.remove(MANIFEST, INDEX, *(() if inventory.finished else (UNFINISHED,)))
    if _OLDER_LINKS not in page:
        reveal(inventory, title)  # first of all, since the page marks the folder as an atlas
    written = {PAGE}
    for name, source in ASSETS.items():
        inventory.write(f"assets/{name}", web_file(source))
        written.add(f"assets/{name}")
    return inventory, written


def reveal(inventory: Inventory, title: str) -> None:
    """Write the page, which shows the atlas in its folder, or says that it is incomplete."""
    page = web_page("atlas/index.html", title=well_formed(title), generator="deconvviz atlas")
    inventory.write(PAGE, page.encode())


def remove_older(inventory: Inventory) -> None:
    """Remove the copy that `claim` has made of an older atlas."""
    inventory.remove(*(name for name in inventory.known if name.startswith(OLDER)))
    for folder in reversed([name for name in FOLDERS if name.startswith(OLDER)]):
        with contextlib.suppress(OSError):  # it does not exist, is a link, or holds the user's files
            os.rmdir(inventory.out / folder)


def check_folder(out: Path) -> None:
    """Check that an atlas may be written to a folder.

    Raises:
        InputError: If it is a file, or a folder with something in it that is no atlas.
        OutputError: If it cannot be written to, another job builds there, or something that is not the atlas's own is
            in the place of one of its files.
    """
    if os.path.exists(out) and not out.is_dir():
        raise InputError(f"the atlas is written to a folder, and {str(out)!r} is a file")
    # If another job is building, the error is about its lock and not about the files that come and go.
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
    """Paths in an atlas's folder that are not the atlas's own, and are neither replaced nor removed."""
    inventory, ours = Inventory(out), {*FOLDERS, PAGE, MANIFEST, JOURNAL, LOCK}
    others = []
    for folder in ("", *FOLDERS):
        for path in sorted((out / folder).glob("*") if inventory.link_to(f"{folder}/x") is None else ()):
            name = path.relative_to(out).as_posix()
            if name not in ours and name not in inventory.known and target_of(path) is None:
                others.append(name)
    return others


def _check_unlisted(out: Path) -> None:
    """Raise InputError for a folder that has no list of an atlas's files and is not empty."""
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
    """Remove what an earlier build has written and this one has not; written: this one's paths in the folder."""
    inventory.remove(*(name for name in inventory.known if name not in written and not name.startswith(OLDER)))
    inventory.sweep()


def call(key: str, value: Any) -> str:
    """A script that passes `value` to the page, which may load scripts but not read files.

    It is ASCII without "<", so that no text in it can end a script, a line or a string.

    >>> call("3", {"name": "</script>\\u2028"})
    'atlas.receive("3", {"name":"\\\\u003c/script>\\\\u2028"});\\n'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'atlas.receive("{key}", {text});\n'


def shown_name(name: str) -> str:
    """A layer's name in the page and its links; the model itself, as a layer, has an empty name."""
    return well_formed(name) or "(model)"


def well_formed(text: str) -> str:
    """`text` without lone surrogates, which stand for bytes in undecodable file names and are invalid in links."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def rounded(value: float) -> float | int | None:
    """A number with five digits; None if it is not finite.

    >>> rounded(0.123456789), rounded(2.0), rounded(float("nan"))
    (0.12346, 2, None)
    """
    if not math.isfinite(value):
        return None
    short = float(f"{value:.5g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
