"""Windows: which positions of a value matter to a unit, and how a window passes backwards through an operation.

A *window* is a range of positions, first to last, along each axis of a value. Backwards through a convolution or
pooling it grows to

    first' = first * stride - padding,    last' = last * stride - padding + dilation * (kernel - 1).

Through a pointwise operation it does not change, and where branches meet it is the bounding box. Windows are
floating-point numbers, so that "everything" is -inf to inf and "nothing" is inf to -inf; many units (rows) travel
together. The same arithmetic serves receptive fields, the table of layers, and the crops on which units are projected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deconvviz.recording.tape import Operation, Value

Windows = NDArray[np.float64]  # (rows, axes, 2)
Backward = Callable[[Operation, Value, Value, Windows], Windows]
Evenness = Callable[[Operation, Value, Value, Sequence[int]], bool]


class WindowRule(NamedTuple):
    """How a window passes through an operation.

    Attributes:
        backward: From (operation, input, output, windows at the output) to the windows at the input.
        is_even: For (operation, input, output, axes of the output): whether a window that moves along these axes moves
            in the input by equal steps. False if positions are rounded, or windows cut at the ends of a map.
    """

    backward: Backward
    is_even: Evenness


def always_even(operation: Operation, value: Value, output: Value, moving: Sequence[int]) -> bool:
    return True


def never_even(operation: Operation, value: Value, output: Value, moving: Sequence[int]) -> bool:
    return False


def everything_seen(rows: int, axes: int) -> Windows:
    return _filled(rows, axes, -math.inf, math.inf)


def nothing_seen(rows: int, axes: int) -> Windows:
    return _filled(rows, axes, math.inf, -math.inf)


def _filled(rows: int, axes: int, first: float, last: float) -> Windows:
    windows = np.empty((rows, axes, 2))
    windows[..., 0], windows[..., 1] = first, last
    return windows


def bounding(first: Windows, second: Windows) -> Windows:
    """The smallest windows that hold both."""
    return np.stack([np.minimum(first[..., 0], second[..., 0]), np.maximum(first[..., 1], second[..., 1])], axis=-1)


def everything(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    """Any position of the input may matter: what is assumed of operations that are not known to be local."""
    return everything_seen(len(rows), len(value.shape))


def same(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    """Pointwise, with the axes aligned at the end as in broadcasting."""
    inside = everything_seen(len(rows), len(value.shape))
    for axis in range(-min(len(value.shape), len(output.shape)), 0):
        if value.shape[axis] == output.shape[axis]:
            inside[:, axis] = rows[:, axis]
    return inside


def along_an_axis(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    """Everything along the axes that the operation works on; the other axes do not change."""
    dims = operation["dim"] if operation["dim"] is not None else operation["dims"]
    inside = rows.copy()
    for dim in [dims] if isinstance(dims, int) else dims:
        inside[:, dim] = (-math.inf, math.inf)
    return inside if dims != [] else everything_seen(len(rows), len(value.shape))


def along_the_last(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    """Everything along the last axis, or along those that are normalised."""
    inside = rows.copy()
    inside[:, -len(operation["normalized_shape"] or [1]) :] = (-math.inf, math.inf)
    return inside


def channels_mixed(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    """All channels; positions do not change."""
    inside = rows.copy()
    inside[:, 1] = (-math.inf, math.inf)
    return inside


def per_axis(argument: Any, rank: int, default: Any = 1) -> list[int]:
    """An argument of a convolution or pooling, one number per spatial axis."""
    numbers = list(argument) if isinstance(argument, (list, tuple)) else [argument]
    if not numbers or numbers == [None]:
        return per_axis(default, rank)
    return numbers * rank if len(numbers) == 1 else numbers


class WindowGeometry(NamedTuple):
    """Of a convolution or pooling, per spatial axis."""

    kernel: NDArray[np.int64]
    stride: NDArray[np.int64]
    padding: NDArray[np.int64]
    dilation: NDArray[np.int64]
    transposed: bool

    @classmethod
    def of(cls, operation: Operation, kernel: Sequence[int], rank: int) -> WindowGeometry:
        stride = per_axis(operation["stride"], rank, kernel)
        padding, dilation = per_axis(operation["padding"], rank), per_axis(operation["dilation"], rank)
        sides = [np.array(side, np.int64) for side in (kernel, stride, padding, dilation)]
        return cls(sides[0], sides[1], sides[2], sides[3], bool(operation["transposed"]))

    @property
    def reach(self) -> NDArray[np.int64]:
        """How far the last tap of the kernel lies behind the first."""
        return self.dilation * (self.kernel - 1)

    def backward(self, rows: Windows) -> Windows:
        """Windows along the spatial axes, the last ones of `rows`, as windows of the input."""
        inside = rows.copy()
        spatial = slice(rows.shape[1] - len(self.kernel), None)
        first, last = rows[:, spatial, 0], rows[:, spatial, 1]
        if self.transposed:
            inside[:, spatial, 0] = np.ceil((first + self.padding - self.reach) / self.stride)
            inside[:, spatial, 1] = np.floor((last + self.padding) / self.stride)
        else:
            inside[:, spatial, 0] = first * self.stride - self.padding
            inside[:, spatial, 1] = last * self.stride - self.padding + self.reach
        return inside
