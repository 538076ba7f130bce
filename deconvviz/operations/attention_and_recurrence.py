"""Attention and recurrent layers: linearised, see everything, run on whole maps only."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from deconvviz.operations.conditions import never
from deconvviz.operations.registry import channels, mirror
from deconvviz.operations.vector_jacobian import linearised
from deconvviz.recording.tape import Operation

aten: Any = torch.ops.aten


def _has_heads_and_one_batch(operation: Operation, samples: int) -> bool:
    same_batch = len({value.shape[0] for value in operation.inputs}) == 1
    return same_batch and all(len(value.shape) == 4 for value in operation.inputs)


mirror(F.multi_head_attention_forward, applies=never, batchwise=False)(linearised)
mirror(F.scaled_dot_product_attention, applies=never, batchwise=_has_heads_and_one_batch)(linearised)

# Recurrent layers, which have no mirror of their own either; their features lie along the last axis.
channels(aten.mkldnn_rnn_layer, aten._cudnn_rnn, aten.lstm, aten.gru, axis=-1)
