"""A recorded forward pass: values, the operations that returned them, and the layers that name them.

A *value* is one version of one tensor's content; an in-place operation gives the tensor a new value. An *operation* is
one that ran on something that depends on the input. The tape is plain data without rules: it is recorded by
`deconvviz.recording.recorder`, and walking it back does not need the model.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deconvviz.recording.random_state import RandomState


@dataclass(eq=False, slots=True)  # not frozen, which makes creating one four times as long
class Value:
    """One version of one tensor's content, which an operation reads or returns. It is never changed.

    Attributes:
        id: Its number on the tape.
        shape: The tensor's shape.
        dtype: The tensor's type.
        device: The tensor's device.
        tracked: Whether it depends on the input.
    """

    id: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    tracked: bool

    @property
    def carries_signal(self) -> bool:
        """Whether a signal can be sent back through it: it depends on the input and is no integer or bool."""
        return self.tracked and (self.dtype.is_floating_point or self.dtype.is_complex)


@dataclass(eq=False, slots=True)
class Operation:
    """One operation that ran.

    Attributes:
        func: An ATen overload (the functional one if an in-place operation ran), a Python function or a module that
            was recorded as one operation, or `reread` or `overwritten` of `deconvviz.recording.aliasing`.
        args: Its arguments, with a `Value` in place of each tensor.
        kwargs: Its keyword arguments, likewise.
        inputs: The tracked values in `args` and `kwargs`, one entry per occurrence.
        outputs: One value per tensor returned; None for anything else.
        where: The layer in which it ran: a module or a functional call, with the suffix of a repeated call.
        drawn: If it drew random numbers, the state of the generators before.
    """

    func: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inputs: tuple[Value, ...]
    outputs: tuple[Value | None, ...]
    _: KW_ONLY
    where: str
    drawn: RandomState | None = None
    _named: dict[str, tuple[int, Any]] | None = field(default=None, init=False, repr=False)

    @property
    def made(self) -> Value:
        """The first tensor that the operation returned."""
        return next(value for value in self.outputs if value is not None)

    @property
    def label(self) -> str:
        """The operation's name without its overload: ``aten.relu``, ``torch.nn.functional.normalize``."""
        return name_of(self.func)

    def __getitem__(self, name: str) -> Any:
        """The argument called `name`, or its default; None if the operation has no such argument."""
        if (parameters := self._named) is None:
            parameters = self._named = _parameters(self.func)  # kept here, which is quicker than to look up an overload
        position, default = parameters.get(name, _NO_ARGUMENT)
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)

    def __str__(self) -> str:
        return f"{self.label} in {self.where}"


_NO_ARGUMENT = (sys.maxsize, None)  # the place and the default of an argument that an operation does not have


def _parameters(func: Any) -> dict[str, tuple[int, Any]]:
    """The place and the default of each parameter of `func`, by its name."""
    return _parameters_of(func) if isinstance(func, (nn.Module, type)) else _cached_parameters(func)


@functools.cache  # not for modules and classes made in a forward, which the cache would keep alive
def _cached_parameters(func: Any) -> dict[str, tuple[int, Any]]:
    return _parameters_of(func)


def _parameters_of(func: Any) -> dict[str, tuple[int, Any]]:
    if hasattr(func, "_schema"):
        known = ((a.name, a.default_value if a.has_default_value() else None) for a in func._schema.arguments)
        return {name: (place, default) for place, (name, default) in enumerate(known)}
    if isinstance(func, nn.Module):
        func = func.forward
    elif isinstance(func, type) and issubclass(func, torch.autograd.Function):
        takes_context = func.setup_context is torch.autograd.Function.setup_context
        func = functools.partial(func.forward, None) if takes_context else func.forward
    elif inspect.isbuiltin(func):  # has no signature of its own; torch keeps one for those that can be overridden
        func = torch.overrides.get_testing_overrides()[func]
    parameters = enumerate(inspect.signature(func).parameters.values())
    return {p.name: (place, None if p.default is inspect.Parameter.empty else p.default) for place, p in parameters}


def name_of(func: Any) -> str:
    """The name of an operation, function or module, as messages and results print it."""
    packet = getattr(func, "overloadpacket", func)
    if isinstance(packet, torch._ops.OpOverloadPacket):
        return str(packet).replace("::", ".")
    named = type(func) if isinstance(func, nn.Module) else func
    home = {"torch._C._nn": "torch.nn.functional", None: "torch"}.get(named.__module__, named.__module__)
    return f"{home}.{named.__qualname__}"


@dataclass(eq=False, slots=True)
class Layer:
    """A named value: what a module call or a functional call returned. It is never changed.

    Attributes:
        name: Its name, as in torchvision's feature extraction.
        kind: Class of the module, or name of the function.
        value: The value.
    """

    name: str
    kind: str
    value: Value


