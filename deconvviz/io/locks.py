"""One job at a time in a folder, by a lock that a killed job releases.

The lock is a hidden file in the folder, held open by the job (`atomic.hold`); the system releases it when the job dies.
On a disk without locks, the existence of the file is the lock, and it contains the job's process and machine. A lock
left behind is then recognised only on the same machine; elsewhere the error says which file to remove.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from deconvviz.errors import OutputError
from deconvviz.io.atomic import explained, hold, make_folder

LOCK = ".deconvviz-lock"
_OPEN = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)

_mine: dict[str, tuple[int, int]] = {}  # folders held by this process: process and thread
_handles: set[int] = set()  # open lock files


def _close_inherited() -> None:
    """Close inherited locks: a loader process must not keep its parent's locks."""
    for handle in _handles:
        with contextlib.suppress(OSError):
            os.close(handle)
    _handles.clear()
    _mine.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)


@contextlib.contextmanager
def alone(folder: str | os.PathLike[str]) -> Iterator[None]:
    """A block that only one thread of one process can be in for a folder; the same thread may enter it again.

    The folder is created if it is missing, and removed if it stays empty.

    Raises:
        OutputError: If another job holds the folder, or it cannot be written.

    Example:
        >>> import tempfile
        >>> where = tempfile.mkdtemp()
        >>> with alone(where), alone(where):
        ...     os.listdir(where)
        ['.deconvviz-lock']
        >>> os.listdir(where)
        []
    """
    root, me = Path(folder), (os.getpid(), threading.get_ident())
    key = os.path.realpath(root)
    if _mine.get(key) == me:
        yield
        return
    with explained(root / LOCK):
        created = make_folder(root)
        handle = _taken(root)
    _mine[key] = me
    _handles.add(handle)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # report the first error
            _let_go(root, handle, created)
        raise
    else:
        with explained(root / LOCK):
            _let_go(root, handle, created)
    finally:
        _mine.pop(key, None)
        _handles.discard(handle)


def _taken(root: Path) -> int:
    """The open lock file, held by this process."""
    path = root / LOCK
    while True:
        try:
            handle, new = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o666), True
        except FileExistsError:
            try:
                handle, new = os.open(path, _OPEN), False
            except FileNotFoundError:  # released in between
                continue
        try:
            if _is_ours(path, handle, new):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_ours(path: Path, handle: int, new: bool) -> bool:
    """Whether the lock is held now; False if the file vanished. Raises OutputError if another job holds it."""
    holder = os.read(handle, 200).decode("utf-8", "replace")
    free, hint = hold(handle), ""
    if free is None:
        free, hint = new or _is_dead(holder), f"; if it is gone, remove {os.fspath(path)!r}"
    if not free:
        who = f" ({holder})" if holder and holder.isprintable() else ""
        shown = os.fspath(path.parent)
        raise OutputError(f"another job{who} is writing to {shown!r}; wait until it ends, or name another folder{hint}")
    if not (os.path.lexists(path) and os.path.samestat(os.lstat(path), os.fstat(handle))):
        return False
    os.lseek(handle, 0, os.SEEK_SET)
    os.ftruncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
    return True


def _is_dead(holder: str) -> bool:
    """Whether the job that left its name has ended, as far as this machine can tell."""
    words = holder.split()
    if sys.platform == "win32" or len(words) != 4 or words[3] != socket.gethostname() or not words[1].isdecimal():
        return False
    try:
        os.kill(int(words[1]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _let_go(root: Path, handle: int, created: list[Path]) -> None:
    if sys.platform == "win32":
        os.close(handle)  # an open file cannot be removed there
        os.unlink(root / LOCK)
    else:
        try:
            os.unlink(root / LOCK)
        finally:
            os.close(handle)
    for folder in created:
        with contextlib.suppress(OSError):  # it is not empty
            os.rmdir(folder)
