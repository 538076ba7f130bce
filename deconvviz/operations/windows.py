"""Windows: which positions of a value matter to a unit, and how a window passes backwards through an operation.

A *window* is a range of positions, first to last, along each axis of a value. Backwards through a convolution or
pooling it grows to

    first' = first * stride - padding,    last' = last * stride - padding + dilation * (kernel - 1).

Through a pointwise operation it does not change, and where branches meet it is the bounding box. Windows are
floating-point numbers, so that "everything" is -inf to inf and "nothing" is inf to -inf; many units (rows) travel
together. The same arithmetic serves receptive fields, the table of layers, and the crops on which units are projected.
"""

from __future__ import annotations

import functools
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


WHOLE_AXIS, NO_POSITION = np.array([-math.inf, math.inf]), np.array([math.inf, -math.inf])


def everything_seen(rows: int, axes: int) -> Windows:
    return _filled(rows, axes, WHOLE_AXIS)


def nothing_seen(rows: int, axes: int) -> Windows:
    return _filled(rows, axes, NO_POSITION)


def _filled(rows: int, axes: int, window: Windows) -> Windows:
    windows = np.empty((rows, axes, 2))
    windows[:] = window
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
    steps: NDArray[np.float64]  # (axes, 1), the stride
    ends: NDArray[np.float64]  # (axes, 2), where the window of the output at position 0 begins and ends

    @classmethod
    def of(cls, operation: Operation, kernel: Sequence[int], rank: int) -> WindowGeometry:
        stride = per_axis(operation["stride"], rank, kernel)
        padding, dilation = per_axis(operation["padding"], rank), per_axis(operation["dilation"], rank)
        return _geometry(tuple(kernel), tuple(stride), tuple(padding), tuple(dilation), bool(operation["transposed"]))

    @property
    def reach(self) -> NDArray[np.int64]:
        """How far the last tap of the kernel lies behind the first."""
        return self.dilation * (self.kernel - 1)

    def backward(self, rows: Windows) -> Windows:
        """Windows along the spatial axes, the last ones of `rows`, as windows of the input."""
        inside = rows.copy()
        spatial = inside[:, rows.shape[1] - len(self.kernel) :]
        if self.transposed:
            spatial[..., 0] = np.ceil((spatial[..., 0] + self.padding - self.reach) / self.stride)
            spatial[..., 1] = np.floor((spatial[..., 1] + self.padding) / self.stride)
        else:
            spatial *= self.steps
            spatial += self.ends
        return inside


@functools.lru_cache(maxsize=1024)
def _geometry(*sides_and_transposed: Any) -> WindowGeometry:
    """A geometry, made once for all operations that have it. Nobody writes its numbers."""
    *sides, transposed = sides_and_transposed
    kernel, stride, padding, dilation = (np.array(side, np.int64) for side in sides)
    steps = stride[:, None].astype(np.float64)
    ends = np.stack([-padding, dilation * (kernel - 1) - padding], 1).astype(np.float64)
    geometry = WindowGeometry(kernel, stride, padding, dilation, transposed, steps, ends)
    for array in (kernel, stride, padding, dilation, steps, ends):
        array.setflags(write=False)
    return geometry
