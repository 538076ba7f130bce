"""The states that a disk may have after a power cut, given the operations so far.

This assumes only what POSIX promises: the content of a file is on disk once the file was synced, and a change of a name
(created, renamed, removed) once its folder was synced afterwards. Each pending change may or may not have happened,
independently; a rename is a single change. A file that was not synced may be empty, truncated, full of zeros or
complete. If something was appended to a synced file, this holds for the appended part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath

from faults.operations import Operation

Tree = dict[str, bytes]  # content by path; folders end in a slash
Change = tuple[str, dict[str, int | None]]  # a folder, and for some of its names the number of the file, or none
FOLDER = -1


def states(before: Mapping[str, bytes], log: list[Operation], done: int) -> Iterator[Tree]:
    """The possible contents of the disk after a power cut that follows the first `done` operations, the worst first.

    before: the content of the disk before these operations.
    """
    contents: dict[int, bytes] = dict(enumerate(before.values()))
    names: dict[str, int | None] = {path: FOLDER if path.endswith("/") else n for n, path in enumerate(before)}
    changes: list[Change] = []
    settled: list[bool] = []
    unsynced: dict[int, bytes] = {}
    current = dict(names)
    for operation in log[:done]:
        if operation.kind == "sync folder":
            settled = [
                known or folder == _name(operation.path) for (folder, _), known in zip(changes, settled, strict=True)
            ]
            continue
        change = _change(operation, current, contents)
        if change:
            changes.append((_name(str(PurePosixPath(operation.target or operation.path).parent)), change))
            settled.append(False)
            current.update(change)
        if operation.kind == "create":
            unsynced[len(contents) - 1] = b""
        if operation.kind == "sync file":
            contents[_number(current, operation.path)] = operation.content
            unsynced.pop(_number(current, operation.path), None)
        if operation.kind == "rename" and _number(current, operation.target) in unsynced:
            unsynced[_number(current, operation.target)] = operation.content
    # A file may be partly written before it is synced.
    if done < len(log) and log[done].kind == "sync file":
        unsynced[_number(current, log[done].path)] = log[done].content
    yield from _combined(names, changes, settled, contents, unsynced)


def _combined(
    names: dict[str, int | None],
    changes: list[Change],
    settled: list[bool],
    contents: dict[int, bytes],
    unsynced: dict[int, bytes],
) -> Iterator[Tree]:
    pending = [number for number, known in enumerate(settled) if not known]
    every = frozenset(pending)
    chosen = [frozenset[int](), every, *(frozenset([n]) for n in pending), *(every - {n} for n in pending)]
    for kept in dict.fromkeys(chosen):
        applied = dict(names)
        for number, (_, change) in enumerate(changes):
            if settled[number] or number in kept:
                applied.update(change)
        for write in (lambda _: b"", lambda b: b[: len(b) // 2], lambda b: bytes(len(b)), lambda b: b):
            written = {number: _added(contents[number], content, write) for number, content in unsynced.items()}
            yield _tree(applied, contents | written)


def _added(synced: bytes, content: bytes, write: Callable[[bytes], bytes]) -> bytes:
    """The possible forms of `content` on disk; its beginning `synced`, if it is one, is on disk for sure."""
    kept = len(synced) if content.startswith(synced) else 0
    return content[:kept] + write(content[kept:])


def _change(operation: Operation, current: dict[str, int | None], contents: dict[int, bytes]) -> dict[str, int | None]:
    if operation.kind == "create":
        contents[len(contents)] = b""
        return {operation.path: len(contents) - 1}
    if operation.kind == "rename":
        return {operation.path: None, operation.target: current[operation.path]}
    if operation.kind == "remove":
        return {operation.path: None}
    return {_name(operation.path): FOLDER} if operation.kind == "make folder" else {}


def _name(folder: str) -> str:
    return "" if folder == "." else folder.rstrip("/") + "/"


def _number(current: dict[str, int | None], path: str) -> int:
    number = current[path]
    assert number is not None, path
    return number


def _tree(names: dict[str, int | None], contents: dict[int, bytes]) -> Tree:
    """The files and folders that can be reached from the root."""
    tree: Tree = {}
    for path, number in sorted(names.items()):  # folders before their content
        above = _name(str(PurePosixPath(path).parent))
        if number is not None and (not above or above in tree):
            tree[path] = b"" if number == FOLDER else contents[number]
    return tree
