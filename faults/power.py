"""What may be on a disk after a power cut: anything that the operations so far permit.

What POSIX promises and no more: the content of a file is on the disk once the file was synced, and a name (made,
renamed, removed) once the folder was synced after it. What is pending may be there or not, each on its own, except
that a rename is one change; and a file that was not synced may be empty, cut off, full of zeros or whole. Where
something was added to a file that had been synced, this holds for what was added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath

from faults.operations import Operation

Tree = dict[str, bytes]  # content by path; folders end in a slash
Change = tuple[
    str, dict[str, int | None]
]  # a folder, and what some of its names stand for now: a file's number or none
FOLDER = -1


def states(before: Mapping[str, bytes], log: list[Operation], done: int) -> Iterator[Tree]:
    """What may be on the disk when the power goes after the first `done` operations of `log`; the first is the worst.

    before: what is on the disk when they begin.
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
    # Before it is synced a file may have been written in part.
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
    """`content` as far as it may be on the disk, of which `synced` is, where it is a beginning of it."""
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
    """The names that can be reached."""
    tree: Tree = {}
    for path, number in sorted(names.items()):  # folders before what is in them
        above = _name(str(PurePosixPath(path).parent))
        if number is not None and (not above or above in tree):
            tree[path] = b"" if number == FOLDER else contents[number]
    return tree
