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
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed
from safetensors import safe_open

from deconvviz.errors import DataError, InputError
from deconvviz.files import check_writable, remove_leftovers
from deconvviz.tally import NAMES, Tally
from deconvviz.tensorfiles import DAMAGE, checked, manifest_of, write_tensors

FORMAT = 2
_MANIFEST = {
    "identity": dict[str, Any],
    "layers": tuple[str, ...],
    "done": tuple[tuple[int, int], ...],
    "broken": tuple[tuple[int, str], ...],
    "count": int,
}
SECONDS = 10.0  # between two writes, at least
SHARE = 20  # and this many times as long as a write takes
PATIENCE = timedelta(days=30)  # that one rank has with another


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

    def __or__(self, other: Runs) -> Runs:
        return Runs((first, last) for first, last in [*self.runs, *other.runs])


@dataclass
class Progress:
    """What has been seen: tallies per layer, the batches they are of, broken items, images that were read."""

    tallies: dict[str, Tally]
    done: Runs = field(default_factory=Runs)
    broken: dict[int, str] = field(default_factory=dict)
    count: int = 0

    def merge(self, other: Progress) -> None:
        for layer, tally in other.tallies.items():
            if layer in self.tallies:
                self.tallies[layer].merge(tally)
            else:
                self.tallies[layer] = tally
        self.done = self.done | other.done
        self.broken |= other.broken
        self.count += other.count

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
        }
        write_tensors(path, tensors, {"scan": json.dumps(manifest)})

    @classmethod
    def load(cls, path: Path) -> tuple[Progress, dict[str, Any]]:
        """What `save` wrote, and what it belongs to. Raises DataError for any other file."""
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
        except DAMAGE as error:
            raise DataError(f"{os.fspath(path)!r} is no state of a scan ({error}); remove it") from error
        return cls(tallies, done, dict(map(tuple, manifest["broken"])), manifest["count"]), manifest["identity"]


class ScanState:
    """A folder with the progress of all ranks, or none: then nothing is written and all is to do.

    Raises InputError where the folder belongs to another scan, naming what differs.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, identity: dict[str, Any], rank: int) -> None:
        self.own, self.identity, self.rank = Progress({}), identity, rank
        self.others: dict[int, Progress] = {}  # by rank: earlier jobs', or as another rank of this one left it
        self.root = None if folder is None else Path(folder)
        self._written, self._took = time.monotonic(), 0.0
        if self.root is None:
            return
        if os.path.exists(self.root) and not self.root.is_dir():
            raise InputError(f"the state {os.fspath(self.root)!r} is a file; name a folder")
        check_writable(self.root / f"rank-{rank}.safetensors")
        remove_leftovers(self.root, rf"rank-{rank}\.safetensors")
        for path in self.root.glob("rank-*.safetensors"):
            progress, before = Progress.load(path)
            _check_same(self.root, before, identity)
            self.others[int(path.stem.removeprefix("rank-"))] = progress
        self.own = self.others.pop(rank, self.own)

    @property
    def done(self) -> Runs:
        """The batches that need not be seen again."""
        return functools.reduce(operator.or_, (other.done for other in self.others.values()), self.own.done)

    def save(self, now: bool = False) -> None:
        """Write this rank's progress, where there is a folder and the last time is long enough ago, or `now`."""
        started = time.monotonic()
        if self.root is None or not (now or started - self._written >= max(SECONDS, SHARE * self._took)):
            return
        self.own.save(self.root / f"rank-{self.rank}.safetensors", self.identity)
        self._written = time.monotonic()
        self._took = self._written - started

    def whole(self, ranks: Ranks) -> Progress:
        """All that was seen by all ranks and by those of earlier jobs, the same on each rank."""
        merged = Progress({})
        for part in ranks.gathered(self.own):
            merged.merge(part)
        # What ranks of this job left on the disk is in what they have just sent. All ranks read the same other files.
        for rank, part in self.others.items():
            if rank >= ranks.world:
                merged.merge(part)
        return merged


class Ranks:
    """This process among those of a distributed job: its number and how many there are, by torch.distributed."""

    def __init__(self) -> None:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank, self.world = 0, 1
        if distributed:
            self.rank, self.world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        # Through the host's memory, whatever the job's own backend is: a rank that dies is noticed at once, since its
        # connections close, and one that is only slow may take its time.
        self._group: Any = torch.distributed.new_group(backend="gloo", timeout=PATIENCE) if self.world > 1 else None

    def gathered(self, mine: Progress) -> list[Progress]:
        """What all ranks have, by rank."""
        if self.world == 1:
            return [mine]
        parts: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(parts, mine, group=self._group)
        return parts


def _check_same(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    for name, value in now.items():
        if before.get(name) != value:
            raise InputError(
                f"the state in {os.fspath(folder)!r} belongs to another scan: its {name} was {before.get(name)!r} and "
                f"is now {value!r}; name another folder, or remove this one to start anew"
            )
