"""Which operations are put on a tape, and which cannot be followed."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deconvviz.errors import UnsupportedOperation
from deconvviz.recording.functional_form import arguments_per_axis
from deconvviz.recording.random_state import may_draw
from deconvviz.recording.tape import Operation, Value, mapped, tensors_in

# Not recorded: a factory's result depends only on the shape of its argument, and what a raw view shows is read from
# the storage when it is used.
_NOT_RECORDED = frozenset(
    getattr(torch.ops.aten, name).default
    for name in (
        *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like"),
        *("new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided"),
        *("as_strided", "as_strided_"),
    )
)

# Operations that also write running statistics or noise into an argument: how many of the written arguments, from the
# first, belong to the result.
_WRITTEN_RESULTS = {
    torch.ops.aten.native_batch_norm: 0,
    torch.ops.aten._native_batch_norm_legit: 0,
    torch.ops.aten.rrelu_with_noise: 0,
    torch.ops.aten.rrelu_with_noise_: 1,
}

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


class OperationKind(NamedTuple):
    """What recording needs to know about an operation, whatever its arguments.

    Attributes:
        recorded: Whether it is put on the tape if it reads something that depends on the input.
        is_view: Whether it returns views of the kind described at `_VIEWS`.
        changes_tensor: Whether it makes a view of its argument in place.
        quantised: Whether it works on quantised numbers.
        own_results: How many of the arguments that it writes, from the first, belong to its result; None for all.
        draws: Whether it can draw random numbers.
        tensors_at: Positions of the arguments that can hold tensors; None for an operation without a schema.
        per_axis: Positions of the arguments that hold one number per axis, as `arguments_per_axis` tells.
    """

    recorded: bool = True
    is_view: bool = False
    changes_tensor: bool = False
    quantised: bool = False
    own_results: int | None = None
    draws: bool = False
    tensors_at: tuple[int, ...] | None = None
    per_axis: tuple[tuple[int, int | None], ...] = ()

    def tensors_among(self, args: tuple[Any, ...]) -> list[Tensor]:
        """The tensors in the positional arguments of a call."""
        if self.tensors_at is None:
            return tensors_in(args)
        found: list[Tensor] = []
        for place in self.tensors_at:
            if place < len(args) and (item := args[place]) is not None:
                if isinstance(item, Tensor):
                    found.append(item)
                else:
                    found.extend(tensors_in(item))
        return found

    def with_tensors_replaced(self, args: tuple[Any, ...], replace: Callable[[Tensor], Any]) -> tuple[Any, ...]:
        """The positional arguments of a call, with each tensor in them replaced."""
        if self.tensors_at is None:
            replaced: tuple[Any, ...] = mapped(args, replace)
            return replaced
        changed = list(args)
        for place in self.tensors_at:
            if place < len(args) and (item := args[place]) is not None:
                changed[place] = replace(item) if isinstance(item, Tensor) else mapped(item, replace)
        return tuple(changed)


_OTHER = OperationKind()  # Python functions, modules, autograd functions


def kind_of(func: Any) -> OperationKind:
    """What is known about an operation; of those of torch, it is read from the schema once."""
    return _kind_of_operator(func) if isinstance(func, torch._ops.OpOverload) else _OTHER


@functools.cache
def _kind_of_operator(func: torch._ops.OpOverload) -> OperationKind:
    return OperationKind(
        recorded=func not in _NOT_RECORDED,
        is_view=func.overloadpacket in _VIEWS and "dtype" not in func._overloadname,
        changes_tensor=torch.Tag.inplace_view in func.tags,
        quantised=func.namespace == "quantized",
        own_results=_WRITTEN_RESULTS.get(func.overloadpacket),
        draws=may_draw(func),
        tensors_at=tuple(
            place
            for place, argument in enumerate(func._schema.arguments)
            if _HOLDS_NO_TENSOR.fullmatch(str(argument.type)) is None
        ),
        per_axis=arguments_per_axis(func),
    )


_HOLDS_NO_TENSOR = re.compile(r"((Optional|List)\[)*(int|float|bool|number|complex|str|Device|Generator)\]*")


class PendingOperation(NamedTuple):
    """An operation that is about to run.

    Attributes:
        operation: The operation, as it will stand on the tape.
        kind: What is known about the operation that runs.
        tensors: The tensors among its arguments.
        values: The value that each of them holds.
        written: Those of the tensors that the operation writes.
    """

    operation: Operation
    kind: OperationKind
    tensors: list[Tensor]
    values: list[Value]
    written: list[Tensor]


def check_can_be_followed(pending: PendingOperation, returned: list[Any]) -> None:
    """Raise UnsupportedOperation if the operation returns a tensor that is nested, sparse or quantised."""
    operation, quantised = pending.operation, pending.kind.quantised
    for item in returned:
        if isinstance(item, Tensor) and (item.is_nested or item.layout is not torch.strided):
            which = "nested" if item.is_nested else f"{str(item.layout).removeprefix('torch.').removeprefix('_')}"
            raise UnsupportedOperation(
                f"{operation} makes a {which} tensor, which cannot be followed; give the model dense, padded tensors"
            )
        if quantised or (isinstance(item, Tensor) and item.is_quantized):
            raise UnsupportedOperation(
                f"{operation} works on quantised numbers, which have no mirror; project the floating-point model "
                f"that was quantised"
            )
