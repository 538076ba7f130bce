"""What an atlas has put into its folder, each file by its size and digest: the files that it may replace or remove.

A whole atlas lists its files in its manifest. From its first file to its last a build keeps a journal, to which each
file is added before it is there, so that a build that was killed knows its own files as well. A file that is in
neither, or has another content than was listed, is somebody's: it is never replaced or removed. No link is followed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deconvviz.errors import OutputError
from deconvviz.io.atomic import append, remove, remove_leftovers, replacing
from deconvviz.io.ownership import UNSIGNED, is_ours, signed

STATIC = Path(__file__).parents[1] / "web" / "atlas"
FORMAT = 2
PAGE, MANIFEST, JOURNAL = "index.html", "manifest.json", "unfinished.txt"
_HEADER = b"deconvviz: size, SHA-256 and name of the files of an atlas that is being built\n"
OLDER = "older"  # where an older atlas lies while it is built anew
ASSETS = tuple(sorted(path.name for path in STATIC.iterdir() if path.suffix in (".js", ".css")))
_MADE = {  # names that any atlas may have, by folder
    "data": re.compile(r"(index|images|\d+(-\d+)?)\.js"),
    "sheets": re.compile(r"\d+-[prt]?\d+\.webp"),
    "images": re.compile(r"\d+\.webp"),
    "assets": re.compile("|".join(map(re.escape, ASSETS))),
}
FOLDERS = (*_MADE, OLDER, *(f"{OLDER}/{name}" for name in _MADE))
_LINE = re.compile(rb"(\d{1,15}) ([0-9a-f]{64}) ([a-z]+/[\w.-]+|older/[a-z]+/[\w.-]+|index\.html)")

Content = tuple[int, str]  # bytes, and their SHA-256 in hexadecimal


class Inventory:
    """The files of an atlas in the folder `out`; paths are names in it, such as ``data/0.js``."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.known: dict[str, set[Content]] = {}  # what each of our files may hold
        self.listed = self.journal = False  # whether there is a list at all, and whether a journal is there
        self._read_manifest()
        self._read_journal()

    def _read_manifest(self) -> None:
        if not is_ours(self.out / MANIFEST):
            return
        try:
            for name, one in json.loads((self.out / MANIFEST).read_text("utf-8"))["written"].items():
                self._add(name, (one["bytes"], one["sha256"]))
            self.listed = True
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return

    def _read_journal(self) -> None:
        try:
            regular = stat.S_ISREG(os.lstat(self.out / JOURNAL).st_mode)
            lines = (self.out / JOURNAL).read_bytes().split(b"\n") if regular else []
        except OSError:
            return
        if not lines or lines[0] + b"\n" != _HEADER:
            return
        self.journal = True
        self.listed = True
        for line in lines:
            if found := _LINE.fullmatch(line):  # what a power cut left of one is none
                self._add(found[3].decode(), (int(found[1]), found[2].decode()))

    def _add(self, name: str, content: Content) -> None:
        if _is_made(name):
            self.known.setdefault(name, set()).add(content)

    def ours(self, name: str) -> bool:
        """Whether the file with this name is there and holds what an atlas wrote."""
        if name == MANIFEST:
            return is_ours(self.out / name)
        contents = self.known.get(name, set())
        if not contents or self.link_to(name) is not None:
            return False
        try:
            found = os.lstat(self.out / name)
            if not stat.S_ISREG(found.st_mode) or found.st_size not in {size for size, _ in contents}:
                return False
            return _content((self.out / name).read_bytes()) in contents
        except OSError:
            return False

    def link_to(self, name: str) -> Path | None:
        """The first folder on the way from `out` to a name that is a link, or no folder."""
        for above in reversed(Path(name).parents[:-1]):
            folder = self.out / above
            if os.path.islink(folder) or (os.path.lexists(folder) and not folder.is_dir()):
                return folder
        return None

    def strange(self) -> Iterator[Path]:
        """What is not ours and has a name that an atlas may have, or lies in the place of one of its folders."""
        for name in FOLDERS:
            folder = self.out / name
            if self.link_to(f"{name}/x") == folder:
                yield folder
            elif folder.is_dir() and self.link_to(name) is None:
                for path in sorted(folder.iterdir()):
                    if _is_made(f"{name}/{path.name}") and not self.ours(f"{name}/{path.name}"):
                        yield path
        for name in (PAGE, MANIFEST, JOURNAL):
            ours = self.journal if name == JOURNAL else self.ours(name)
            if os.path.lexists(self.out / name) and not ours:
                yield self.out / name

    def begin(self) -> None:
        """Start a journal, with the files that are there."""
        here = {name: contents for name, contents in self.known.items() if self.ours(name)}
        with replacing(self.out / JOURNAL) as beside:
            beside.write_bytes(
                _HEADER + b"".join(_line(name, one) for name in sorted(here) for one in sorted(here[name]))
            )
        self.known = here

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all. Raises OutputError where one is there that is not ours."""
        check_free(self, name)
        path, one = self.out / name, _content(content)
        if one not in self.known.get(name, set()):
            append(self.out / JOURNAL, _line(name, one))
            self._add(name, one)
        with replacing(path) as beside:
            beside.write_bytes(content)

    def write_manifest(self, described: dict[str, Any], written: set[str]) -> None:
        """Write the manifest: what is said of the atlas, and which files it has."""
        contents = {}
        for name in sorted(written):
            size, digest = _content((self.out / name).read_bytes())
            contents[name] = {"bytes": size, "sha256": digest}
        manifest = {"format": "deconvviz atlas", "version": FORMAT, "mark": UNSIGNED, "files": len(written) + 1}
        text = json.dumps({**manifest, **described, "written": contents}, indent=1) + "\n"
        check_free(self, MANIFEST)
        with replacing(self.out / MANIFEST) as beside:
            beside.write_bytes(signed(text.encode()))

    def remove(self, *names: str) -> None:
        """Remove those of the files that are ours."""
        remove(self.out / name for name in names if self.ours(name))

    def end(self) -> None:
        """The atlas is whole: the manifest says all, and the journal goes."""
        remove([self.out / JOURNAL])

    def sweep(self) -> None:
        """Remove what killed builds left half-written."""
        for name in ("", *FOLDERS):
            if self.link_to(f"{name}/x") is None:
                remove_leftovers(self.out / name, ".+" if name else "|".join(map(re.escape, (PAGE, MANIFEST, JOURNAL))))


def check_free(inventory: Inventory, name: str) -> None:
    """Raise OutputError where a file that is not ours, or a link, is where an atlas would write."""
    path = inventory.out / name
    if (link := inventory.link_to(name)) is not None:
        raise strange(link)
    if os.path.lexists(path) and not inventory.ours(name):
        raise strange(path)


def strange(path: Path) -> OutputError:
    """The error for what is in an atlas's place and is not the atlas's."""
    if path.is_symlink():
        return OutputError(f"{str(path)!r} is a link, and an atlas follows none; move it away, or name another folder")
    return OutputError(
        f"{str(path)!r} was not written by an atlas, or was changed since; move it away, or name another folder"
    )


def _is_made(name: str) -> bool:
    folder, _, rest = name.removeprefix(f"{OLDER}/").partition("/")
    return name == PAGE or (folder in _MADE and _MADE[folder].fullmatch(rest) is not None)


def _content(content: bytes) -> Content:
    return len(content), hashlib.sha256(content).hexdigest()


def _line(name: str, content: Content) -> bytes:
    return f"\n{content[0]} {content[1]} {name}\n".encode()  # apart from what a power cut may have left before it
