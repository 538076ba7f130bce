"""The progress of one process of a scan, and the file that holds it."""

from __future__ import annotations

import bisect
import json
import os
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from deconvviz.data.batches import Batch
from deconvviz.errors import DataError
from deconvviz.io.atomic import may_hang
from deconvviz.io.safetensors_files import DAMAGE, checked, manifest_of, write_tensors
from deconvviz.mining.labelled_maxima import LabelledMaxima
from deconvviz.mining.layer_results import TENSORS, LayerResults

PROGRESS_FORMAT = 4
_MANIFEST = {
    "identity": dict[str, Any],
    "layers": tuple[str, ...],
    "done": tuple[tuple[int, int], ...],
    "broken": tuple[tuple[int, str], ...],
    "count": int,
    "content": int,
}


class Runs:
    """Whole numbers, stored as runs of consecutive ones: the first and last of each, in memory as in the file.

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
        """Add a number, if it is not there."""
        if number in self:
            return
        index = bisect.bisect(self.runs, [number])
        joins_previous = index > 0 and self.runs[index - 1][1] == number - 1
        joins_next = index < len(self.runs) and self.runs[index][0] == number + 1
        first = self.runs[index - 1][0] if joins_previous else number
        last = self.runs[index][1] if joins_next else number
        self.runs[index - joins_previous : index + joins_next] = [[first, last]]

    def __contains__(self, number: int) -> bool:
        index = bisect.bisect(self.runs, [number + 1])
        return index > 0 and self.runs[index - 1][1] >= number

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.runs)

    def shared(self, other: Runs) -> int | None:
        """The first number that is in both, or None."""
        for first, last in self.runs:
            index = bisect.bisect(other.runs, [last + 1])
            if index > 0 and other.runs[index - 1][1] >= first:
                return max(first, other.runs[index - 1][0])
        return None

    def __or__(self, other: Runs) -> Runs:
        return Runs((first, last) for first, last in [*self.runs, *other.runs])


@dataclass
class ScanProgress:
    """The part of a dataset that one process, or several together, have scanned.

    Attributes:
        layers: What was found, per layer.
        done: Numbers of the batches that were seen.
        broken: Items that could not be read, with the reason.
        count: Number of images that were read.
        content: For an iterable, the sum of `deconvviz.data.source.content_of` over the batches.
        labelled: The maxima of images with labels.
    """

    layers: dict[str, LayerResults]
    done: Runs = field(default_factory=Runs)
    broken: dict[int, str] = field(default_factory=dict)
    count: int = 0
    content: int = 0
    _: KW_ONLY
    labelled: LabelledMaxima = field(default_factory=LabelledMaxima)

    def add(self, batch: Batch, content: int) -> None:
        """Note that a batch has been seen, whose units have been entered into `layers`."""
        self.count += len(batch.numbers)
        self.broken.update(batch.broken)
        self.done.add(batch.number)
        self.content = (self.content + content) % 2**64

    def merge(self, other: ScanProgress) -> None:
        """Add another process's progress."""
        for name, results in other.layers.items():
            if name in self.layers:
                self.layers[name].merge(results)
            else:
                self.layers[name] = results
        self.labelled.merge(other.labelled)
        self.done = self.done | other.done
        self.broken |= other.broken
        self.count += other.count
        self.content = (self.content + other.content) % 2**64

    def save(self, path: Path, identity: dict[str, Any]) -> None:
        """Write everything to one file, with the identity of the scan that it belongs to."""
        tensors = {
            f"{number}.{name}": tensor
            for number, results in enumerate(self.layers.values())
            for name, tensor in results.tensors().items()
        } | self.labelled.tensors()
        manifest = {
            "format": PROGRESS_FORMAT,
            "identity": identity,
            "layers": list(self.layers),
            "done": self.done.runs,
            "broken": sorted(self.broken.items()),
            "count": self.count,
            "content": self.content,
        }
        write_tensors(path, tensors, {"scan": json.dumps(manifest)})

    @classmethod
    def load(cls, path: Path) -> tuple[ScanProgress, dict[str, Any]]:
        """What `save` has written, and the identity of its scan.

        Raises:
            DataError: If it is another file, or cannot be read.
        """
        if may_hang(path):
            raise DataError(f"{os.fspath(path)!r} is not a scan state (it is a device, pipe or socket); remove it")
        try:
            manifest, layers, labelled = _read(path)
            done = Runs(manifest["done"])
        except DataError:
            raise
        except OSError as error:
            raise DataError(f"the state {os.fspath(path)!r} cannot be read ({error.strerror})") from error
        except DAMAGE as error:
            raise DataError(f"{os.fspath(path)!r} is not a scan state ({error}); remove it") from error
        broken = dict(map(tuple, manifest["broken"]))
        progress = cls(layers, done, broken, manifest["count"], manifest["content"], labelled=labelled)
        return progress, manifest["identity"]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, LayerResults], LabelledMaxima]:
    """The checked manifest of a file, what was found per layer, and the maxima of images with labels."""
    with safe_open(path, framework="pt") as stored:
        manifest = manifest_of(stored, "scan")
        if manifest["format"] != PROGRESS_FORMAT:
            raise DataError(f"the state {os.fspath(path)!r} was written by another version; remove it")
        for name, hint in _MANIFEST.items():
            checked(manifest[name], hint, name)

        def tensors_of(number: int) -> dict[str, Tensor]:
            return {name: stored.get_tensor(f"{number}.{name}") for name in TENSORS}

        layers = {name: LayerResults.of(tensors_of(number)) for number, name in enumerate(manifest["layers"])}
        labelled = {name: stored.get_tensor(name) for name in stored.keys() if name.startswith("labelled.")}  # noqa: SIM118
    channels = {name: len(results.top.values) for name, results in layers.items()}
    return manifest, layers, LabelledMaxima.of(labelled, channels)
