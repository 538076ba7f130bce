"""Checks for NaN and infinity whose answers the host reads all at once.

To read a number, the host waits until the device has computed it. So a check leaves its answer on the device, and one
copy brings all of them.
"""

from __future__ import annotations

import cmath
import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from deconvviz.projection.half_precision import wide
from deconvviz.recording.placement import read_back


class _Check(NamedTuple):
    """A check that is waiting.

    Attributes:
        total: The sum of the numbers, on the device: finite only if they are.
        numbers: What to look at if it is not.
        complain: Called with the numbers if they are not all finite; raises the error.
    """

    total: Tensor
    numbers: Tensor
    complain: Callable[[Tensor], None]


class FiniteChecks:
    """Checks in the order in which they were asked for."""

    def __init__(self) -> None:
        self._waiting: list[_Check] = []

    def watch(self, numbers: Tensor, complain: Callable[[Tensor], None], *, kept: Tensor | None = None) -> None:
        """Check that no number is NaN or infinite, when `settle` is called.

        Args:
            numbers: The numbers.
            complain: Called with the numbers if they are not all finite; raises the error.
            kept: Where the numbers will be found then, if not in the same tensor, which would have to be held in
                memory until then.
        """
        if not numbers.is_meta:
            self._waiting.append(_Check(_total(numbers), numbers if kept is None else kept, complain))

    def settle(self, *numbers: Tensor) -> list[Tensor]:
        """Read all answers, and let the first check that fails complain.

        Args:
            *numbers: Numbers to read by the same copy.

        Returns:
            The numbers, on the CPU.
        """
        waiting, self._waiting = self._waiting, []
        totals, *numbers_read = read_back([_together([check.total for check in waiting]), *numbers])
        for check, total in zip(waiting, totals.tolist(), strict=True):
            if not cmath.isfinite(total) and not is_finite(check.numbers):  # a sum may overflow by itself
                check.complain(check.numbers)
        return numbers_read


def _together(totals: list[Tensor]) -> Tensor:
    if not totals:
        return torch.zeros(0)
    dtype = functools.reduce(torch.promote_types, (total.dtype for total in totals))
    return torch.stack([total.to(totals[0].device, dtype) for total in totals])


def _total(numbers: Tensor) -> Tensor:
    """The sum of numbers, on their device."""
    if numbers.dtype.itemsize == 1 or numbers.dtype == torch.complex32:  # in which torch does not calculate
        numbers = numbers.to(wide(numbers.dtype))
    return numbers.sum(dtype=wide(numbers.dtype))  # that of many halves would overflow


def is_finite(numbers: Tensor) -> bool:
    """Whether numbers, if there are any, hold neither NaN nor infinity."""
    if numbers.is_meta or cmath.isfinite(_total(numbers).item()):
        return True
    return bool(torch.isfinite(numbers.to(wide(numbers.dtype))).all())
