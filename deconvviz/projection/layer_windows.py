"""What windows at each value see of the image, for all values of a tape in one pass over it.

`receptive_field.windows_at_inputs` carries given windows back. Here the passages themselves are composed: through most
operations the window at an input is a straight line of the window at the output,

    first' = slope * first + ahead,    last' = slope * last + behind,

and so is what a value sees of the image, composed from the lines of the values before it. Each operation is looked at
once, however many layers come after it. If lines of different slopes meet, or an operation rounds, there is no line.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deconvviz.operations import windows
from deconvviz.operations.registry import window_for
from deconvviz.operations.windows import Windows
from deconvviz.recording.tape import Operation, Tape, Value

Window = tuple[float, float]
Fixed = tuple[Window | None, ...]  # for each axis of a value the window; None if it moves
Key = tuple[int, Fixed]  # a value's id


class Line(NamedTuple):
    """How a window depends on the window along `axis`. If `axis` is -1, it depends on none, and is (ahead, behind)."""

    axis: int
    slope: float
    ahead: float
    behind: float


Lines = tuple[Line, ...]  # for each axis of a value, or of the image
EVERYTHING, NOTHING = Line(-1, 0.0, -math.inf, math.inf), Line(-1, 0.0, math.inf, -math.inf)


def lines_to(tape: Tape, image: Value, wanted: Iterable[Key]) -> dict[Key, Lines | None]:
    """For each value and its fixed windows: what is seen of `image`, per axis; None if that is no line.

    The result holds more than what is wanted: everything on the way.
    """
    asked: dict[int, dict[Fixed, None]] = {}
    for identity, fixed in wanted:
        asked.setdefault(identity, {})[fixed] = None
    steps: list[tuple[Key, list[tuple[Key, Lines] | None]]] = []
    signatures: dict[Hashable, int] = {}  # each with a number, which is quicker to look up
    known: dict[tuple[int, Fixed], tuple[Fixed, Lines] | None] = {}
    for operation in reversed(tape.operations):
        for output in operation.outputs:
            if output is None or output.id not in asked:
                continue
            numbered = [
                (value, signatures.setdefault(_signature(operation, value, output), len(signatures)))
                for value in dict.fromkeys(operation.inputs)
            ]
            for fixed in asked[output.id]:
                passages: list[tuple[Key, Lines] | None] = []
                for value, number in numbered:
                    if (number, fixed) not in known:
                        known[number, fixed] = _passage(operation, value, output, fixed)
                    through = known[number, fixed]
                    if through is None:
                        passages.append(None)
                    elif NOTHING not in through[1]:
                        passages.append(((value.id, through[0]), through[1]))
                        asked.setdefault(value.id, {})[through[0]] = None
                steps.append(((output.id, fixed), passages))
    lines: dict[Key, Lines | None] = {
        (image.id, fixed): tuple(
            Line(axis, 1.0, 0.0, 0.0) if window is None else Line(-1, 0.0, *window) for axis, window in enumerate(fixed)
        )
        for fixed in asked.get(image.id, ())
    }
    nothing = (NOTHING,) * len(image.shape)
    for key, passages in reversed(steps):
        seen: Lines | None = nothing
        for passage in passages:
            before = None if passage is None else lines.get(passage[0], nothing)
            seen = _hull_of_paths(seen, None if before is None or passage is None else _composed(before, passage[1]))
        lines[key] = seen
    return lines


def _signature(operation: Operation, value: Value, output: Value) -> Hashable:
    """All that a window rule can read: operations of one signature have the same passages."""
    return (
        operation.func,
        _readable(operation.args, value),
        _readable(operation.kwargs, value) if operation.kwargs else (),
        operation.outputs.index(output),
        output.shape,
    )


_WITHOUT_VALUES = frozenset({int, float, bool, str, type(None)})


def _readable(item: Any, value: Value) -> Hashable:
    """What a window rule can read of an argument, on the way to `value`."""
    if isinstance(item, (list, tuple)):
        return tuple([part if type(part) in _WITHOUT_VALUES else _readable(part, value) for part in item])
    if isinstance(item, Value):
        return item.shape, item is value
    if isinstance(item, Mapping):
        return tuple((name, _readable(part, value)) for name, part in item.items())
    return item if isinstance(item, Hashable) else id(item)


def _passage(operation: Operation, value: Value, output: Value, fixed: Fixed) -> tuple[Fixed, Lines] | None:
    """The fixed windows at an input and, per axis, a line from the windows at the output; None if there is none.

    If nothing of the input is seen, a line is `NOTHING`.
    """
    if not fixed:  # a single number
        return None
    rule = window_for(operation, value)
    if rule.backward is windows.same and value.shape == output.shape:
        return fixed, _unchanged(len(fixed))
    moving = [axis for axis, window in enumerate(fixed) if window is None]
    if not rule.is_even(operation, value, output, moving):
        return None
    rows = np.zeros((1 + len(moving), len(fixed), 2))
    rows[:] = [(0.0, 0.0) if window is None else window for window in fixed]
    for row, axis in enumerate(moving, 1):
        rows[row, axis] = (1.0, 2.0)
    inside = rule.backward(operation, value, output, rows)
    if (inside[0, :, 0] > inside[0, :, 1]).any():
        return fixed, (NOTHING,)
    lines = []
    for axis, (ahead, behind) in enumerate(inside[0].tolist()):
        moved = [row for row in range(1, len(rows)) if inside[row, axis].tolist() != [ahead, behind]]
        if not moved:
            lines.append(Line(-1, 0.0, ahead, behind))
            continue
        slope = float(inside[moved[0], axis, 0]) - ahead
        if len(moved) > 1 or float(inside[moved[0], axis, 1]) - behind != 2 * slope:
            return None
        lines.append(Line(moving[moved[0] - 1], slope, ahead, behind))
    return tuple((line.ahead, line.behind) if line.axis < 0 else None for line in lines), tuple(lines)


@functools.cache
def _unchanged(axes: int) -> Lines:
    """The lines through an operation at whose input the windows are those at its output."""
    return tuple(Line(axis, 1.0, 0.0, 0.0) for axis in range(axes))


def _composed(before: Lines, passage: Lines) -> Lines:
    """What is seen through an operation, from what its input sees and the lines to that input."""
    if passage is _unchanged(len(passage)):
        return before
    return tuple(
        line
        if line.axis < 0
        else Line(
            passage[line.axis].axis,
            line.slope * passage[line.axis].slope,
            line.slope * passage[line.axis].ahead + line.ahead,
            line.slope * passage[line.axis].behind + line.behind,
        )
        for line in before
    )


def _hull_of_paths(first: Lines | None, second: Lines | None) -> Lines | None:
    """The bounding box of what is seen on two paths."""
    if first is None or second is None:
        return None
    if first == second or first.count(NOTHING) == len(first):
        return second
    hulls = [_hull(a, b) for a, b in zip(first, second, strict=True)]
    return None if None in hulls else tuple(hull for hull in hulls if hull is not None)


def _hull(first: Line, second: Line) -> Line | None:
    if NOTHING in (first, second):
        return first if second == NOTHING else second
    if EVERYTHING in (first, second):
        return EVERYTHING
    if first[:2] != second[:2]:
        return None
    return first._replace(ahead=min(first.ahead, second.ahead), behind=max(first.behind, second.behind))


def seen(lines: Sequence[Lines], positions: NDArray[np.float64]) -> Windows:
    """The windows at the image of units of several values.

    Args:
        lines: For each value, its lines.
        positions: (units, axes of the values): where the units lie in each of the values.

    Returns:
        (values, units, axes of the image, 2).
    """
    table = np.array(lines, dtype=np.float64)  # (values, axes of the image, axis and slope and ahead and behind)
    axis = table[..., 0].astype(np.int64)
    moved = np.where(axis >= 0, table[..., 1] * positions.T[axis].transpose(2, 0, 1), 0.0)  # (units, values, axes)
    return (moved[..., None] + table[..., 2:]).transpose(1, 0, 2, 3)
