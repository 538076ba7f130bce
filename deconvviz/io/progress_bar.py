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
    """A tqdm bar on standard error; none where that is missing, and none any more once it cannot be written to.

    options: of tqdm. A process without a terminal, as `pythonw` is, has no standard error; a pipe can lose its reader.

    >>> with progress_bar(total=3, shown=False) as bar:
    ...     bar.update()
    """
    stream = sys.stderr
    shown = shown and stream is not None
    return tqdm(items, file=_Stream(stream), disable=not shown, ncols=_width(stream), **options)


def _width(stream: Any) -> int | None:
    """Columns of the terminal that a stream writes to, if it does; tqdm asks standard error itself only."""
    with contextlib.suppress(Exception):
        return os.get_terminal_size(stream.fileno()).columns or None
    return None


class _Stream(ObjectWrapper):
    """A stream on which what cannot be written is lost."""

    def write(self, text: str) -> None:
        with contextlib.suppress(Exception):
            self._wrapped.write(text)

    def flush(self) -> None:
        with contextlib.suppress(Exception):
            self._wrapped.flush()
