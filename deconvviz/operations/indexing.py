"""Indexing: gather, scatter and their kin, by indices that do not depend on the input, or that were recorded.

Linear in the values: the mirror is the adjoint, which reads the recorded indices and masks. Windows: everything along
the axis that is indexed. Whole maps only.
"""

from __future__ import annotations

from typing import Any

import torch

from deconvviz.operations.conditions import values_in
from deconvviz.operations.registry import masks_and_indices, mirror, window
from deconvviz.operations.vector_jacobian import adjoint
from deconvviz.operations.windows import along_an_axis
from deconvviz.recording.tape import Operation

aten: Any = torch.ops.aten


def _index_behind_batch(operation: Operation, samples: int) -> bool:
    """Constant indices side by side, none of them for axis 0."""
    positions = [position for position, index in enumerate(operation["indices"]) if index is not None]
    constant = not any(value.tracked for value in values_in(operation["indices"]))
    return constant and positions[0] > 0 and positions == list(range(positions[0], positions[-1] + 1))


mirror(aten.index, keeps=masks_and_indices, batchwise=_index_behind_batch)(adjoint)
mirror(
    *(aten.index_select, aten.gather),
    *(aten.slice_scatter, aten.select_scatter, aten.scatter, aten.scatter_add, aten.index_add, aten.index_copy),
    keeps=masks_and_indices,
)(adjoint)
mirror(aten.masked_scatter, aten.index_put, aten.take, keeps=masks_and_indices, batchwise=False)(adjoint)
window(aten.index_select, aten.gather)(along_an_axis)