class Kept(NamedTuple):
    """The numbers of an operation that must be kept.

    Attributes:
        inputs: Values among its inputs.
        outputs: Indices of its outputs.
    """

    inputs: Iterable[Value] = ()
    outputs: Iterable[int] = ()


NOTHING_KEPT = Kept()


@dataclass(eq=False, kw_only=True)
class Tape:
    """A recorded run.

    Attributes:
        inputs: The values of the tensors that the model was given.
        operations: The operations, in the order in which they ran.
        layers: The layers, by name.
        data: By a value's id, the numbers of constants and of the values that were asked for.
        constants: By a constant's id: the tensor, its version when it was read, and the layer that read it.
        samples: Length of the batch axis of the first floating-point argument.
        complete: False if the run was ended after the last layer asked for.
    """

    inputs: list[Value] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    layers: dict[str, Layer] = field(default_factory=dict)
    data: dict[int, Tensor] = field(default_factory=dict)
    constants: dict[int, tuple[Tensor, int, str]] = field(default_factory=dict)
    samples: int = 1
    complete: bool = True

    def makers(self) -> dict[int, Operation]:
        """The operation that returned each value, by the value's id."""
        return {value.id: operation for operation in self.operations for value in operation.outputs if value}


_SCALARS = frozenset({int, float, bool, complex, str, type(None)})  # arguments that hold nothing


def mapped(item: Any, replace: Callable[[Any], Any], kind: type | tuple[type, ...] = Tensor) -> Any:
    """`item` with each instance of `kind` in it (in lists, tuples, mappings, dataclasses) replaced."""
    if isinstance(item, kind):
        return replace(item)
    if type(item) in _SCALARS or isinstance(item, _UNTENSORED):
        return item
    if isinstance(item, (list, tuple)):
        parts = [part if type(part) in _SCALARS else mapped(part, replace, kind) for part in item]
        if hasattr(item, "_fields"):  # a named tuple
            return type(item)(*parts)
        return tuple(parts) if isinstance(item, tuple) else parts
    if isinstance(item, Mapping):
        return {key: mapped(part, replace, kind) for key, part in item.items()}
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        changed = copy.copy(item)
        for field_ in dataclasses.fields(item):
            object.__setattr__(changed, field_.name, mapped(getattr(item, field_.name), replace, kind))
        return changed
    return item


def paths(item: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors in `item`, in the order of `mapped`, each with its path: ``[0][name]``, or "" if `item` is one."""
    if type(item) in _SCALARS:
        return
    if isinstance(item, Tensor):
        yield path, item
    elif isinstance(item, Mapping):
        for key, part in item.items():
            yield from paths(part, f"{path}[{key}]")
    elif isinstance(item, (list, tuple)):
        for index, part in enumerate(item):
            yield from paths(part, f"{path}[{index}]")
    elif dataclasses.is_dataclass(item) and not isinstance(item, type):
        for field_ in dataclasses.fields(item):
            yield from paths(getattr(item, field_.name), f"{path}[{field_.name}]")


def tensors_in(item: Any) -> list[Tensor]:
    """The tensors in `item`, in the order of `mapped`."""
    if isinstance(item, Tensor):
        return [item]
    if isinstance(item, (list, tuple)):
        found: list[Tensor] = []
        for part in item:
            if isinstance(part, Tensor):
                found.append(part)
            elif type(part) not in _SCALARS:
                found.extend(tensors_in(part))
        return found
    return [] if isinstance(item, _UNTENSORED) else [tensor for _, tensor in paths(item)]


_UNTENSORED = (int, float, str, type(None))  # most arguments that are no tensors


def written_by(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The arguments whose content an ATen operation changes, according to its schema."""
    written: list[Tensor] = []
    for index, name in _written_arguments(func):
        written.extend(tensors_in(args[index] if index < len(args) else kwargs.get(name)))
    if written and func is _NATIVE_BATCH_NORM and not args[5]:
        return []
    return written


_NATIVE_BATCH_NORM: Any = torch.ops.aten.native_batch_norm.default


@functools.cache
def _written_arguments(func: Any) -> tuple[tuple[int, str], ...]:
    """Place and name of each argument that an ATen operation can write."""
    if func is _NATIVE_BATCH_NORM:  # its schema does not say so
        return (3, "running_mean"), (4, "running_var")
    if not func._schema.is_mutable or torch.Tag.inplace_view in func.tags:
        return ()
    aliases = [(place, argument.name, argument.alias_info) for place, argument in enumerate(func._schema.arguments)]
    return tuple((place, name) for place, name, alias in aliases if alias is not None and alias.is_write)
