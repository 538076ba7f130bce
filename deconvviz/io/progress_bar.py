"""A progress bar that never stops the work it shows. In a log it becomes a line now and then."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from tqdm import tqdm
from tqdm.utils import ObjectWrapper

from deconvviz.io.restoring import Restored

SECONDS_BETWEEN_LINES = 30.0  # in a log
SECONDS_TO_THE_FIRST = 5.0  # line in a log: one wants to know soon whether it takes minutes or hours
_PROGRESS_LINE = "{desc}: {n_fmt} of {total_fmt}{postfix}, {elapsed} so far, {remaining} left"


class _Log:
    lines = False  # whether bars become lines where standard error is no terminal


@contextlib.contextmanager
def lines_in_a_log() -> Iterator[None]:
    """For the time of a command: where standard error is no terminal, bars become lines."""
    before, _Log.lines = _Log.lines, True
    try:
        yield
    finally:
        _Log.lines = before


def progress_bar(items: Iterable[Any] | None = None, *, shown: bool, **options: Any) -> tqdm[Any]:
    """A tqdm bar on standard error; hidden if standard error is missing, or once it cannot be written to.

    In a notebook that has widgets it is one. A process without a terminal, such as `pythonw`, has no standard error; a
    pipe can lose its reader.

    Args:
        items: What to iterate over.
        shown: Whether to show the bar.
        **options: Options of tqdm.

    Example:
        >>> with progress_bar(total=3, shown=False) as bar:
        ...     bar.update()
    """
    stream = sys.stderr
    shown = shown and stream is not None
    if _Log.lines and not on_a_terminal():
        return tqdm(items, file=_Lines(stream), disable=not shown, **(options | _in_a_log()))
    kind = _kind() if shown else tqdm
    return kind(items, file=_Stream(stream), disable=not shown, ncols=_width(stream), **options)


def _kind() -> type[tqdm[Any]]:
    """The bar that fits: a widget in a notebook, text elsewhere and where widgets are not installed."""
    with Restored(warnings.catch_warnings()):
        warnings.simplefilter("ignore")  # that there are no widgets
        return importlib.import_module("tqdm.auto").tqdm  # type: ignore[no-any-return]


def _in_a_log() -> dict[str, Any]:
    """Options of a bar that is written as lines."""
    pace = {"delay": SECONDS_TO_THE_FIRST, "mininterval": SECONDS_TO_THE_FIRST, "maxinterval": math.inf}
    return {**pace, "miniters": 1, "leave": False, "bar_format": _PROGRESS_LINE}


def on_a_terminal() -> bool:
    """Whether standard error is a terminal, where a bar can be drawn; in a log it would fill pages."""
    with contextlib.suppress(Exception):  # it is missing or closed
        return sys.stderr.isatty()
    return False


def _width(stream: Any) -> int | None:
    """The number of columns of the terminal that a stream writes to, if any; tqdm only asks the real standard error."""
    with contextlib.suppress(Exception):
        return os.get_terminal_size(stream.fileno()).columns or None
    return None


class _Lines:
    """A stream that writes what tqdm draws over and over as lines of their own, the first soon, others now and then."""

    encoding = "utf-8"

    def __init__(self, stream: Any) -> None:
        self._stream = _Stream(stream)
        self._next = -math.inf

    def write(self, text: str) -> None:
        line = text.replace("\r", "").strip()
        if line and time.monotonic() >= self._next:
            self._next = time.monotonic() + SECONDS_BETWEEN_LINES
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        self._stream.flush()


class _Stream(ObjectWrapper):
    """A stream that drops what cannot be written."""

    def write(self, text: str) -> None:
        with contextlib.suppress(Exception):
            self._wrapped.write(text)

    def flush(self) -> None:
        with contextlib.suppress(Exception):
            self._wrapped.flush()
