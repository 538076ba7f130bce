"""Linear layers and matrix products.

Operations: `F.linear` (recorded as one operation), `mm`, `addmm`, `bmm`, `baddbmm`, `dot`, `mv`.

Mirror, in every style: the product with the transposed (complex: adjoint) weights, without bias. It reads the weights
and no recorded numbers; if both factors depend on the input, the operation is linearised. A linear layer sees all
features along the last axis, where its channels lie; it does not run on crops. Each row is a sample's, so samples stay
apart.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deconvviz.operations.conditions import one_factor, only, samples_in
from deconvviz.operations.elementwise import conjugated
from deconvviz.operations.registry import channels, mirror, window
from deconvviz.operations.step import Signals, Step
from deconvviz.operations.vector_jacobian import adjoint
from deconvviz.operations.windows import along_the_last
from deconvviz.recording.tape import Operation

aten: Any = torch.ops.aten

channels(F.linear, aten.mm, aten.addmm, axis=-1)
window(F.linear)(along_the_last)


def _has_rows(operation: Operation, samples: int) -> bool:
    return len(operation["input"].shape) > 1 and samples_in("input")(operation, samples)


@mirror(F.linear, applies=only("input"), batchwise=_has_rows)
def features_transposed(op: Step, signal: Tensor) -> Signals:
    """The product with the transposed weights, without bias."""
    return signal @ op.data(op["weight"]).conj()


@mirror(aten.mm, applies=only("self"), batchwise=samples_in("self"))
def weights_transposed(op: Step, signal: Tensor) -> Signals:
    """The product with the adjoint of the second matrix."""
    return signal @ op.data(op["mat2"]).mH


@mirror(aten.addmm, applies=only("mat1"), batchwise=samples_in("mat1"))
def weights_transposed_after_bias(op: Step, signal: Tensor) -> Signals:
    """The same, times alpha."""
    through: Tensor = (signal @ op.data(op["mat2"]).mH) * conjugated(op["alpha"])
    return through


def _same_batch(operation: Operation, samples: int) -> bool:
    return len({value.shape[0] for value in operation.inputs}) == 1


mirror(aten.bmm, applies=one_factor, batchwise=_same_batch)(adjoint)
mirror(aten.baddbmm, applies=one_factor, batchwise=_same_batch)(adjoint)
mirror(aten.dot, aten.mv, applies=one_factor, batchwise=False)(adjoint)
