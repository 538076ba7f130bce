"""Rectifiers: relu, and the activation functions that take its place.

The family `rectifier` of a style chooses the mirror. With s the signal at the output y = f(x):

=============  ===================  ====================================================================
`deconvnet`    relu(s)              Zeiler and Fergus 2014, section 2.1: rectify on the way back
`guided`       relu(s) * [y > 0]    Springenberg et al. 2015: rectify where the unit fired
`weighted`     relu(s) * relu(y)    as `guided`, by how much the unit fired; its sum stays that of relu(s)
`gradient`     s * f'(x)            Simonyan et al. 2014: the derivative
=============  ===================  ====================================================================

`deconvnet` reads no recorded numbers, `guided` and `weighted` the output, `gradient` the input. Pointwise but for the
scale of `weighted`: windows do not change, crops are possible, samples and channels stay apart.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deconvviz.operations.elementwise import run_at_each_position, same_shape_on_crops
from deconvviz.operations.registry import all_inputs, crop, mirror, outputs, window
from deconvviz.operations.step import Signals, Step
from deconvviz.operations.vector_jacobian import linearised
from deconvviz.operations.windows import same

aten: Any = torch.ops.aten

RECTIFIERS = (
    *(aten.relu, aten.hardtanh, aten.leaky_relu, aten._prelu_kernel, aten.rrelu_with_noise, aten.elu),
    *(aten.celu, aten.gelu, aten.silu, aten.mish, aten.hardswish, aten.softplus, aten.threshold),
)


@mirror(*RECTIFIERS, when=("rectifier", "deconvnet"), batchwise=True, own=True, local=True)
def rectify(op: Step, signal: Tensor) -> Signals:
    """relu(s), whatever the input was."""
    return signal.clamp_(min=0) if op.writable else signal.clamp(min=0)


@mirror(*RECTIFIERS, when=("rectifier", "guided"), keeps=outputs(0), batchwise=True, local=True)
def rectify_where_it_fired(op: Step, signal: Tensor) -> Signals:
    """relu(s) * [y > 0]."""
    return signal.clamp(min=0) * (op.data(op.made) > 0)


@mirror(*RECTIFIERS, when=("rectifier", "weighted"), keeps=outputs(0), batchwise=True, local=True)
def rectify_by_how_much_it_fired(op: Step, signal: Tensor) -> Signals:
    """relu(s) * relu(y), scaled to the sum of relu(s), so that many layers do not overflow.

    Unlike `guided` it is continuous: what hardly fires adds hardly anything.
    """
    axes = tuple(range(1, signal.ndim))
    passed, fired = signal.clamp(min=0), op.data(op.made).clamp(min=0)
    weighted = passed * (fired / fired.amax(axes, keepdim=True).clamp(min=torch.finfo(fired.dtype).tiny))
    whole = weighted.sum(axes, keepdim=True)
    return torch.where(whole > 0, weighted / whole, 0.0) * passed.sum(axes, keepdim=True)


mirror(*RECTIFIERS, when=("rectifier", "gradient"), keeps=all_inputs, batchwise=True, local=True)(linearised)
window(*RECTIFIERS)(same)
crop(*RECTIFIERS, applies=same_shape_on_crops)(run_at_each_position)
