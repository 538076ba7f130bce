"""The form in which an ATen operation is put on the tape: without side effects, with full arguments."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import torch

from deconvviz.errors import UnsupportedOperation
from deconvviz.recording.tape import name_of

# Operations whose functional form is not called as they are, less the underscore.
_FUNCTIONAL_NAMES = {
    **{f"__i{name}__": f"__{name}__" for name in ("and", "or", "xor", "lshift", "rshift")},
    "normal_": "normal_functional",
}


def functional_form(func: Any, where: str) -> Any:
    """The overload of an operation that returns its result and writes nothing.

    For `relu_` it is `relu`, for an overload with ``out=`` the one without. Among several overloads it is the one
    whose arguments have the same names and types.

    Args:
        func: An ATen overload.
        where: The layer that is running, for the error message.

    Raises:
        UnsupportedOperation: If the operation has no such overload.
    """
    if (functional := _functional_form(func)) is not None:
        return functional
    raise UnsupportedOperation(
        f"{name_of(func)} in {where} writes into its arguments and has no form that does not; "
        f"use an operation that returns its result"
    )


@functools.cache
def _functional_form(func: Any) -> Any:
    name = func.overloadpacket._qualified_op_name.split("::")[1]
    namespace = getattr(torch.ops, func.namespace)
    packet = getattr(namespace, _FUNCTIONAL_NAMES.get(name, name.removesuffix("_")), func.overloadpacket)
    expected = [(argument.name, str(argument.type)) for argument in func._schema.arguments if not argument.is_out]
    for overload in packet.overloads():
        candidate = getattr(packet, overload)
        arguments = candidate._schema.arguments
        in_place = bool(arguments) and arguments[0].alias_info is not None and arguments[0].alias_info.is_write
        writes = in_place or any(argument.is_out for argument in arguments)
        if not writes and [(argument.name, str(argument.type)) for argument in arguments] == expected:
            return candidate
    return None


def one_number_per_axis(per_axis: Iterable[tuple[int, int | None]], args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments, with ``stride=(2,)`` and the like written out for every axis; torch passes them on as given.

    Args:
        per_axis: What `arguments_per_axis` says of the operation.
        args: Its arguments.
    """
    full = list(args)
    for position, axes in per_axis:
        if position < len(args) and isinstance(args[position], (list, tuple)) and len(args[position]) == 1:
            full[position] = list(args[position]) * (axes or len(args[1].shape) - 2)
    return tuple(full)


def arguments_per_axis(func: Any) -> tuple[tuple[int, int | None], ...]:
    """Positions of the arguments that hold one number per axis, with the number of axes.

    The number of axes is None for a convolution, whose weight determines it.
    """
    convolution = func.overloadpacket is torch.ops.aten.convolution
    return tuple(
        (position, argument.N)
        for position, argument in enumerate(func._schema.arguments)
        if str(argument.type) == "List[int]" and (convolution or (argument.N or 1) > 1)
    )
