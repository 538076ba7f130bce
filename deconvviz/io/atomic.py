"""Files written whole or not at all, and on the disk when that is said.

Everything that the library writes goes through `replacing`. After a crash or a power cut a path holds what it held
before or what was written, never a part, and what had been reported as written is there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from deconvviz.errors import DeconvVizError, OutputError

if sys.platform != "win32":
    import fcntl

# A dot, the target's name, whose file it is, something random, the target's ending.
_HALF_WRITTEN = re.compile(r"\.(.+)\.deconvviz-[a-z0-9_]{8}(\.\w+)?")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    The bytes are flushed to the disk before the rename and the folder after it, so `path` holds the old content or the
    new one, never a part, and once the block has ended the new one, also after a power cut. When the block raises, the
    temporary file is removed and `path` is as it was. Folders on the way to it are made. The temporary file is held
    (`hold`) as long as this process writes it.
    Raises OutputError where `path` cannot be written, as on a full disk, or is no file, as a folder or a device.

    >>> import pathlib, tempfile
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
    >>> with replacing(target) as beside:
    ...     _ = beside.write_text("done")
    >>> target.read_text(), len(list(target.parent.iterdir()))
    ('done', 1)
    """
    target = Path(path)
    with explained(path):
        _check_replaceable(target)
        make_folder(target.parent)
        with _temporary(target, target.parent) as name:
            try:
                yield Path(name)
                with open(name, "rb+") as written:
                    os.chmod(name, target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
                    os.fsync(written.fileno())
                os.replace(name, target)
            except BaseException:
                with contextlib.suppress(OSError):  # what went wrong first is what is said
                    os.unlink(name)
                raise
    _sync_folder(target.parent)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OutputError where `path` could not be written, before the work is done whose result goes there.

    What killed writers of `path` left beside it is removed.
    """
    target = Path(path)
    with explained(path):
        _check_replaceable(target)
        folder = target.parent
        while not folder.exists():
            folder = folder.parent
        with _temporary(target, folder) as name:
            os.unlink(name)
        for one in folder.glob(".*"):
            if target_of(one) == target.name[:32] and (one.suffix == target.suffix):
                _remove_left(one, held=True)


@contextlib.contextmanager
def _temporary(target: Path, folder: Path) -> Iterator[str]:
    """A new file in `folder` for what will be `target`, held until the block ends; whoever made it removes it."""
    while True:
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{target.name[:32]}.deconvviz-", suffix=target.suffix)
        if sys.platform == "win32":
            os.close(handle)  # an open file cannot be renamed there
            yield name
            return
        try:
            hold(handle)
            if os.path.lexists(name):  # and was not taken for a dead writer's before it was held
                yield name
                return
        finally:
            os.close(handle)


def hold(handle: int) -> bool | None:
    """Whether this process now holds an open file alone; None where that cannot be known.

    The system lets go of it when the file is closed or the process dies, however it dies. Network disks pass this on
    between machines (NFS, CephFS, Lustre with ``flock``); where a disk knows no locks, and on Windows, it is None.
    """
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def may_hang(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a device, a pipe or a socket: who reads from it may wait for ever."""
    with contextlib.suppress(OSError, ValueError):
        mode = os.stat(path).st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False


def safe_name(text: str) -> str:
    """`text` as the name of a file, without what could lead to another folder or is no name anywhere.

    >>> safe_name("../a/b: c?"), safe_name("features.28"), len(safe_name("x" * 1000))
    ('.._a_b_ c_', 'features.28', 150)
    """
    kept = "".join(char if char.isalnum() or char in "._- ()" else "_" for char in text)
    return kept.encode("utf-8")[:150].decode("utf-8", "ignore")


@contextlib.contextmanager
def explained(path: str | os.PathLike[str]) -> Iterator[None]:
    """Says which file cannot be written, and why."""
    try:
        yield
    except DeconvVizError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        if isinstance(error, (FileExistsError, NotADirectoryError)):
            reason = "what should be its folder is a file"
        raise OutputError(f"{os.fspath(path)!r} cannot be written: {reason}; nothing there was changed") from error


def _check_replaceable(target: Path) -> None:
    if "\0" in os.fspath(target):
        raise OutputError(f"{os.fspath(target)!r} contains a NUL, which file names cannot")
    with contextlib.suppress(FileNotFoundError):
        mode = target.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a device or pipe"
            raise OutputError(f"{os.fspath(target)!r} is {kind}; name a file to write")


def append(path: Path, content: bytes) -> None:
    """Add to the end of a file, on the disk when this returns; a power cut before may leave a part of `content`."""
    with explained(path), path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def remove(paths: Iterable[Path]) -> None:
    """Remove files, those that are there, so that they do not come back after a power cut."""
    folders = set()
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            folders.add(path.parent)
    for folder in sorted(folders):
        _sync_folder(folder)


def target_of(path: Path) -> str | None:
    """The name of the file that a killed `replacing` was writing to `path`, at most 32 letters of it; else None.

    >>> target_of(Path("out/.rank-0.safetensors.deconvviz-ab12_x9z.safetensors"))
    'rank-0.safetensors'
    >>> target_of(Path("out/.rank-0.safetensors.20261127.safetensors"))  # somebody's copy
    """
    half = _HALF_WRITTEN.fullmatch(path.name)
    return half[1] if half else None


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Remove the temporary files that killed writers of files called `pattern`, a regular expression, left in `folder`.

    One that a living process holds stays. Where a disk knows no locks all go, so only for names that no other process
    can be writing now.
    """
    for path in list(folder.glob(".*")):
        if re.fullmatch(pattern, target_of(path) or ""):
            _remove_left(path)


def _remove_left(path: Path, held: bool = False) -> None:
    """Remove a temporary file unless its writer lives. held: only where that is known."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            return
        handle = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        try:
            free = hold(handle)
        finally:
            os.close(handle)
        if free if held else free is not False:
            remove([path])


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and those on the way to it, so that they stay after a power cut; those that were missing.

    The innermost is the first of them.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    if missing:
        os.makedirs(folder, exist_ok=True)
    for one in missing:
        _sync_folder(one.parent)
    return missing


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can: Windows and some network disks cannot."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
