"""Threads that compose and encode pictures while others are projected.

Pillow and NumPy let other threads run while they scale, copy and encode, which is nearly all of the work.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from deconvviz.data.workers import cores

T = TypeVar("T")

MOST_ENCODERS = 16


def sensible_encoders() -> int:
    """How many threads encode, where the caller does not say: one for each core of this process of its machine."""
    return max(1, min(MOST_ENCODERS, cores() // int(os.environ.get("LOCAL_WORLD_SIZE") or 1)))


class Encoders:
    """A pool of threads; without any, the work is done where it is handed in."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count, "deconvviz-atlas") if count else None

    def begin(self, work: Callable[[], T]) -> Callable[[], T]:
        """Begin some work; the function that is returned waits for the result, or raises its error."""
        if self._pool is not None:
            return self._pool.submit(work).result
        result = work()
        return lambda: result

    def end(self) -> None:
        """Drop what was not begun, and wait for the rest."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
