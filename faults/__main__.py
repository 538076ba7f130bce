"""Injects a fault into every file operation of the commands that write, runs them again, and compares the files.

It first records a run without faults. Then, for each file operation of that run, it injects every possible fault (each
in its own run), starts a second job just before the operation, and puts the disk into every state that a power cut may
leave. After each fault it checks the files and repeats the call, which must end with the bytes of the run without
faults. Other files of the user, next to those of the command, must never change.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pickle
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch

from deconvviz.atlas.inventory import JOURNAL
from deconvviz.errors import DeconvVizError
from deconvviz.io.atomic import target_of
from deconvviz.io.locks import LOCK
from faults.operations import TWO, Operation, Watched, faults_of
from faults.power import Tree, states
from faults.workloads import WORKLOADS, Workload

DONE, REFUSED, CRASHED = 0, 2, 3  # exit statuses of a run; REFUSED: it ended with one sentence
POWER = "power cut"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__.partition("\n")[0])
    parser.add_argument("commands", nargs="*", default=list(WORKLOADS), help=f"some of: {'; '.join(WORKLOADS)} (all)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth fault (%(default)s)")
    given = parser.parse_args()
    torch.set_num_threads(1)  # runs are forked
    started, injected, failures = time.monotonic(), Counter[tuple[str, str]](), []
    for name in given.commands:
        with tempfile.TemporaryDirectory() as scratch:
            WORKLOADS[name].run(Path(scratch) / "once")  # imported here, so that runs need not import anything
            for fault, wrong in Trial(WORKLOADS[name], Path(scratch)).faults(given.every):
                injected[name, fault] += 1
                failures += [f"{name}, {fault}: {wrong}"] if wrong else []
    for (name, fault), count in injected.items():
        print(f"{name:16} {fault:28} {count:5}")
    for failure in failures:
        print(failure)
    total, minutes = sum(injected.values()), (time.monotonic() - started) / 60
    print(f"{total} faults injected, {len(failures)} failures, {minutes:.1f} minutes")
    return bool(failures) or not total


class Trial:
    """A workload, with the record of its run without faults."""

    def __init__(self, workload: Workload, scratch: Path) -> None:
        self.workload, self.scratch, self.root = workload, scratch, scratch / "root"
        self._put({})
        assert _in_child(lambda: workload.before(self.root))[0] == DONE
        self.others = {path: f"mine: {path}".encode() for path in workload.others}
        self._put(_read(self.root) | self.others)
        self.before = _read(self.root)
        status, said, self.log = self._run()
        assert status == DONE, said
        self.after = _read(self.root)
        assert not self._hurt(self.after), self._hurt(self.after)
        self.committed = {(path, content) for path, content in [*self.before.items(), *self.after.items()]}
        self.committed |= {(one.target, one.content) for one in self.log if one.kind == "rename"}

    def faults(self, every: int) -> Iterator[tuple[str, str]]:
        """Every fault, with a description of what went wrong, or ''."""
        unwritten = set(self.after) - set(self.before) - {one.target for one in self.log if one.kind == "rename"}
        yield "written beside and renamed", ", ".join(one for one in unwritten if not one.endswith("/"))
        for at, fault, size in faults_of(self.log)[::every]:
            yield (
                fault,
                f"{self.log[at].kind} {self.log[at].path}: {wrong}"
                if (wrong := self._disturbed(at, fault, size))
                else "",
            )
        for at in range(0, len(self.log), every):
            wrong = self._two(at)
            yield TWO, f"before {self.log[at].kind} {self.log[at].path}: {wrong}" if wrong else ""
        seen: set[bytes] = set()
        for done in sorted({*range(0, len(self.log), every), len(self.log)}):
            for tree in states(self.before, self.log, done):
                key = pickle.dumps(sorted(tree.items()))
                if key not in seen or done == len(self.log):
                    seen.add(key)
                    wrong = self._cut(tree, ended=done == len(self.log))
                    yield POWER, f"after {done} of {len(self.log)} operations: {wrong}" if wrong else ""

    def _disturbed(self, at: int, fault: str, size: int) -> str:
        self._put(self.before)
        status, said, _ = self._run(at, fault, size)
        found = _read(self.root)
        killed = "killed" in fault
        if status != (-signal.SIGKILL if killed else REFUSED):
            return f"it ended with {status}: {said}"
        if (
            not killed
            and self.log[at].kind != "remove"
            and (left := [one for one in found if _passing(one) and Path(one).name != JOURNAL])
        ):
            return f"it left {left[0]}"
        return self._faulty(found) or self._again()

    def _two(self, at: int) -> str:
        """Run a second job just before operation `at` of the first."""
        self._put(self.before)
        status, said, _ = self._run(at, TWO)
        if status != DONE:
            return f"it ended with {status}: {said}"
        status, said = pickle.loads((self.scratch / "second").read_bytes())
        if status != DONE and not (status == REFUSED and "another job" in said):
            return f"the second ended with {status}: {said}"
        found = _read(self.root)
        if _shown(found) != _shown(self.after):
            return f"the two gave something else: {_difference(found, self.after)}"
        return self._hurt(found) or next((f"they left {one}" for one in found if _passing(one)), "")

    def _hurt(self, found: Tree) -> str:
        """How the user's other files were changed, or ''."""
        wrong = [path for path, content in self.others.items() if found.get(path) != content]
        return f"somebody's {wrong[0]} is {'changed' if wrong[0] in found else 'gone'}" if wrong else ""

    def _cut(self, tree: Tree, ended: bool) -> str:
        self._put(tree)
        if ended and _shown(tree) != _shown(self.after):
            return f"what had been written is not there: {_difference(tree, self.after)}"
        return self._faulty(tree) or self._again()

    def _faulty(self, found: Tree) -> str:
        """What is wrong with the files after a fault, before the call is repeated, or ''."""
        if hurt := self._hurt(found):
            return hurt
        for path, content in _shown(found).items():
            if (path, content) not in self.committed:
                return f"{path} is neither what it was nor what it shall be"
        markers = self.workload.complete
        if any(marker in found for marker in markers):
            aside = (*markers, "atlas/index.html", "atlas/older/", "atlas/data/unfinished.js")  # others are compared
            wholes = [
                {p: c for p, c in _shown(one).items() if not p.startswith(aside)}
                for one in (found, self.before, self.after)
            ]
            if wholes[0] not in wholes[1:]:
                return f"it says that it is complete, and is not: {_difference(found, self.after)}"
        if markers:
            seen, before, after = (
                self.workload.seen({path: content for path, content in _shown(one).items() if path not in self.others})
                for one in (found, self.before, self.after)
            )
            if seen not in (before, after) and (before or seen):
                return "what is seen is neither what it was nor what it shall be"
        lost = [path for path in self.before if path in self.after and path not in found]
        return f"{lost[0]} is lost" if lost and not markers else ""

    def _again(self) -> str:
        status, said, _ = self._run()
        if status != DONE:
            return f"started again it ended with {status}: {said}"
        found = _read(self.root)
        if _shown(found) != _shown(self.after):
            return f"started again it gave something else: {_difference(found, self.after)}"
        if hurt := self._hurt(found):
            return f"started again: {hurt}"
        left = [one for one in found if _passing(one) and one.startswith(self.workload.swept)]
        return f"started again it left {left[0]}" if left and self.workload.swept else ""

    def _run(self, at: int = -1, fault: str = "", size: int = 0) -> tuple[int, str, list[Operation]]:
        """Run the workload in its own process; return its exit status, its message and, if it finished, its log."""
        path = self.scratch / "log"

        def run() -> None:
            watched = Watched(self.root, at, fault, size)

            def second() -> None:
                watched.at = -1
                ended = _in_child(lambda: self.workload.run(self.root))
                (self.scratch / "second").write_bytes(pickle.dumps(ended))

            watched.meanwhile = second
            watched.start()
            self.workload.run(self.root)
            path.write_bytes(pickle.dumps(watched.log))

        path.unlink(missing_ok=True)
        status, said = _in_child(run)
        return status, said, pickle.loads(path.read_bytes()) if path.exists() else []

    def _put(self, tree: Mapping[str, bytes]) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()
        for path, content in tree.items():
            if path.endswith("/"):
                (self.root / path).mkdir(parents=True, exist_ok=True)
            else:
                (self.root / path).parent.mkdir(parents=True, exist_ok=True)
                (self.root / path).write_bytes(content)


