"""Whether an operation keeps samples apart, and other conditions on operations as they were recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import torch

from deconvviz.recording.tape import Operation, Value, mapped


def only(*names: str) -> Callable[[Operation], bool]:
    """A condition for `applies`: no other argument carries a signal, so the operation is linear in those that do."""

    def holds(operation: Operation) -> bool:  # counted, since one value may stand in several places
        return _count(operation.inputs) == _count(value for name in names for value in values_in(operation[name]))

    def _count(values: Iterable[Value]) -> int:
        return sum(value.carries_signal for value in values)

    return holds


def samples_in(*names: str) -> Callable[[Operation, int], bool]:
    """A condition for `batchwise`: samples stay apart if no other argument depends on the input."""

    def holds(operation: Operation, samples: int) -> bool:
        named = [value for name in names for value in values_in(operation[name]) if value.tracked]
        return len(operation.inputs) == len(named)

    return holds


def one_factor(operation: Operation) -> bool:
    """Just one operand carries a signal, so a product is linear."""
    return sum(value.carries_signal for value in operation.inputs) == 1


def has_batch(operation: Operation, samples: int) -> bool:
    """The input of a spatial operation, such as `avg_pool3d`, has a batch axis, and not only channels and positions."""
    named = re.search(r"(\d)_?d", operation.label)
    return len(operation.inputs[0].shape) == 2 + (int(named[1]) if named else 2)


def values_in(item: Any) -> list[Value]:
    items = item if isinstance(item, (list, tuple)) else [item]
    return [value for value in items if isinstance(value, Value)]


def one_rank(operation: Operation, samples: int) -> bool:
    """All inputs and outputs have the same rank and the same length along axis 0."""
    values = [*operation.inputs, *(value for value in operation.outputs if value)]
    return len({(len(value.shape), value.shape[:1]) for value in values}) == 1


def always(operation: Operation, samples: int = 1) -> bool:
    return True


def never(operation: Operation, samples: int = 1) -> bool:
    """For operations that are always linearised, and registered only to say whether samples stay apart."""
    return False


# These work along the axes they are given and treat all others alike. The `dim` of other operations can mean the axis
# that is kept (`renorm`, weight norms) or the axis along which all others are compared (`unique_dim`).
_ALONG_THEIR_AXES = frozenset(
    getattr(torch.ops.aten, name)
    for name in (
        *("_softmax", "_log_softmax", "_safe_softmax", "_softmax_backward_data", "_log_softmax_backward_data", "glu"),
        *("sum", "mean", "prod", "nansum", "std", "std_mean", "var", "var_mean"),
        *("norm", "linalg_vector_norm", "logsumexp"),
        *("amax", "amin", "aminmax", "max", "min", "argmax", "argmin", "all", "any", "count_nonzero"),
        *("median", "nanmedian", "mode", "kthvalue", "sort", "topk"),
        *("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "_logcumsumexp"),
        *("cat", "select", "slice", "split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "unbind"),
        *("flip", "roll", "rot90", "transpose", "diagonal", "unfold", "squeeze", "linalg_cross"),
        *("gather", "scatter", "scatter_add", "scatter_reduce", "select_scatter", "slice_scatter", "diagonal_scatter"),
        *("index_select", "index_add", "index_copy", "index_fill", "index_reduce"),
        *("_fft_r2c", "_fft_c2c", "_fft_c2r"),
    )
)


def batchwise_by_schema(operation: Operation, samples: int) -> bool:
    """Whether an ATen operation is known to treat each sample along axis 0 alone, and all in the same way.

    That is so if it is pointwise over tensors of one rank, or one of `_ALONG_THEIR_AXES` and axis 0 is not among them.
    """
    outputs = [value for value in operation.outputs if value is not None]
    values = [*operation.inputs, *outputs]
    if not isinstance(operation.func, torch._ops.OpOverload) or not outputs:
        return False
    if any(not value.shape or value.shape[0] % samples for value in values):
        return False
    rows = values[0].shape[0]
    if torch.Tag.pointwise in operation.func.tags:
        return len({(len(value.shape), value.shape[0]) for value in values}) == 1
    if operation.func.overloadpacket not in _ALONG_THEIR_AXES or any(value.shape[0] != rows for value in values):
        return False
    rank = len(operation.inputs[0].shape)
    constants: list[Value] = []
    mapped((operation.args, dict(operation.kwargs)), constants.append, Value)
    if any(len(value.shape) == rank > 1 and value.shape[0] != rows for value in constants):
        return False  # an index of one row, or the like
    names = {argument.name for argument in operation.func._schema.arguments}
    dims: list[int] = []
    for name in names & {"dim", "dims", "dim0", "dim1", "dim2", "dimension"}:
        axes = operation[name]
        if axes is None or axes == []:
            return False
        dims.extend(axes if isinstance(axes, (list, tuple)) else [axes])
    return bool(dims) and all(dim % rank for dim in dims)
