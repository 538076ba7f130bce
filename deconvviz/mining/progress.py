"""The progress of a scan: what it has seen so far, on disk and over the ranks of a distributed job.

In the state's folder every rank has one file, replaced whole: what it has seen, which batches those were, and what the
scan belongs to. Any number of ranks can go on from any number of files, since no batch is in two of them.
"""

from __future__ import annotations

import bisect
import functools
import json
import operator
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open

from deconvviz.data.batches import Batch
from deconvviz.data.identity import difference
from deconvviz.errors import DataError, InputError
from deconvviz.io.atomic import check_writable, may_hang, remove_leftovers
from deconvviz.io.safetensors_files import DAMAGE, checked, manifest_of, write_tensors
from deconvviz.mining.ranks import Ranks
from deconvviz.mining.tally import NAMES, Tally

FORMAT = 2
_MANIFEST = {
    "identity": dict[str, Any],
    "layers": tuple[str, ...],
    "done": tuple[tuple[int, int], ...],
    "broken": tuple[tuple[int, str], ...],
    "count": int,
    "content": int,
}
SECONDS = 10.0  # between two writes, at least
SHARE = 20  # and this many times as long as a write takes
_NAME = re.compile(r"rank-(0|[1-9]\d{0,8})\.safetensors")


class Runs:
    """Whole numbers, kept as runs of neighbours, first and last: no longer in memory than in a file.

    >>> numbers = Runs([(0, 3)])
    >>> for number in (7, 5, 4, 7):
    ...     numbers.add(number)
    >>> numbers.runs, 5 in numbers, 6 in numbers, len(numbers)
    ([[0, 5], [7, 7]], True, False, 7)
    """

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        self.runs: list[list[int]] = []
        for first, last in sorted(runs):
            if self.runs and first <= self.runs[-1][1] + 1:
                self.runs[-1][1] = max(last, self.runs[-1][1])
            else:
                self.runs.append([first, last])

    def add(self, number: int) -> None:
        if number in self:
            return
        at = bisect.bisect(self.runs, [number])
        before = at > 0 and self.runs[at - 1][1] == number - 1
        behind = at < len(self.runs) and self.runs[at][0] == number + 1
        first = self.runs[at - 1][0] if before else number
        last = self.runs[at][1] if behind else number
        self.runs[at - before : at + behind] = [[first, last]]

    def __contains__(self, number: int) -> bool:
        at = bisect.bisect(self.runs, [number + 1])
        return at > 0 and self.runs[at - 1][1] >= number

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.runs)

    def shared(self, other: Runs) -> int | None:
        """A number that is in both."""
        for first, last in self.runs:
            at = bisect.bisect(other.runs, [last + 1])
            if at > 0 and other.runs[at - 1][1] >= first:
                return max(first, other.runs[at - 1][0])
        return None

    def __or__(self, other: Runs) -> Runs:
        return Runs((first, last) for first, last in [*self.runs, *other.runs])


@dataclass
class Progress:
    """What has been seen: tallies per layer, the batches they are of, broken items, images that were read.

    content: of an iterable, the sum of what the batches hold, `deconvviz.data.source.content_of`.
    """

    tallies: dict[str, Tally]
    done: Runs = field(default_factory=Runs)
    broken: dict[int, str] = field(default_factory=dict)
    count: int = 0
    content: int = 0

    def add(self, batch: Batch, content: int) -> None:
        """A batch has been seen, and entered into the tallies."""
        self.count += len(batch.numbers)
        self.broken.update(batch.broken)
        self.done.add(batch.number)
        self.content = (self.content + content) % 2**64

    def merge(self, other: Progress) -> None:
        for layer, tally in other.tallies.items():
            if layer in self.tallies:
                self.tallies[layer].merge(tally)
            else:
                self.tallies[layer] = tally
        self.done = self.done | other.done
        self.broken |= other.broken
        self.count += other.count
        self.content = (self.content + other.content) % 2**64

    def save(self, path: Path, identity: dict[str, Any]) -> None:
        tensors = {
            f"{number}.{name}": tensor
            for number, tally in enumerate(self.tallies.values())
            for name, tensor in tally.tensors().items()
        }
        manifest = {
            "format": FORMAT,
            "identity": identity,
            "layers": list(self.tallies),
            "done": self.done.runs,
            "broken": sorted(self.broken.items()),
            "count": self.count,
            "content": self.content,
        }
        write_tensors(path, tensors, {"scan": json.dumps(manifest)})

    @classmethod
    def load(cls, path: Path) -> tuple[Progress, dict[str, Any]]:
        """What `save` wrote, and what it belongs to. Raises DataError for any other file."""
        if may_hang(path):
            raise DataError(f"{os.fspath(path)!r} is not a scan state (it is a device, pipe or socket); remove it")
        try:
            with safe_open(path, framework="pt") as stored:
                manifest = manifest_of(stored, "scan")
                if manifest["format"] != FORMAT:
                    raise DataError(f"the state {os.fspath(path)!r} was written by another version; remove it")
                for name, hint in _MANIFEST.items():
                    checked(manifest[name], hint, name)
                tallies = {
                    layer: Tally.of({name: stored.get_tensor(f"{number}.{name}") for name in NAMES})
                    for number, layer in enumerate(manifest["layers"])
                }
                done = Runs(manifest["done"])
        except DataError:
            raise
        except OSError as error:
            raise DataError(f"the state {os.fspath(path)!r} cannot be read ({error.strerror})") from error
        except DAMAGE as error:
            raise DataError(f"{os.fspath(path)!r} is not a scan state ({error}); remove it") from error
        broken = dict(map(tuple, manifest["broken"]))
        return cls(tallies, done, broken, manifest["count"], manifest["content"]), manifest["identity"]


