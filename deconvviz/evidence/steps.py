"""Work in steps, between which other work can be done: generators that return what the work finds.

>>> def work():
...     yield
...     return 42
>>> finished(work())
42
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
Stepwise = Generator[None, None, T]


def finished(steps: Generator[Any, None, T]) -> T:
    """What work in steps finds, all of it done now."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: T = end.value
            return found


def told(steps: Stepwise[T], shares: Iterable[float]) -> Generator[float, None, T]:
    """The same work, which says at each step what share of it is done."""
    for share in shares:
        try:
            next(steps)
        except StopIteration as end:
            found: T = end.value
            return found
        yield share
    return finished(steps)
