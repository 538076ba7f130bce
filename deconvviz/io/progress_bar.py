"""A progress bar that never stops the work it shows."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm
from tqdm.utils import ObjectWrapper

from deconvviz.io.restoring import Restored


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
    kind = _kind() if shown else tqdm
    return kind(items, file=_Stream(stream), disable=not shown, ncols=_width(stream), **options)


def _kind() -> type[tqdm[Any]]:
    """The bar that fits: a widget in a notebook, text elsewhere and where widgets are not installed."""
    with Restored(warnings.catch_warnings()):
        warnings.simplefilter("ignore")  # that there are no widgets
        return importlib.import_module("tqdm.auto").tqdm  # type: ignore[no-any-return]


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
