"""The maxima of images that have labels, from which a scan tells which label fits a channel.

They are kept for as many images as fit into `BYTES`, in single precision. Which ones does not depend on the order in
which images arrive: each image has a random rank that follows from its number alone, and the lowest ranks are kept.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

BYTES = 2**29  # of maxima, in all layers together
HIGHEST_LABEL = 2**63 - 1  # that a tensor holds


def most_images(channels: int) -> int:
    """How many images' maxima are kept of so many channels in all layers."""
    return max(1, BYTES // (4 * max(1, channels)))


def random_ranks(numbers: Sequence[int] | Tensor) -> list[int]:
    """A random number below 2^64 for each image, always the same one (SplitMix64); no two have the same.

    >>> random_ranks([0, 1])
    [16294208416658607535, 7960286522194355700]
    """
    with np.errstate(over="ignore"):
        z = np.asarray(numbers, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    ranks: list[int] = (z ^ (z >> np.uint64(31))).tolist()
    return ranks


@dataclass
class LabelledMaxima:
    """The maxima of images with labels, by ascending number of the image, on the CPU.

    Attributes:
        images: Numbers of the images, (n,).
        labels: Their labels, (n,).
        values: Per layer the maximum of each channel, (n, channels), float32.
    """

    images: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long, device="cpu"))
    labels: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long, device="cpu"))
    values: dict[str, Tensor] = field(default_factory=dict)

    def merge(self, other: LabelledMaxima) -> None:
        """Add other images."""
        if not len(other.images):
            return
        if not len(self.images):
            self.images, self.labels, self.values = other.images, other.labels, dict(other.values)
            return
        images = torch.cat([self.images, other.images])
        limit = most_images(sum(values.shape[1] for values in other.values.values()))
        kept = images.argsort()
        if len(images) > limit:
            ranks = np.array(random_ranks(images), dtype=np.uint64)
            among = torch.from_numpy(np.argsort(ranks)[:limit])
            kept = among[images[among].argsort()]
        self.images, self.labels = images[kept], torch.cat([self.labels, other.labels])[kept]
        for name, values in other.values.items():
            self.values[name] = torch.cat([self.values[name], values])[kept]

    def tensors(self) -> dict[str, Tensor]:
        """Everything as tensors, to be written to a file."""
        numbered = {f"labelled.{number}": values for number, values in enumerate(self.values.values())}
        return {"labelled.images": self.images, "labelled.labels": self.labels, **numbered}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], channels: Mapping[str, int]) -> LabelledMaxima:
        """What `tensors` has returned, for layers with so many channels each.

        Raises:
            ValueError: If the tensors are not of the shapes and types that `tensors` returns.
        """
        images, labels = tensors["labelled.images"], tensors["labelled.labels"]
        count = len(images) if images.ndim == 1 else -1
        for numbers in (images, labels):
            if numbers.shape != (count,) or numbers.dtype != torch.long or bool((numbers < 0).any()):
                raise ValueError(f"numbers of images with labels of {tuple(numbers.shape)} {numbers.dtype}")
        values = {name: tensors[f"labelled.{number}"] for number, name in enumerate(channels if count else ())}
        for name, kept in values.items():
            if kept.shape != (count, channels[name]) or kept.dtype != torch.float32:
                raise ValueError(f"maxima of images with labels of {tuple(kept.shape)} {kept.dtype}")
        return cls(images.clone(), labels.clone(), {name: kept.clone() for name, kept in values.items()})


class KeptImages:
    """Which images with labels are kept, and in which row of memory.

    Attributes:
        numbers: Number of the image in each row.
        labels: Its label.
    """

    def __init__(self, limit: int, before: LabelledMaxima) -> None:
        """Begin with the images of earlier results, in their order."""
        self.limit = limit
        self.numbers: list[int] = before.images.tolist()
        self.labels: list[int] = before.labels.tolist()
        self._worst = [(-rank, row) for row, rank in enumerate(random_ranks(self.numbers))]  # the highest rank first
        heapq.heapify(self._worst)

    def placed(self, numbers: Sequence[int], labels: Sequence[int | None]) -> dict[int, int]:
        """For a batch, the row of each image that is kept, as {row: place in the batch}."""
        rows: dict[int, int] = {}
        for place, (number, label, rank) in enumerate(zip(numbers, labels, random_ranks(numbers), strict=True)):
            if label is None or label > HIGHEST_LABEL:
                continue
            if len(self.numbers) < self.limit:
                row = len(self.numbers)
                self.numbers.append(number)
                self.labels.append(label)
                heapq.heappush(self._worst, (-rank, row))
            elif -rank > self._worst[0][0]:
                row = heapq.heapreplace(self._worst, (-rank, self._worst[0][1]))[1]
                self.numbers[row], self.labels[row] = number, label
            else:
                continue
            rows[row] = place
        return rows

    def sorted(self, values: Mapping[str, Tensor]) -> LabelledMaxima:
        """The images by number, with the maxima of each layer, (rows, channels) in the order of the rows."""
        numbers = torch.tensor(self.numbers, dtype=torch.long, device="cpu")
        labels = torch.tensor(self.labels, dtype=torch.long, device="cpu")
        order = numbers.argsort()
        return LabelledMaxima(numbers[order], labels[order], {name: kept[order] for name, kept in values.items()})


class KeptRows:
    """Memory for the maxima of images that are kept, where the maps lie: a row per image."""

    def __init__(self, width: int, device: torch.device, limit: int) -> None:
        self.limit = limit
        self.values = torch.empty(0, width, device=device, dtype=torch.float32)

    def write(self, rows: Mapping[int, int], maxima: Tensor) -> None:
        """Write some images of a batch, {row: place in the batch}, from their maxima (N, width)."""
        if not rows:
            return
        targets, places = list(rows), list(rows.values())
        if max(targets) >= len(self.values):
            self._grow(max(targets) + 1)
        if len(places) == len(maxima) and targets == list(range(targets[0], targets[0] + len(maxima))):
            self.values[targets[0] : targets[0] + len(maxima)].copy_(maxima)  # all of the batch, one after the other
            return
        where = torch.tensor([targets, places], device="cpu").to(maxima.device, non_blocking=True)
        chosen = maxima.index_select(0, where[1]).to(self.values.device, torch.float32)
        self.values.index_copy_(0, where[0].to(self.values.device), chosen)

    def _grow(self, rows: int) -> None:
        grown = self.values.new_empty(min(self.limit, max(rows, 2 * len(self.values))), self.values.shape[1])
        grown[: len(self.values)] = self.values
        self.values = grown
