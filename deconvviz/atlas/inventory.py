"""The files that an atlas has written to its folder, by size and digest. Only these may be replaced or removed.

A complete atlas lists its files in its manifest. A build keeps a journal, to which each file is added before it is
written, so that the files of a build that was killed are known, too. A file that is in neither, or whose content
differs from what is listed, belongs to the user: it is never replaced or removed. Links are never followed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from deconvviz.errors import OutputError
from deconvviz.io.atomic import append, remove, remove_leftovers, replacing
from deconvviz.io.ownership import UNSIGNED, is_ours, signed

ATLAS_FORMAT = 3
PAGE, MANIFEST, JOURNAL = "index.html", "manifest.json", "unfinished.txt"
_HEADER = b"deconvviz: size, SHA-256 and name of the files of an atlas that is being built\n"
OLDER = "older"  # the copy of an older atlas while it is rebuilt
ASSETS = {  # files of the page in its folder "assets", and where they lie among the web pages
    "atlas.js": "bundles/atlas.js",
    "base.css": "shared/base.css",
    "colours.css": "shared/colours.css",
    "style.css": "atlas/style.css",
}
_FORMER_ASSETS = ("app", "channel", "data", "dom", "evidence", "grid", "overview", "search", "theme")  # scripts
_NAMES = {  # names that files of any atlas may have, by folder
    "data": re.compile(r"(index|unfinished|images|search|\d+(-\d+)?)\.js"),
    "sheets": re.compile(r"\d+-[nprst]?\d+\.webp"),
    "images": re.compile(r"\d+\.webp"),
    "assets": re.compile("|".join(map(re.escape, (*ASSETS, *(f"{name}.js" for name in _FORMER_ASSETS))))),
}
FOLDERS = (*_NAMES, OLDER, *(f"{OLDER}/{name}" for name in _NAMES))
_LINE = re.compile(rb"(\d{1,15}) ([0-9a-f]{64}) ([a-z]+/[\w.-]+|older/[a-z]+/[\w.-]+|index\.html)")

_RECORD = re.compile(rb"done ([0-9a-f]{64}) (\{.+\})")

Content = tuple[int, str]  # bytes, and their SHA-256 in hexadecimal


class Finished(NamedTuple):
    """A part of an atlas that a build has finished, as its journal says.

    Attributes:
        build: Digest of what the build is made from.
        part: Name of the part.
        value: What the build knows of it.
        files: Its files with their contents.
    """

    build: str
    part: str
    value: Any
    files: dict[str, Content]


class Inventory:
    """The files of an atlas in a folder; they are named by their paths in it, such as ``data/0.js``.

    Attributes:
        out: The folder.
        known: For each of the atlas's files, the contents that it may have.
        listed: Whether there is a manifest or a journal.
        journal: Whether there is a journal.
        finished: The parts that the journal says are finished.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.known: dict[str, set[Content]] = {}
        self.listed = self.journal = False
        self.finished: list[Finished] = []
        self._read_manifest()
        self._read_journal()

    def _read_manifest(self) -> None:
        if not is_ours(self.out / MANIFEST):
            return
        try:
            for name, content in json.loads((self.out / MANIFEST).read_text("utf-8"))["written"].items():
                self._add(name, (content["bytes"], content["sha256"]))
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
            if match := _LINE.fullmatch(line):  # a line that a power failure has cut does not match
                self._add(match[3].decode(), (int(match[1]), match[2].decode()))
            elif (match := _RECORD.fullmatch(line)) and hashlib.sha256(match[2]).hexdigest() == match[1].decode():
                with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    record = json.loads(match[2])
                    files = {name: (size, digest) for name, (size, digest) in record["files"].items()}
                    self.finished.append(Finished(str(record["build"]), str(record["part"]), record["value"], files))

    def _add(self, name: str, content: Content) -> None:
        if _may_be_written(name):
            self.known.setdefault(name, set()).add(content)

    def ours(self, name: str) -> bool:
        """Whether the file with this name exists and holds what an atlas wrote."""
        if name == MANIFEST:
            return is_ours(self.out / name)
        contents = self.known.get(name, set())
        if not contents or self.link_to(name) is not None:
            return False
        try:
            status = os.lstat(self.out / name)
            if not stat.S_ISREG(status.st_mode) or status.st_size not in {size for size, _ in contents}:
                return False
            return _size_and_digest((self.out / name).read_bytes()) in contents
        except OSError:
            return False

    def link_to(self, name: str) -> Path | None:
        """The first parent of a name, below `out`, that is a link or no folder."""
        for above in reversed(Path(name).parents[:-1]):
            folder = self.out / above
            if os.path.islink(folder) or (os.path.lexists(folder) and not folder.is_dir()):
                return folder
        return None

    def strange(self) -> Iterator[Path]:
        """Paths that are not the atlas's own but have the name of one of its files or folders."""
        for name in FOLDERS:
            folder = self.out / name
            if self.link_to(f"{name}/x") == folder:
                yield folder
            elif folder.is_dir() and self.link_to(name) is None:
                for path in sorted(folder.iterdir()):
                    if _may_be_written(f"{name}/{path.name}") and not self.ours(f"{name}/{path.name}"):
                        yield path
        for name in (PAGE, MANIFEST, JOURNAL):
            ours = self.journal if name == JOURNAL else self.ours(name)
            if os.path.lexists(self.out / name) and not ours:
                yield self.out / name

    def begin(self, build: str) -> None:
        """Start a journal, with the files that exist and the parts that a build with the same digest has finished.

        A part counts only if all of its files hold what that build has written.
        """
        existing = {name: contents for name, contents in self.known.items() if self.ours(name)}
        lines = [_line(name, content) for name in sorted(existing) for content in sorted(existing[name])]
        self.known = existing
        self.finished = [one for one in self.finished if build and one.build == build and self._holds(one.files)]
        with replacing(self.out / JOURNAL) as beside:
            beside.write_bytes(_HEADER + b"".join([*lines, *map(_record, self.finished)]))

    def _holds(self, files: dict[str, Content]) -> bool:
        return all(self.known.get(name) and self._content(name) == content for name, content in files.items())

    def _content(self, name: str) -> Content:
        return _size_and_digest((self.out / name).read_bytes())

    def finish_part(self, build: str, part: str, value: Any, names: Iterable[str]) -> None:
        """Note that a build has finished a part, whose files have these names."""
        finished = Finished(build, part, value, {name: self._content(name) for name in sorted(names)})
        append(self.out / JOURNAL, _record(finished))
        self.finished.append(finished)

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically.

        Raises:
            OutputError: If there is a file that is not the atlas's own.
        """
        check_free(self, name)
        listed = _size_and_digest(content)
        if listed not in self.known.get(name, set()):
            append(self.out / JOURNAL, _line(name, listed))
            self._add(name, listed)
        with replacing(self.out / name) as beside:
            beside.write_bytes(content)

    def write_manifest(self, described: dict[str, Any], written: set[str]) -> None:
        """Write the manifest: the description of the atlas and the list of its files."""
        contents = {}
        for name in sorted(written):
            size, digest = self._content(name)
            contents[name] = {"bytes": size, "sha256": digest}
        manifest = {"format": "deconvviz atlas", "version": ATLAS_FORMAT, "mark": UNSIGNED, "files": len(written) + 1}
        text = json.dumps({**manifest, **described, "written": contents}, indent=1) + "\n"
        check_free(self, MANIFEST)
        with replacing(self.out / MANIFEST) as beside:
            beside.write_bytes(signed(text.encode()))

    def remove(self, *names: str) -> None:
        """Remove those of the files that are the atlas's own."""
        remove(self.out / name for name in names if self.ours(name))

    def end(self) -> None:
        """Remove the journal of an atlas that is complete."""
        remove([self.out / JOURNAL])

    def sweep(self) -> None:
        """Remove what builds that were killed have left half-written."""
        for name in ("", *FOLDERS):
            if self.link_to(f"{name}/x") is None:
                remove_leftovers(self.out / name, ".+" if name else "|".join(map(re.escape, (PAGE, MANIFEST, JOURNAL))))


