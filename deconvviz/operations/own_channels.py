"""The convolution that makes units of one position each, on crops: of every unit its own channel, and no other.

Seeds are zero in all other channels, so neither way needs these. With W_c the unit's filter and x its crop,

    y = <W_c, x> + b_c,    s_in = W_c s_out.

It takes the place of the last convolution on a tape of crops (`projection.cropped`), on the CPU. Mirror: see above; it
reads the weights and no recorded numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deconvviz.operations.convolution import as_rows, filter_transposed, is_product, shaped
from deconvviz.operations.registry import mirror, rule_for
from deconvviz.operations.step import Signals, Step
from deconvviz.operations.styles import Style
from deconvviz.recording.tape import Operation

CALCULATED = (torch.float32, torch.float64)  # halves would be rounded before they are summed


def has_own_channels(operation: Operation, style: Style) -> bool:
    """Whether an operation on a tape of crops is such a convolution, and its mirror is the library's own."""
    made = operation.made
    if operation.label != "aten.convolution" or made.device.type != "cpu" or made.dtype not in CALCULATED:
        return False
    weight = operation["weight"]
    alike = {value.dtype for value in (operation["input"], weight)} == {made.dtype}
    geometry = operation.args[3:]
    product = len(geometry) == 6 and is_product(operation["input"].shape, torch.Size(weight.shape), geometry)
    return product and alike and rule_for(operation, style).function is filter_transposed


def own_channels(input: Tensor, weight: Tensor, bias: Tensor | None, channels: Tensor) -> Tensor:
    """(units, 1, ..., 1): the activations of units, from their crops (units, C, *kernel) and channels (units,)."""
    made = (as_rows(input) * as_rows(weight).index_select(0, channels)).sum(1)
    made = made if bias is None else made + bias.index_select(0, channels)
    return made.view(-1, *[1] * (input.ndim - 1))


@mirror(own_channels, batchwise=True, own=True, local=True)
def filters_times_seeds(op: Step, signal: Tensor) -> Signals:
    """Each unit's filter times its signal."""
    filters = as_rows(op.data(op["weight"])).index_select(0, op.data(op["channels"]))
    return shaped(filters.mul_(signal.view(-1, 1)), op.shape(op["input"]))
