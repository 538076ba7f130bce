"""Which operations are put on a tape, and which cannot be followed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deconvviz.errors import UnsupportedOperation
from deconvviz.recording.tape import Operation

# Not recorded: a factory's result depends only on the shape of its argument, and what a raw view shows is read from
# the storage when it is used.
NOT_RECORDED = frozenset(
    getattr(torch.ops.aten, name).default
    for name in (
        *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like"),
        *("new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided"),
        *("as_strided", "as_strided_"),
    )
)

# Views that show each element of a part of a storage once and in its own type. If the storage has been written since
# the tensor they are taken from was defined, they are not recorded either: what they show is read when it is used,
# without reading the whole storage first.
_VIEWS = frozenset(
    getattr(torch.ops.aten, name)
    for name in (
        *("select", "slice", "view", "permute", "transpose", "t", "squeeze", "unsqueeze"),
        *("split", "split_with_sizes", "unbind", "diagonal"),
    )
)


def is_view(func: Any) -> bool:
    """Whether an operation returns views of the kind described at `_VIEWS`."""
    return getattr(func, "overloadpacket", None) in _VIEWS and "dtype" not in func._overloadname


def check_can_be_followed(operation: Operation, returned: list[Any]) -> None:
    """Raise UnsupportedOperation if the operation returns a tensor that is nested, sparse or quantised."""
    for item in returned:
        if isinstance(item, Tensor) and (item.is_nested or item.layout != torch.strided):
            kind = "nested" if item.is_nested else f"{str(item.layout).removeprefix('torch.').removeprefix('_')}"
            raise UnsupportedOperation(
                f"{operation} makes a {kind} tensor, which cannot be followed; give the model dense, padded tensors"
            )
        if (isinstance(item, Tensor) and item.is_quantized) or operation.label.startswith("quantized."):
            raise UnsupportedOperation(
                f"{operation} works on quantised numbers, which have no mirror; project the floating-point model "
                f"that was quantised"
            )
