"""A progress bar that never stops the work it shows."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm
from tqdm.utils import ObjectWrapper


def progress_bar(items: Iterable[Any] | None = None, *, shown: bool, **options: Any) -> tqdm[Any]:
    """A tqdm bar on standard error; hidden if standard error is missing, or once it cannot be written to.

    A process without a terminal, such as `pythonw`, has no standard error; a pipe can lose its reader.

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
    return tqdm(items, file=_Stream(stream), disable=not shown, ncols=_width(stream), **options)


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


class _Stream(ObjectWrapper):
    """A stream that drops what cannot be written."""

    def write(self, text: str) -> None:
        with contextlib.suppress(Exception):
            self._wrapped.write(text)

    def flush(self) -> None:
        with contextlib.suppress(Exception):
            self._wrapped.flush()
