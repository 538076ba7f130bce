"""This process among those of a distributed job: what each of them has, brought to all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed

from deconvviz.errors import DataError, DeconvVizError, InputError

START = timedelta(minutes=30)  # within which all ranks must have come
PATIENCE = timedelta(days=30)  # that one rank has with another at work
T = TypeVar("T")


class Ranks:
    """This process's number and how many there are, by torch.distributed; one where there is no such job."""

    def __init__(self) -> None:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank, self.world = 0, 1
        if distributed:
            self.rank, self.world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self._group: Any = None
        if self.world > 1:
            # Through the host's memory, whatever the job's own backend is: a rank that dies is noticed at once, since
            # its connections close, and one that is only slow may take its time. One that never comes is not waited
            # for as long: the first group says that all are there.
            try:
                for timeout in (START, PATIENCE):
                    self._group = torch.distributed.new_group(backend="gloo", timeout=timeout)
            except RuntimeError as error:
                raise _gone() from error

    def gathered(self, mine: T) -> list[T]:
        """What all ranks have, by rank. Raises DataError where one of them is gone."""
        if self.world == 1:
            return [mine]
        parts: list[Any] = [None] * self.world
        try:
            torch.distributed.all_gather_object(parts, mine, group=self._group)
        except RuntimeError as error:
            raise _gone() from error
        return parts

    def each(self, prepare: Callable[[], T]) -> list[T]:
        """What `prepare` returns in each rank, by rank. Where it raises an error of the library in one, all raise."""
        mine, failed = None, None
        try:
            mine = prepare()
        except DeconvVizError as error:
            failed = error
        parts: list[Any] = self.gathered((mine, None if failed is None else str(failed)))
        if failed is not None:
            raise failed
        for rank, (_, said) in enumerate(parts):
            if said is not None:
                raise InputError(f"process {rank} of this job cannot take part: {said}")
        return [part for part, _ in parts]


def _gone() -> DataError:
    return DataError(
        "another process of this job ended before it sent its results; restart the job (with a state, it resumes)"
    )
