"""Rectifiers: relu, and the activation functions that take its place.

The family `rectifier` of a style chooses the mirror. With s the signal at the output y = f(x):

=============  ===================  ====================================================================
`deconvnet`    relu(s)              Zeiler and Fergus 2014, section 2.1: rectify on the way back
`guided`       relu(s) * [y > 0]    Springenberg et al. 2015: rectify where the unit fired
`weighted`     relu(s) * relu(y)/r  as `guided`, by how much the unit fired; r is the root mean square of x
`gradient`     s * f'(x)            Simonyan et al. 2014: the derivative
=============  ===================  ====================================================================

`deconvnet` reads no recorded numbers, `guided` the output, `gradient` the input, and `weighted` both. Pointwise but for
the scale r of `weighted`: windows do not change, crops are possible, samples and channels stay apart.
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
from deconvviz.recording.tape import Kept, Operation

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


def _input_and_output(operation: Operation) -> Kept:
    return Kept(operation.inputs, (0,))


@mirror(*RECTIFIERS, when=("rectifier", "weighted"), keeps=_input_and_output, batchwise=True, local=True)
def rectify_by_how_much_it_fired(op: Step, signal: Tensor) -> Signals:
    """relu(s) * relu(y) / r, where r is the root mean square of x, over all channels, at the places that s reaches.

    Unlike `guided` it is continuous: what hardly fires adds hardly anything, beside the other channels of the rectifier
    and beside other branches of the network. With r, many layers neither overflow nor vanish.
    """
    if signal.ndim == 1:  # one number of each sample, which is r
        return rectify_where_it_fired(op, signal)
    axes = tuple(range(1, signal.ndim))
    x, y = op.data(op["self"]), op.data(op.made)
    largest = x.abs().amax(axes, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)  # squares of small numbers vanish
    reached = (signal != 0).any(1, keepdim=True).to(x.dtype)
    mean = (x / largest * reached).square().mean(axes, keepdim=True) / reached.mean(axes, keepdim=True)
    return torch.where(mean > 0, signal.clamp(min=0) * (y.clamp(min=0) / largest) / mean.sqrt(), 0.0)


mirror(*RECTIFIERS, when=("rectifier", "gradient"), keeps=all_inputs, batchwise=True, local=True)(linearised)
window(*RECTIFIERS)(same)
crop(*RECTIFIERS, applies=same_shape_on_crops)(run_at_each_position)
