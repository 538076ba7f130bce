"""One thread that does all work with the model, in an order that keeps the page quick.

Each piece of work belongs to a lane of a client, such as the picture of one unit, and has a number. A newer piece of
the same lane takes the place of one that waits, and work that nobody waits for any more is dropped before it starts.
Work is a generator: each value that it yields is the share that is done, and there it can be cancelled, or wait for
work in front. What is done behind, such as evidence, only runs while nothing else waits.

>>> worker = Worker()
>>> job = worker.ask("client", "lane", 1, at_once(lambda: 6 * 7))
>>> job.result.result()
42
>>> worker.close()
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Generator
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar

from deconvviz.errors import DeconvVizError

T = TypeVar("T")
Steps = Generator[float, None, T]  # yields shares of the work, returns the result

MOST_WAITING = 256  # pieces of work of all clients
QUIET_SECONDS = 0.3  # without work in front, before work behind goes on
MOST_QUIET_SECONDS = 1.0  # between two steps of work behind, if there is always work in front
MOST_LANES = 4096  # whose latest numbers are known
HANDING_OVER = 0.0005  # seconds after an answer; without them the next piece keeps Python's lock for 5 ms more


class Superseded(DeconvVizError):
    """A newer request of the same kind made this one unnecessary, or nobody waits for its answer any more."""


class Busy(DeconvVizError):
    """More work waits than the explorer takes."""


class QueuedWork:
    """A piece of work that waits, runs or is done.

    Attributes:
        result: A future with the result.
        share: The share of the work that is done.
    """

    def __init__(self, client: str, lane: str, steps: Steps[Any], behind: bool, turn: int) -> None:
        self.client, self.lane, self.steps, self.behind, self.turn = client, lane, steps, behind, turn
        self.result: Future[Any] = Future()
        self.share = 0.0
        self.cancelled = False

    def cancel(self) -> None:
        """Nobody waits for the result any more. Work that runs ends at its next step."""
        self.cancelled = True
        self.fail(Superseded("the request was cancelled, or a newer one took its place"))

    def fail(self, error: BaseException) -> None:
        with contextlib.suppress(InvalidStateError):
            self.result.set_exception(error)

    def advance(self) -> bool:
        """Do one step; returns whether there are more."""
        try:
            if self.cancelled:
                self.steps.close()
                return False
            self.share = next(self.steps)
            return True
        except StopIteration as end:
            with contextlib.suppress(InvalidStateError):
                self.result.set_result(end.value)
        except BaseException as error:
            self.fail(error)
        return False


class Worker:
    """The thread, and the work that waits for it."""

    def __init__(self) -> None:
        self._waiting: list[QueuedWork] = []
        self._latest: OrderedDict[tuple[str, str], tuple[int, weakref.ref[QueuedWork]]] = OrderedDict()
        self._served: dict[str, int] = {}  # by client, when it was last served
        self._turns = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._quiet_from = self._behind_from = 0.0  # when work behind may go on, at the earlier of these
        self._thread = threading.Thread(target=self._run, name="deconvviz explorer", daemon=True)
        self._thread.start()

    def ask(self, client: str, lane: str, number: int, steps: Steps[Any], *, behind: bool = False) -> QueuedWork:
        """Have work done.

        Args:
            client: Who asks.
            lane: A newer request of the same client and lane takes the place of an older one.
            number: The number of the request, which rises in a lane.
            steps: The work.
            behind: Do it only while no other work waits.

        Raises:
            Superseded: If a request with a higher number, or this one, was asked before.
            Busy: If too much work waits.
        """
        with self._changed:
            known = self._latest.get((client, lane))
            if known is not None and number <= known[0]:
                raise Superseded("a newer request of the same kind was asked before this one")
            if known is not None and (older := known[1]()) is not None:
                older.cancel()
            self._waiting = [job for job in self._waiting if not job.cancelled]
            if self._closed or len(self._waiting) >= MOST_WAITING:
                raise Busy("the explorer has too much to do at the moment; try again in a second")
            job = QueuedWork(client, lane, steps, behind, next(self._turns))
            self._latest[client, lane] = number, weakref.ref(job)
            self._latest.move_to_end((client, lane))
            while len(self._latest) > MOST_LANES:
                self._latest.popitem(last=False)
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def close(self) -> None:
        """End the thread; work that waits fails."""
        with self._changed:
            self._closed = True
            for job in self._waiting:
                job.cancel()
            self._changed.notify_all()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while (job := self._next()) is not None:
            more = job.advance()
            if not (more or job.behind):
                time.sleep(HANDING_OVER)
            with self._changed:
                if more:
                    self._waiting.append(job)
                if job.behind:
                    self._behind_from = time.monotonic() + MOST_QUIET_SECONDS
                else:
                    self._quiet_from = time.monotonic() + QUIET_SECONDS
        for job in self._waiting:
            job.steps.close()

    def _next(self) -> QueuedWork | None:
        """The next piece of work: in front before behind, then that of the client who has waited longest."""
        with self._changed:
            while not self._closed:
                self._waiting = [job for job in self._waiting if not job.cancelled]
                if self._waiting:
                    job = min(self._waiting, key=lambda job: (job.behind, self._served.get(job.client, -1), job.turn))
                    if job.behind and (left := min(self._quiet_from, self._behind_from) - time.monotonic()) > 0:
                        self._changed.wait(left)
                        continue
                    self._waiting.remove(job)
                    self._served[job.client] = next(self._turns)
                    if len(self._served) > MOST_LANES:
                        self._served.clear()
                    return job
                self._changed.wait()
        return None


def at_once(work: Callable[[], T]) -> Steps[T]:
    """Work of one step."""
    yield from ()
    return work()
