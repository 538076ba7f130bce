"""Records the operations of a process on the files under a folder, and injects a fault into one of them.

The functions of `os` are wrapped: calls are counted and logged, and one of them can be made to fail. Writing is not
wrapped, because torch, safetensors and Pillow write in their own ways. Its faults are real: the file is replaced by
/dev/full, or the size of files is limited, so that the kernel refuses the write.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

HALF = "half written, then killed"
TWO = "a second job"
WRITING = ("full disk", "size limit")  # faults of the writes after a create
FAULTS = {  # possible faults, by kind of operation
    "make folder": ("killed", "EIO", "ENOSPC"),
    "create": ("killed", "EIO", "ENOSPC", *WRITING),
    "chmod": ("killed", "EIO"),
    "sync file": ("killed", HALF, "EIO", "ENOSPC"),
    "rename": ("killed", "EIO", "ENOSPC"),
    "sync folder": ("killed", "EIO"),
    "remove": ("killed", "EIO"),
}


class Operation(NamedTuple):
    """One operation; paths are relative to the root. content: of the file that is synced or renamed."""

    kind: str
    path: str
    target: str = ""
    content: bytes = b""


class Watched:
    """Watches the operations on files under `root` from `start` on, and injects `fault` into number `at`.

    size: of the file that the operation creates, for a limit of half that size.
    """

    def __init__(self, root: Path, at: int = -1, fault: str = "", size: int = 0) -> None:
        self.root, self.at, self.fault, self.size = os.fspath(root), at, fault, size
        self.log: list[Operation] = []
        self.meanwhile: Callable[[], object] = lambda: None  # called before that operation if it has no fault
        self._real: dict[str, Callable[..., Any]] = {}
        self._synced: dict[str, bytes] = {}

    def start(self) -> None:
        """Wrap the functions of `os`, for the rest of this process's life."""
        wrappers = (self.open, self.fsync, self.replace, self.unlink, self.mkdir, self.chmod)
        for wrapper in wrappers:
            self._real[wrapper.__name__] = getattr(os, wrapper.__name__)
            setattr(os, wrapper.__name__, wrapper)

    # The wrappers, named like their functions in `os`

    def open(self, path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        fails = flags & os.O_CREAT and self._ours(path) and self._note("create", path)
        handle = int(self._real["open"](path, flags, *arguments, **options))
        if fails:  # the file exists and is empty
            self._spoil_writing(path)
        return handle

    def fsync(self, handle: int) -> None:
        path = os.readlink(f"/proc/self/fd/{handle}")
        if self._ours(path) or path == self.root:
            folder = os.path.isdir(path)
            content = b"" if folder else _content(path)
            self._note("sync folder" if folder else "sync file", path, content=content)
            self._synced[path] = content
        self._real["fsync"](handle)

    def replace(self, source: Any, target: Any) -> None:
        if self._ours(target):
            self._note("rename", source, target, _content(source))
        self._real["replace"](source, target)

    def unlink(self, path: Any, **options: Any) -> None:
        if self._ours(path) and os.path.lexists(path):
            self._note("remove", path)
        self._real["unlink"](path, **options)

    def mkdir(self, path: Any, *arguments: Any, **options: Any) -> None:
        if self._ours(path):
            self._note("make folder", path)
        self._real["mkdir"](path, *arguments, **options)

    def chmod(self, path: Any, *arguments: Any, **options: Any) -> None:
        if self._ours(path):
            self._note("chmod", path)
        self._real["chmod"](path, *arguments, **options)

    def _ours(self, path: Any) -> bool:
        return os.fspath(path).startswith(self.root + os.sep)

    def _note(self, kind: str, path: Any, target: Any = "", content: bytes = b"") -> bool:
        """Whether the operation has its fault, where that is not one of those that come now."""
        number = len(self.log)
        relative = [os.path.relpath(one, self.root) if one else "" for one in (path, target)]
        self.log.append(Operation(kind, *relative, content))
        if number != self.at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            return False
        if self.fault == TWO:
            self.meanwhile()
            return False
        if self.fault == HALF:  # of what was appended since the last sync
            before = self._synced.get(os.fspath(path), b"")
            os.truncate(path, (len(content) + (len(before) if content.startswith(before) else 0)) // 2)
        if self.fault in ("killed", HALF):
            os.kill(os.getpid(), signal.SIGKILL)
        if hasattr(errno, self.fault):
            code = getattr(errno, self.fault)
            raise OSError(code, os.strerror(code), os.fspath(path))
        return True

    def _spoil_writing(self, path: Any) -> None:
        if self.fault == "size limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.size // 2, resource.RLIM_INFINITY))
        else:
            self._real["unlink"](path)
            os.symlink("/dev/full", path)


def _content(path: Any) -> bytes:
    return Path(path).read_bytes()


def faults_of(log: list[Operation]) -> list[tuple[int, str, int]]:
    """All single faults of a run with this log: number of the operation, fault, size of the file it creates."""
    sizes = {operation.path: len(operation.content) for operation in log if operation.kind == "rename"}
    return [
        (number, fault, sizes.get(operation.path, 0))
        for number, operation in enumerate(log)
        for fault in FAULTS[operation.kind]
        if fault not in WRITING or operation.path in sizes
    ]