class ScanState:
    """A folder with the progress of all ranks, or none: then nothing is written and all is to do.

    It is used by one job at a time, which holds the folder (`locks.alone`). streamed: whether the images come
    from an iterable, whose batches are compared with what they were when they come again.

    Raises InputError where the folder belongs to another scan, naming what differs, or would count images twice;
    DataError for files that no scan wrote.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None, identity: dict[str, Any], ranks: Ranks, streamed: bool = False
    ) -> None:
        self.own, self.identity, self.rank = Progress({}), identity, ranks.rank
        self.others: dict[int, Progress] = {}  # by rank: earlier jobs', or as another rank of this one left it
        self.root = None if folder is None else checked_folder(folder)
        self._written, self._took = time.monotonic(), 0.0
        self._again: list[_Again] = []
        if self.root is None:
            return
        check_writable(self.root / f"rank-{self.rank}.safetensors")
        remove_leftovers(self.root, rf"rank-{self.rank}\.safetensors")
        found = _loaded(self.root, identity)
        if streamed:  # each file is looked after by one rank
            self._again = [
                _Again(part.done | Runs(), len(part.done), part.content)
                for rank, part in found.items()
                if rank % ranks.world == ranks.rank
            ]
        self.own = found.pop(self.rank, self.own)
        self.others = found

    @property
    def done(self) -> Runs:
        """The batches that need not be seen again."""
        return functools.reduce(operator.or_, (other.done for other in self.others.values()), self.own.done)

    # Batches of an iterable that come again

    def comes_again(self, number: int) -> bool:
        """Whether a batch was seen before and is to be compared with what it was."""
        return any(number in part.done for part in self._again)

    def compare(self, number: int, content: int) -> None:
        """Hold a batch that comes again against what it was. Raises InputError where images are others."""
        for part in [part for part in self._again if number in part.done]:
            part.content, part.left = (part.content - content) % 2**64, part.left - 1
            if not part.left:
                self._again.remove(part)
                if part.content:
                    raise self._other_images()

    def compared(self) -> None:
        """The iterable has ended. Raises InputError where there were more images before."""
        if self._again:
            raise self._other_images()

    def _other_images(self) -> InputError:
        return _belongs_elsewhere(self.root, "the iterable no longer gives the same images")

    # What is kept

    def save(self, now: bool = False) -> None:
        """Write this rank's progress, where there is a folder and the last time is long enough ago, or `now`."""
        started = time.monotonic()
        if self.root is None or not (now or started - self._written >= max(SECONDS, SHARE * self._took)):
            return
        self.own.save(self.root / f"rank-{self.rank}.safetensors", self.identity)
        self._written = time.monotonic()
        self._took = self._written - started

    def whole(self, ranks: Ranks, count: int, batch_size: int) -> Progress:
        """All that was seen by all ranks and by those of earlier jobs, the same on each rank.

        count: the items that this rank's dataset has, or its iterable gave.
        Raises InputError where these are not as many in each rank, DataError where not every item was seen once.
        """
        parts = ranks.gathered((self.own, count))
        for rank, (_, other) in enumerate(parts):
            if other != parts[0][1]:
                raise InputError(
                    f"the iterables of this job give {parts[0][1]} items in process 0 and {other} in process {rank}; "
                    f"give all processes the same one"
                )
        merged = Progress({})
        for part, _ in parts:
            merged.merge(part)
        # What ranks of this job left on the disk is in what they have just sent. All ranks read the same other files.
        for rank, left in self.others.items():
            if rank >= ranks.world:
                merged.merge(left)
        seen = merged.count + len(merged.broken)
        if seen != count or len(merged.done) != -(-count // batch_size):
            where = "this job" if self.root is None else f"the state in {os.fspath(self.root)!r}"
            raise DataError(f"{where} is inconsistent: it covers {seen} of {count} items; remove it and scan again")
        return merged


@dataclass
class _Again:
    """Batches that a file has, of which `left` have not come again; content: what it has of these."""

    done: Runs
    left: int
    content: int


def checked_folder(folder: str | os.PathLike[str]) -> Path:
    """The path of a state. Raises InputError where it is no folder, OutputError where it cannot be written."""
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise InputError(f"the state {os.fspath(folder)!r} is a file; name a folder")
    check_writable(Path(folder) / "rank-0.safetensors")
    return Path(folder)


def _loaded(root: Path, identity: dict[str, Any]) -> dict[int, Progress]:
    """The progress in a folder, by rank, where it belongs to the scan and no batch is in two files."""
    found: dict[int, Progress] = {}
    for path in sorted(root.glob("rank-*")):
        named = _NAME.fullmatch(path.name)
        if named is None or not path.is_file():
            raise DataError(
                f"the state in {os.fspath(root)!r} holds {path.name!r}, which was not written by a scan; remove it"
            )
        progress, before = Progress.load(path)
        if what := difference(before, identity):
            raise _belongs_elsewhere(root, "its {} was {} and is now {}".format(*what))
        for rank, other in found.items():
            if (shared := progress.done.shared(other.done)) is not None:
                raise InputError(
                    f"the state in {os.fspath(root)!r} would count images twice: 'rank-{rank}.safetensors' and "
                    f"{path.name!r} both have batch {shared}; remove the one that is a copy, or both"
                )
        found[int(named[1])] = progress
    return found


def _belongs_elsewhere(root: Path | None, what: str) -> InputError:
    return InputError(
        f"the state in {os.fspath(root or '')!r} belongs to another scan: {what}; name another folder, or remove this "
        f"one to start over"
    )
