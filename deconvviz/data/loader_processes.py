"""Processes that load a dataset: how they begin, and one sentence if one of them dies."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

from PIL import EpsImagePlugin
from torch._C import _remove_worker_pids
from torch.utils.data import DataLoader

from deconvviz.errors import DataError


class QuietLoader(DataLoader[Any]):
    """A loader that takes any number of processes."""

    def check_worker_number_rationality(self) -> None:
        """Give no warning that there are more processes than processors: their number is the caller's choice."""


def begin_loading(worker: int, ghostscript: Any) -> None:
    """Begin a loader process: it stays silent if its parent ends, and uses Ghostscript only if the parent may.

    ghostscript: whether Pillow may use Ghostscript. A process that is not forked does not know that.
    """
    sys.excepthook = lambda *_: None
    EpsImagePlugin.gs_binary = ghostscript


def loader_batches(loader: DataLoader[Any]) -> Generator[Any, None, None]:
    """The batches of a loader. Raises DataError if one of its processes ends."""
    iterator = None
    try:
        iterator = iter(loader)
        _awaited_only(iterator)
        yield from iterator
    except (EOFError, OSError, RuntimeError) as error:
        workers = getattr(iterator, "_workers", None)
        if not workers or (isinstance(error, RuntimeError) and "DataLoader worker (pid" not in str(error)):
            raise
        how = _ended(workers) or f"cannot be heard any more ({error or type(error).__name__})"
        whose = "the process that loads" if len(workers) == 1 else f"one of the {len(workers)} processes that load"
        raise DataError(f"{whose} images {how}; use fewer, or none to see the error") from error
    finally:
        # torch ends them when its iterator is forgotten, which an error that remembers where it happened can delay.
        getattr(iterator, "_shutdown_workers", lambda: None)()


def _awaited_only(iterator: Any) -> None:
    """Let torch report a dead worker only where its items are awaited, within 5 seconds.

    Its signal handler would raise an error at once, whatever the main thread is doing: while it writes a file, or in a
    finaliser, where Python swallows the error.
    """
    if getattr(iterator, "_worker_pids_set", False):
        _remove_worker_pids(id(iterator))  # there is no public way
        iterator._worker_pids_set = False


def _ended(workers: list[BaseProcess]) -> str:
    """How the first worker ended, if one has."""
    gone = connection.wait([worker.sentinel for worker in workers], timeout=5)  # connections break a moment earlier
    for worker in workers:
        if worker.sentinel in gone:
            worker.join(timeout=5)  # and its status comes a moment later
    status = next((worker.exitcode for worker in workers if worker.exitcode is not None), None)
    if status is None:
        return ""
    if status >= 0:
        return f"ended with exit status {status}"
    out = {signal.SIGKILL.value: ", as when memory runs out", signal.SIGBUS.value: ", as when shared memory runs out"}
    return f"was killed by the system ({signal.strsignal(-status)}{out.get(-status, '')})"
