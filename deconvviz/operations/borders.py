"""What lies outside a map, on crops: it is set to what the operation would have seen there.

Crops of units near the border hold numbers that the network never had. The units of a batch are so ordered that these
come first (`projection.crop_cost`), and only their crops are written.

Mirror: what lies outside gets no signal. It reads no recorded numbers.
"""

from __future__ import annotations

from torch import Tensor

from deconvviz.operations.registry import mirror
from deconvviz.operations.step import Signals, Step


def filled_outside(numbers: Tensor, outside: Tensor, fill: float) -> Tensor:
    """Crops (units, channels, *size), with `fill` where `outside` (n, 1, *size) is true in the first n units."""
    return fill_outside(numbers.clone(), outside, fill)


def fill_outside(numbers: Tensor, outside: Tensor, fill: float) -> Tensor:
    """The same, in the memory of `numbers`."""
    numbers[: len(outside)].masked_fill_(outside, fill)
    return numbers


@mirror(filled_outside, batchwise=True, own=True, local=True)
def nothing_outside(op: Step, signal: Tensor) -> Signals:
    """Zero outside the map."""
    return (fill_outside if op.writable else filled_outside)(signal, op.data(op["outside"]), 0)
