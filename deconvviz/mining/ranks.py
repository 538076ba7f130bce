"""The processes of a distributed job, and exchanging objects between them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed

from deconvviz.errors import DataError, DeconvVizError, InputError

ARRIVAL = timedelta(minutes=30)  # for all processes to arrive
PATIENCE = timedelta(days=30)  # for one process to wait for another that works
T = TypeVar("T")


class Ranks:
    """The processes of a job of torch.distributed; without such a job, this one alone.

    Attributes:
        rank: Number of this process.
        world: Number of processes.
    """

    def __init__(self) -> None:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank, self.world = 0, 1
        if distributed:
            self.rank, self.world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self._group: Any = None
        if self.world > 1:
            # Gloo, whatever the job's own backend is: the death of a process is noticed at once, since its connections
            # close, and a slow one may take its time. The first group shows that all processes have arrived, so that
            # one that never comes is not waited for as long.
            try:
                for timeout in (ARRIVAL, PATIENCE):
                    self._group = torch.distributed.new_group(backend="gloo", timeout=timeout)
            except RuntimeError as error:
                raise _gone() from error

    def gathered(self, own: T) -> list[T]:
        """The objects of all processes, by rank.

        Raises:
            DataError: If one of the processes has ended.
        """
        if self.world == 1:
            return [own]
        parts: list[Any] = [None] * self.world
        try:
            torch.distributed.all_gather_object(parts, own, group=self._group)
        except RuntimeError as error:
            raise _gone() from error
        return parts

    def each(self, prepare: Callable[[], T]) -> list[T]:
        """What `prepare` returns in each process, by rank.

        Raises:
            DeconvVizError: If `prepare` raises one in this process.
            InputError: If it raises one in another process.
        """
        own, failure = None, None
        try:
            own = prepare()
        except DeconvVizError as error:
            failure = error
        parts: list[Any] = self.gathered((own, None if failure is None else str(failure)))
        if failure is not None:
            raise failure
        for rank, (_, message) in enumerate(parts):
            if message is not None:
                raise InputError(f"process {rank} of this job cannot take part: {message}")
        return [part for part, _ in parts]


def _gone() -> DataError:
    return DataError(
        "another process of this job ended before it sent its results; restart the job (with a state, it resumes)"
    )
