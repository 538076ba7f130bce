"""Padding: constant, reflecting and replicating. (Circular padding writes slices: see `written_storage`.)

Linear: the mirror is the adjoint, so what was padded with a constant gets nothing, and reflected or replicated values
are added to their sources. Constant padding moves windows by the positions in front; it runs on crops if it pads with
zeros. The others use whole maps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from deconvviz.operations.conditions import has_batch
from deconvviz.operations.regions import Region
from deconvviz.operations.registry import crop, mirror, window
from deconvviz.operations.vector_jacobian import adjoint
from deconvviz.operations.windows import Windows
from deconvviz.recording.tape import Operation, Value

if TYPE_CHECKING:
    from deconvviz.projection.crops import Crops

aten: Any = torch.ops.aten


def _leaves_batch(operation: Operation, samples: int) -> bool:
    return len(operation["pad"]) < 2 * len(operation["self"].shape)


mirror(aten.constant_pad_nd, batchwise=_leaves_batch, local=True)(adjoint)
mirror(
    *(aten.reflection_pad1d, aten.reflection_pad2d, aten.reflection_pad3d),
    *(aten.replication_pad1d, aten.replication_pad2d, aten.replication_pad3d),
    batchwise=has_batch,
)(adjoint)


@window(aten.constant_pad_nd)
def padded(operation: Operation, value: Value, output: Value, rows: Windows) -> Windows:
    """Moved by what is put in front."""
    inside = rows.copy()
    for position, before in enumerate(operation["pad"][::2]):
        inside[:, -1 - position] -= before
    return inside


def _pads_positions_with_zeros(operation: Operation) -> bool:
    return not operation["value"] and len(operation["pad"]) <= 2 * (len(operation.made.shape) - 2)


@crop(aten.constant_pad_nd, applies=_pads_positions_with_zeros)
def pad_crop(crops: Crops, operation: Operation, region: Region) -> Value:
    """What lies outside the map is set to zero; the window moves by what is put in front."""
    needed = crops.needed(operation, operation["self"])
    piece = crops.piece(operation, operation["self"], needed, fill=0.0)
    return crops.operation(operation, aten.clone.default, (piece,), {}, crops.new(operation.made, region))
