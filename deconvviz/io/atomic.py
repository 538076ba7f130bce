"""Atomic, durable file writes.

Everything that the library writes goes through `replacing`. After a crash or a power cut, a path holds its old content
or the complete new content, and what was reported as written is there.
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

# A dot, the target's name, the library's name, a random part, the target's extension.
_HALF_WRITTEN = re.compile(r"\.(.+)\.deconvviz-[a-z0-9_]{8}(\.\w+)?")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path next to `path`, which replaces `path` when the block ends without an error.

    The bytes are flushed to disk before the rename, and the folder after it. So `path` holds the old or the new
    content, never a part, and the new one once the block has ended, even after a power cut. If the block raises an
    error, the temporary file is removed and `path` is unchanged. Missing folders are created. This process holds the
    temporary file (`hold`) while it writes.

    Raises:
        OutputError: If `path` cannot be written, for example on a full disk, or is a folder or a device.

    Example:
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
                with contextlib.suppress(OSError):  # report the first error
                    os.unlink(name)
                raise
    _sync_folder(target.parent)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OutputError if `path` could not be written, before the work for it is done.

    Temporary files that killed writers of `path` left next to it are removed.
    """
    target = Path(path)
    with explained(path):
        _check_replaceable(target)
        folder = target.parent
        while not folder.exists():
            folder = folder.parent
        with _temporary(target, folder) as name:
            os.unlink(name)
        for file in folder.glob(".*"):
            if target_of(file) == target.name[:32] and (file.suffix == target.suffix):
                _remove_left(file, held=True)


@contextlib.contextmanager
def _temporary(target: Path, folder: Path) -> Iterator[str]:
    """A new file in `folder` that will become `target`, held until the block ends; the caller removes it."""
    while True:
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{target.name[:32]}.deconvviz-", suffix=target.suffix)
        if sys.platform == "win32":
            os.close(handle)  # an open file cannot be renamed there
            yield name
            return
        try:
            # Nobody removed it, or is about to, as a dead writer's before it was held.
            if hold(handle) is not False and os.path.lexists(name):
                yield name
                return
        finally:
            os.close(handle)


def hold(handle: int) -> bool | None:
    """Whether this process now holds an open file alone; None if that cannot be known.

    The system releases it when the file is closed or the process dies. Network disks propagate this between machines
    (NFS, CephFS, Lustre with ``flock``). The result is None on disks without locks and on Windows.
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
    """Whether a path is a device, a pipe or a socket, from which a reader may wait forever."""
    with contextlib.suppress(OSError, ValueError):
        mode = os.stat(path).st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False


def safe_name(text: str) -> str:
    """`text` as a file name, without characters that could lead to another folder or are invalid on some system.

    Example:
        >>> safe_name("../a/b: c?"), safe_name("features.28"), len(safe_name("x" * 1000))
        ('.._a_b_ c_', 'features.28', 150)
    """
    kept = "".join(char if char.isalnum() or char in "._- ()" else "_" for char in text)
    return kept.encode("utf-8")[:150].decode("utf-8", "ignore")


@contextlib.contextmanager
def explained(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an OSError into an OutputError that names the file and the reason."""
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
    """Append to a file, durably; a power cut before the return may leave a part of `content`."""
    with explained(path), path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def remove(paths: Iterable[Path]) -> None:
    """Remove files that exist, durably."""
    folders = set()
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            folders.add(path.parent)
    for folder in sorted(folders):
        _sync_folder(folder)


def target_of(path: Path) -> str | None:
    """The name of the file that a killed `replacing` was writing to `path`, at most 32 letters of it; otherwise None.

    Example:
        >>> target_of(Path("out/.rank-0.safetensors.deconvviz-ab12_x9z.safetensors"))
        'rank-0.safetensors'
        >>> target_of(Path("out/.rank-0.safetensors.20261127.safetensors"))  # somebody's copy
    """
    half = _HALF_WRITTEN.fullmatch(path.name)
    return half[1] if half else None


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Remove the temporary files in `folder` that were left by killed writers of files whose name matches `pattern`.

    A file held by a running process stays. On a disk without locks all are removed, so this is only for names that no
    other process can be writing.
    """
    for path in list(folder.glob(".*")):
        if re.fullmatch(pattern, target_of(path) or ""):
            _remove_left(path)


def _remove_left(path: Path, held: bool = False) -> None:
    """Remove a temporary file unless its writer is running. held: only if that is known."""
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
    """Create a folder and its parents, durably; return those that were missing, the innermost first."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    if missing:
        os.makedirs(folder, exist_ok=True)
    for created in missing:
        _sync_folder(created.parent)
    return missing


def _sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, if the system can: Windows and some network disks cannot."""
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
