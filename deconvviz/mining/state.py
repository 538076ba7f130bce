"""The folder in which a scan keeps its progress, with one file for each process of a distributed job.

Each file is replaced as a whole. It holds what its process has seen, which batches these were, and what the scan
belongs to. A job may go on from the files of another job with more or fewer processes, since no batch is in two files.
"""

from __future__ import annotations

import functools
import operator
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deconvviz.data.identity import difference
from deconvviz.errors import DataError, InputError
from deconvviz.io.atomic import check_writable, remove_leftovers
from deconvviz.mining.progress import Runs, ScanProgress
from deconvviz.mining.ranks import Ranks

SECONDS = 10.0  # between two writes, at least
SHARE = 20  # and at least this many times as long as a write takes
_NAME = re.compile(r"rank-(0|[1-9]\d{0,8})\.safetensors")


class ScanState:
    """The progress of all processes of a scan, kept in a folder, or only in memory.

    The folder is used by one job at a time, which holds its lock (`deconvviz.io.locks.alone`).

    Attributes:
        own: The progress of this process.
        others: That of earlier jobs, and of other processes of this one as an earlier job left it, by rank.
        root: The folder, or None.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None, identity: dict[str, Any], ranks: Ranks, streamed: bool = False
    ) -> None:
        """Read the folder, if there is one.

        Args:
            folder: The folder; None to keep nothing on disk and to start anew.
            identity: What the scan is of, to be compared with what the files belong to.
            ranks: The processes of this job.
            streamed: Whether the images come from an iterable, whose batches are compared with what they were when
                they come again.

        Raises:
            InputError: If the folder belongs to another scan, or would count images twice.
            DataError: If there are files that no scan has written.
        """
        self.own, self.identity, self.rank = ScanProgress({}), identity, ranks.rank
        self.others: dict[int, ScanProgress] = {}
        self.root = None if folder is None else checked_folder(folder)
        self._written_at, self._write_took = time.monotonic(), 0.0
        self._to_compare: list[_SeenBefore] = []
        if self.root is None:
            return
        check_writable(self.root / f"rank-{self.rank}.safetensors")
        remove_leftovers(self.root, rf"rank-{self.rank}\.safetensors")
        by_rank = _progress_by_rank(self.root, identity)
        if streamed:  # each file is looked after by one process
            self._to_compare = [
                _SeenBefore(part.done | Runs(), len(part.done), part.content)
                for rank, part in by_rank.items()
                if rank % ranks.world == ranks.rank
            ]
        self.own = by_rank.pop(self.rank, self.own)
        self.others = by_rank

    @property
    def done(self) -> Runs:
        """The batches that need not be scanned again."""
        return functools.reduce(operator.or_, (other.done for other in self.others.values()), self.own.done)

    # Batches of an iterable that come again

    def comes_again(self, number: int) -> bool:
        """Whether an earlier job scanned a batch, so that it must be compared."""
        return any(number in part.done for part in self._to_compare)

    def compare(self, number: int, content: int) -> None:
        """Compare a batch that comes again with what it was.

        Raises:
            InputError: If all batches of a file have come again and hold other images.
        """
        for part in [part for part in self._to_compare if number in part.done]:
            part.content, part.left = (part.content - content) % 2**64, part.left - 1
            if not part.left:
                self._to_compare.remove(part)
                if part.content:
                    raise self._other_images()

    def check_all_compared(self) -> None:
        """Raise InputError if the iterable has ended and gave more images in the earlier job."""
        if self._to_compare:
            raise self._other_images()

    def _other_images(self) -> InputError:
        return _belongs_elsewhere(self.root, "the iterable no longer gives the same images")

    # Writing and merging

    @property
    def due(self) -> bool:
        """Whether the last write is long enough ago."""
        return time.monotonic() - self._written_at >= max(SECONDS, SHARE * self._write_took)

    def save(self) -> None:
        """Write this process's progress to the folder, if there is one."""
        started = time.monotonic()
        if self.root is not None:
            self.own.save(self.root / f"rank-{self.rank}.safetensors", self.identity)
        self._written_at = time.monotonic()
        self._write_took = self._written_at - started

    def merged(self, ranks: Ranks, count: int, batch_size: int) -> ScanProgress:
        """What all processes of this job and of earlier ones have seen, the same in each process.

        Args:
            ranks: The processes of this job.
            count: Number of items in this process's dataset, or that its iterable gave.
            batch_size: Number of items in a batch.

        Raises:
            InputError: If the processes have different numbers of items.
            DataError: If not every item was seen exactly once.
        """
        parts = ranks.gathered((self.own, count))
        for rank, (_, other) in enumerate(parts):
            if other != parts[0][1]:
                raise InputError(
                    f"the iterables of this job give {parts[0][1]} items in process 0 and {other} in process {rank}; "
                    f"give all processes the same one"
                )
        total = ScanProgress({})
        for part, _ in parts:
            total.merge(part)
        # What processes of this job left on disk is in what they have just sent. All of them read the same other files.
        for rank, left in self.others.items():
            if rank >= ranks.world:
                total.merge(left)
        seen = total.count + len(total.broken)
        if seen != count or len(total.done) != -(-count // batch_size):
            where = "this job" if self.root is None else f"the state in {os.fspath(self.root)!r}"
            raise DataError(f"{where} is inconsistent: it covers {seen} of {count} items; remove it and scan again")
        return total


@dataclass
class _SeenBefore:
    """Batches in a file of an earlier job: `left` of them have not come again, with `content` among them."""

    done: Runs
    left: int
    content: int


def checked_folder(folder: str | os.PathLike[str]) -> Path:
    """The path of a state's folder.

    Raises:
        InputError: If it is no folder.
        OutputError: If it cannot be written.
    """
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise InputError(f"the state {os.fspath(folder)!r} is a file; name a folder")
    check_writable(Path(folder) / "rank-0.safetensors")
    return Path(folder)


def _progress_by_rank(root: Path, identity: dict[str, Any]) -> dict[int, ScanProgress]:
    """The progress in a folder by rank, which must belong to the scan, with no batch in two files."""
    by_rank: dict[int, ScanProgress] = {}
    for path in sorted(root.glob("rank-*")):
        match = _NAME.fullmatch(path.name)
        if match is None or not path.is_file():
            raise DataError(
                f"the state in {os.fspath(root)!r} holds {path.name!r}, which was not written by a scan; remove it"
            )
        progress, before = ScanProgress.load(path)
        if what := difference(before, identity):
            raise _belongs_elsewhere(root, "its {} was {} and is now {}".format(*what))
        for rank, other in by_rank.items():
            if (shared := progress.done.shared(other.done)) is not None:
                raise InputError(
                    f"the state in {os.fspath(root)!r} would count images twice: 'rank-{rank}.safetensors' and "
                    f"{path.name!r} both have batch {shared}; remove the one that is a copy, or both"
                )
        by_rank[int(match[1])] = progress
    return by_rank


def _belongs_elsewhere(root: Path | None, what: str) -> InputError:
    return InputError(
        f"the state in {os.fspath(root or '')!r} belongs to another scan: {what}; name another folder, or remove this "
        f"one to start over"
    )