def check_free(inventory: Inventory, name: str) -> None:
    """Raise OutputError if a link, or a file that is not the atlas's own, is where the atlas would write."""
    path = inventory.out / name
    if (link := inventory.link_to(name)) is not None:
        raise strange(link)
    if os.path.lexists(path) and not inventory.ours(name):
        raise strange(path)


def strange(path: Path) -> OutputError:
    """The error for a path that an atlas needs and that is not its own."""
    if path.is_symlink():
        return OutputError(f"{str(path)!r} is a link, and an atlas follows none; move it away, or name another folder")
    return OutputError(
        f"{str(path)!r} was not written by an atlas, or was changed since; move it away, or name another folder"
    )


def _may_be_written(name: str) -> bool:
    """Whether an atlas may have a file with this name."""
    folder, _, rest = name.removeprefix(f"{OLDER}/").partition("/")
    return name == PAGE or (folder in _NAMES and _NAMES[folder].fullmatch(rest) is not None)


def _size_and_digest(content: bytes) -> Content:
    return len(content), hashlib.sha256(content).hexdigest()


def _line(name: str, content: Content) -> bytes:
    # On a line of its own, whatever a power failure may have left before it.
    return f"\n{content[0]} {content[1]} {name}\n".encode()


def _record(finished: Finished) -> bytes:
    text = json.dumps(finished._asdict()).encode()
    return b"\ndone " + hashlib.sha256(text).hexdigest().encode() + b" " + text + b"\n"