def _in_child(function: Callable[[], object]) -> tuple[int, str]:
    """Call `function` in a forked process; return its exit status (negative for a signal) and the error it raised."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = DONE
        try:
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
                function()
        except BaseException as error:
            status = REFUSED if isinstance(error, (DeconvVizError, OSError)) else CRASHED
            os.write(writing, f"{type(error).__name__}: {error}"[:2000].encode())
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def _read(root: Path) -> Tree:
    paths = sorted(root.rglob("*"))
    return {
        f"{p.relative_to(root)}/" if p.is_dir() else f"{p.relative_to(root)}": b"" if p.is_dir() else p.read_bytes()
        for p in paths
    }


def _shown(tree: Mapping[str, bytes]) -> Tree:
    """The files, without folders and without those that exist only while a command runs."""
    return {p: content for p, content in tree.items() if not p.endswith("/") and not _passing(p)}


def _passing(path: str) -> bool:
    """Whether a file exists only while a command runs: a temporary file, a lock, or the journal of an atlas."""
    return target_of(Path(path)) is not None or Path(path).name in (LOCK, JOURNAL)


def _difference(found: Tree, wanted: Tree) -> str:
    one, other = _shown(found), _shown(wanted)
    return next(path for path in sorted({*one, *other}) if one.get(path) != other.get(path))


if __name__ == "__main__":
    sys.exit(main())
