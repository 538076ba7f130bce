"""A dataset as a scan reads it: its first items can be inspected before, and those of an iterable are not lost."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from deconvviz.data.batches import Batch, Item, is_indexed, numbered, read
from deconvviz.data.digests import Digest
from deconvviz.data.items import text_label
from deconvviz.errors import InputError
from deconvviz.io.restoring import Restored

LOOKED_AT = 16  # items, evenly spread, or of an iterable the first


class Source:
    """A dataset, which may be an iterable that can be read only once.

    Random numbers that reading draws are drawn as if it had not been looked at before.
    """

    def __init__(self, data: Any) -> None:
        self.data, self.indexed = data, is_indexed(data)
        self.count = len(data) if self.indexed else 0  # items; of an iterable those that have been read
        self._taken: list[Any] = []  # of an iterable
        self._spread: list[Any] = []
        self._rest: Iterator[Any] = iter(()) if self.indexed else read(data)
        self._first: Item | None = None
        self._text: str | None = None  # see `text_label`

    def items(self) -> Any:
        """What to read: the dataset itself, or all items of an iterable, including those inspected before."""
        return self.data if self.indexed else self._counted()

    def spread(self) -> list[Any]:
        """Up to 16 items of a dataset with items by number, None for those that cannot be read; else none."""
        if not self._spread:
            with Restored(torch.random.fork_rng(devices=[])):
                for index in self._looked_at():
                    try:
                        self._spread.append(self.data[index])
                    except Exception:
                        self._spread.append(None)
        return self._spread

    def first(self, preprocess: Any) -> Any:
        """The network's input (C, ...), or inputs, from the first item that can be read; None where none of 16 can.

        Raises InputError for what is no image, DataError where an iterable fails.
        """
        if self._first is None:
            with Restored(torch.random.fork_rng(devices=[])):
                for item in self._tried(preprocess):
                    self._first = item
                    if isinstance(item.error, InputError):
                        raise item.error
                    if item.image is not None:
                        break
            self._text = next(filter(None, map(text_label, self._spread or self._taken)), "")
            self._spread = []  # they may be large
        return None if self._first is None else self._first.image

    def text_label(self) -> str:
        """A label of the first items that is text and no number of a class; '' for none.

        If `first` has not looked at them, the first item is read; of an iterable, none is.
        """
        if self._text is None:
            try:
                with Restored(torch.random.fork_rng(devices=[])):
                    self._text = text_label(self.data[0]) if self.indexed and self.count else ""
            except Exception:  # the dataset is the caller's
                self._text = ""
        return self._text

    def _tried(self, preprocess: Any) -> Iterator[Item]:
        if self.indexed:
            for index, item in zip(self._looked_at(), self.spread(), strict=True):
                if item is not None:
                    yield numbered(index, partial(_same, item), preprocess)
            return
        for index, item in enumerate(itertools.islice(self._rest, LOOKED_AT)):
            self._taken.append(item)
            yield numbered(index, partial(_same, item), preprocess)

    def _looked_at(self) -> list[int]:
        spread = np.linspace(0, self.count - 1, LOOKED_AT) if self.indexed else ()
        return sorted({round(place) for place in spread})

    def _counted(self) -> Iterator[Any]:
        for item in itertools.chain(self._taken, self._rest):
            self.count += 1
            yield item


def _same(item: Any) -> Any:
    return item


def content_of(batch: Batch) -> int:
    """A batch's content as a number below 2^64; the numbers of several batches can be added in any order."""
    total = sum(Digest(number, "broken").number for number, _ in batch.broken)
    if batch.images is not None:
        columns = batch.images if isinstance(batch.images, tuple) else (batch.images,)
        for number, *parts in zip(batch.numbers.tolist(), *columns, strict=True):
            total += Digest(number, *parts).number
    return total % 2**64
