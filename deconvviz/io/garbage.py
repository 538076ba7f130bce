"""Pausing Python's search for unreachable cycles among all objects of the process.

While many objects are created that stay, Python searches all objects that exist again and again, which takes a tenth
of a second after `import torch`. While that is paused, it still searches the young objects, so that what a model drops
at once is freed; what was dropped later is freed afterwards. The pause must not be longer than one run of a model.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Iterator

NO_SEARCH = 2**31 - 1


class _Pause:
    """How many threads have paused the search, and the thresholds from before."""

    lock = threading.Lock()
    open = 0
    before = (0, 0, 0)


def _end() -> None:
    if gc.get_threshold() == (*_Pause.before[:2], NO_SEARCH):  # otherwise somebody else has set them meanwhile
        gc.set_threshold(*_Pause.before)


def _reset_after_fork() -> None:
    # Threads that had paused the search were not forked, so nobody would end it.
    if _Pause.open:
        _end()
    _Pause.lock, _Pause.open = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


@contextlib.contextmanager
def only_young_searched() -> Iterator[None]:
    """A context in which Python searches only young objects for unreachable cycles.

    Like all settings it is entered through `Restored`, so that an interrupt ends it.
    """
    with _Pause.lock:
        if not _Pause.open:
            _Pause.before = gc.get_threshold()
            gc.set_threshold(*_Pause.before[:2], NO_SEARCH)
        _Pause.open += 1
    try:
        yield
    finally:
        with _Pause.lock:
            _Pause.open = max(0, _Pause.open - 1)
            if not _Pause.open:
                _end()
