"""Which files a command may overwrite.

All commands follow the same rules, which are checked before any work and again just before writing:

- Under its default name, a command replaces nothing.
- Under a name given with ``--out``, it replaces a file that deconvviz wrote and nobody has changed since
  (`deconvviz.io.ownership`); with ``--force``, any file.
- It never replaces a file that it reads, through whatever link, and never writes a picture or a checkpoint where the
  next run would read it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from deconvviz.cli.shared import write_figure
from deconvviz.errors import InputError, OutputError

# ruff: noqa: PLC0415

ENDINGS_OF_FILES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp", ".html", ".json", ".safetensors")


def out_argument(parser: argparse.ArgumentParser, what: str, default: str, metavar: str = "DIR") -> None:
    """Add ``--out`` and ``--force``. `default` only appears in the help; without ``--out`` the command gets `None`."""
    parser.add_argument("--out", metavar=metavar, help=f"{what} ({default})")
    parser.add_argument("--force", action="store_true", help="replace any existing file, even under the default name")


def place(args: argparse.Namespace, default: str | Path) -> Path:
    """Where to write: the value of ``--out``, or the default."""
    return Path(default if args.out is None else args.out)


def folder(args: argparse.Namespace, default: str | Path) -> Path:
    """As `place`, of a command that writes several files. Raises InputError for the name of a file."""
    out = place(args, default)
    if out.suffix.lower() in ENDINGS_OF_FILES and not out.is_dir():
        raise InputError(f"{out.name!r} names one file, and several are written: give --out the name of a folder")
    return out


class Outputs:
    """The files that a command writes.

    Args:
        given: The parsed arguments.
        files: All files that the command writes.
        named: Whether the user named the place and so agrees that deconvviz's files there are replaced.

    Raises:
        InputError, OutputError: If one of the files may not be written.
    """

    def __init__(self, args: argparse.Namespace, *files: Path, named: bool | None = None) -> None:
        self.files = files
        self.force = bool(getattr(args, "force", False))
        self.named = args.out is not None if named is None else named
        self.read = list(_files_read(args))
        self.root = getattr(args, "root", None)  # torchvision's datasets may read any file in it
        self.folders = list(_folders_read(args))
        for path in files:
            self.check(path)

    def check(self, path: Path) -> None:
        """Raise InputError or OutputError if `path` may not be written."""
        from deconvviz.io.atomic import check_writable

        self._check_read(path)
        check_writable(path)
        self._check_there(path)

    def _check_read(self, path: Path) -> None:
        """Raise InputError if the command reads `path`."""
        from deconvviz.io.ownership import is_ours, lies_in

        shown = os.fspath(path)
        for source in self.read:
            if _same(path, source):
                raise InputError(f"{shown!r} is read by this command; name another file to write")
        if self.root and os.path.lexists(path) and lies_in(path, self.root) and not is_ours(path):
            raise InputError(f"{shown!r} is read by this command; name another file to write")
        for folder in self.folders:
            if folder.would_hold(path):
                raise InputError(
                    f"{shown!r} would lie in {folder.shown!r}, which this command reads; give a path outside with --out"
                )

    def _check_there(self, path: Path) -> None:
        """Raise OutputError if `path` exists and may not be replaced."""
        from deconvviz.io.ownership import is_ours

        shown = os.fspath(path)
        if not os.path.lexists(path) or self.force:
            return
        if not self.named:
            raise at_default_name(path)
        if not is_ours(path):
            raise OutputError(
                f"{shown!r} was not written by deconvviz, was changed since, or has a format without a mark; give "
                "another path with --out, or replace it with --force"
            )

    def write_figure(self, figure: Any, path: Path) -> None:
        """Write a figure atomically, in the format of the file's extension."""
        write_figure(figure, path, self._check_there)

    def save(self, result: Any, path: Path) -> None:
        """Save a result."""
        self._check_there(path)
        result.save(path)


def at_default_name(path: Path) -> OutputError:
    """The error for an existing file or folder under a command's default name."""
    return OutputError(
        f"{os.fspath(path)!r} already exists, and a default name replaces nothing; give another path with --out, or "
        "pass this one to --out to replace what deconvviz wrote"
    )


def check_outside_inputs(args: argparse.Namespace, out: Path) -> None:
    """Raise InputError if the atlas folder would lie inside the images' folder, or contain it or the scan's state."""
    from deconvviz.data.folder import check_apart
    from deconvviz.io.ownership import lies_in

    if args.state and lies_in(args.state, out):
        raise InputError(f"the state {args.state!r} would lie in the atlas {os.fspath(out)!r}; name another folder")
    if os.path.isdir(args.data):
        check_apart(out, args.data)


class _Folder(NamedTuple):
    """A folder that a command reads; `deep` includes sub-folders, `endings` are the file types that it reads."""

    shown: str
    deep: bool
    endings: frozenset[str]

    def would_hold(self, path: Path) -> bool:
        """Whether the next run would read `path`."""
        if path.suffix.lower() not in self.endings:
            return False
        from deconvviz.io.ownership import lies_in

        place = os.path.realpath(path.parent)
        return any(lies_in(place, root) if self.deep else place == root for root in self._roots())

    def _roots(self) -> Iterator[str]:
        """The folder, and the folders that links in it point to."""
        yield os.path.realpath(self.shown)
        if self.deep:
            with os.scandir(self.shown) as entries:
                yield from (os.path.realpath(entry.path) for entry in entries if entry.is_symlink() and entry.is_dir())


def _files_read(args: argparse.Namespace) -> Iterator[str]:
    """The files that a command's arguments name as inputs."""
    from deconvviz.data.archives import expanded

    model, other, preprocess = (str(getattr(args, name, "") or "") for name in ("model", "other", "preprocess"))
    names = [model, model.rpartition(":")[0], preprocess.rpartition(":")[0], *(getattr(args, "images", None) or ())]
    names += [other, other.rpartition(":")[0]]
    weights = getattr(args, "weights", None)
    names += weights if isinstance(weights, list) else [weights]
    names += [getattr(args, name, None) for name in ("image", "parts", "classes", "top")]
    names += expanded(str(getattr(args, "data", None) or ""))
    yield from (str(name) for name in names if name and os.path.isfile(name))


def _folders_read(args: argparse.Namespace) -> Iterator[_Folder]:
    from deconvviz.images import ENDINGS
    from deconvviz.models.checkpoints import WEIGHT_ENDINGS

    for name in (getattr(args, "data", None), *(getattr(args, "images", None) or ())):
        if name and os.path.isdir(name):
            yield _Folder(str(name), True, ENDINGS)
    for name in (getattr(args, "checkpoints", None), getattr(args, "state", None)):
        if name:
            yield _Folder(str(name), False, frozenset(WEIGHT_ENDINGS))


def _same(path: Path, other: str) -> bool:
    """Whether both paths lead to one file, through whatever links."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False
