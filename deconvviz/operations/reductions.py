"""Reductions and running sums: sum, mean, maximum along axes, cumsum.

Sum, mean and cumsum are linear: the mirror is the adjoint. `amax` and `amin` are linearised. The axes that are reduced
see everything, the others keep their windows. Whole maps only. Samples stay apart unless axis 0 is reduced.
"""

from __future__ import annotations

from typing import Any

import torch

from deconvviz.operations.registry import masks_and_indices, mirror, window
from deconvviz.operations.vector_jacobian import adjoint
from deconvviz.operations.windows import Windows, along_an_axis, everything_seen
from deconvviz.recording.tape import Operation, Value

aten: Any = torch.ops.aten

mirror(aten.sum, aten.mean, aten.cumsum, keeps=masks_and_indices)(adjoint)
window(aten.cumsum)(along_an_axis)


@window(aten.mean, aten.sum, aten.amax, aten.amin)
def reduced(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    """Reduced axes see everything, the others keep their windows."""
    rank = len(value.shape)
    dims = operation["dim"] if operation["dim"] not in (None, []) else range(rank)
    gone = {dim % rank for dim in ([dims] if isinstance(dims, int) else dims)}
    inside = everything_seen(len(rows), rank)
    stays = [axis for axis in range(rank) if axis not in gone]
    kept = stays if len(output.shape) == rank else range(len(stays))
    for axis, source in zip(stays, kept, strict=True):
        inside[:, axis] = rows[:, source]
    return inside
