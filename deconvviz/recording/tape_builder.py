"""Putting operations on a tape as they run: which values they read and made, and which numbers are kept."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from deconvviz.errors import UnsupportedOperation
from deconvviz.recording.aliasing import Geometry, StorageState, overwritten, reread, separated, storage_of
from deconvviz.recording.tape import Kept, Operation, Tape, Value, mapped, name_of, tensors_in

aten: Any = torch.ops.aten

# Not recorded: what a factory returns depends on the shape of its argument only, and what a raw view shows is
# read from the storage when it is used.
_UNSEEN = frozenset(
    getattr(torch.ops.aten, name).default
    for name in (
        *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like"),
        *("new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided"),
        *("as_strided", "as_strided_"),
    )
)

# What only looks at a part of a storage, each element once and in its type. Where the storage has been written since,
# it is not recorded either: what it shows is read when it is used, without reading the whole first.
_LOOKS = frozenset(
    getattr(torch.ops.aten, name)
    for name in (
        *("select", "slice", "view", "permute", "transpose", "t", "squeeze", "unsqueeze"),
        *("split", "split_with_sizes", "unbind", "diagonal"),
    )
)


class Hidden(NamedTuple):
    """Of a value that was made without gradients: what autograd takes it for, None for a constant; where."""

    before: Value | None
    where: str


class Begun(NamedTuple):
    """An operation that is about to run, with the tensors it is given and their values."""

    operation: Operation
    tensors: list[Tensor]
    values: list[Value]
    written: list[Tensor]


class Ledger:
    """The tape in the making.

    keep: asked for each operation which of its inputs and outputs must keep their numbers.
    where: gives the layer that is running.
    own: the model's parameters and buffers. written: receives those that are written, with their old content.
    """

    def __init__(
        self,
        keep: Callable[[Operation], Kept],
        where: Callable[[], str],
        own: list[Tensor],
        written: list[tuple[Tensor, Tensor]],
    ) -> None:
        self.tape = Tape()
        self.keep, self.where, self.written = keep, where, written
        self.ids = 0
        self.storages: dict[int, StorageState[Value]] = {}  # those that hold tracked values
        self.kept_in: dict[int, set[int]] = defaultdict(set)  # storage: ids in tape.data that share it
        self.own = {id(tensor): storage_of(tensor) for tensor in own}
        self.gradients = True  # as the model wants them: not inside its `no_grad`
        self.hidden: dict[int, Hidden] = {}  # values that were made without
        self.shown: dict[int, Value] = {}  # what stands for them outside
        self.families: dict[int, list[int]] = {}  # storage: all that are the same memory
        self.parents: dict[int, int] = {}  # storage: the one that it was separated from

    # Operations

    def begin(self, func: Any, args: Any, kwargs: Any, written: list[Tensor]) -> Begun | None:
        """The operation about to run, or None where it touches nothing that depends on the input."""
        tensors = list(tensors_in((args, kwargs)))
        if func in _UNSEEN or not any(storage_of(tensor) in self.storages for tensor in tensors):
            return None
        looks = getattr(func, "overloadpacket", None) in _LOOKS and "dtype" not in func._overloadname
        if looks and self.gradients and self.storages[storage_of(tensors[0])].outdated(Geometry.of(tensors[0])):
            return None
        values = [self.value_of(tensor) or self.constant(tensor) for tensor in tensors]
        replacements = iter(values)
        new_args = _one_for_each_axis(func, mapped(args, lambda tensor: next(replacements)))
        new_kwargs = mapped(kwargs, lambda tensor: next(replacements))
        if written or torch.Tag.inplace_view in getattr(func, "tags", ()):
            for argument in func._schema.arguments:
                if argument.is_out:
                    new_kwargs.pop(argument.name, None)
            func = _functional(func, self.where())
        inputs = tuple(value for value in values if value.tracked)
        begun = Begun(Operation(func, new_args, new_kwargs, inputs, (), self.where()), tensors, values, written)
        if written:  # what the operation is about to overwrite
            self.keep_inputs(begun)
        return begun

    def end(self, begun: Begun, result: Any) -> Operation:
        """Put the operation on the tape, with a value for each tensor it returned."""
        operation = begun.operation
        made = list(result) if isinstance(result, (list, tuple)) else [result]
        unseen = [tensor for tensor in begun.written if not any(tensor is item for item in made)]
        if unseen:
            raise UnsupportedOperation(
                f"{operation} writes into its arguments without returning them, which cannot be followed; "
                f"use an operation that returns its result"
            )
        _refuse_what_cannot_be_followed(operation, made)
        operation.outputs = tuple(
            self._new_value(item, tracked=True) if isinstance(item, Tensor) else None for item in made
        )
        if not begun.written:
            self.keep_inputs(begun)
        self.tape.operations.append(operation)
        for item, value in zip(made, operation.outputs, strict=True):
            if value is not None:
                written = any(item is tensor for tensor in begun.written)
                self.hide(value, [v for t, v in zip(begun.tensors, begun.values, strict=True) if written and t is item])
                self.define(item, value, written)
        for index in self.keep(operation).outputs:
            if (value := operation.outputs[index]) is not None:
                self.keep_data(value, made[index])
        return operation

    def keep_inputs(self, begun: Begun) -> None:
        """Keep the numbers of the inputs that the operation's rule will read."""
        wanted = {value.id for value in self.keep(begun.operation).inputs}
        for tensor, value in zip(begun.tensors, begun.values, strict=True):
            if value.id in wanted:
                self.keep_data(value, tensor)

    def _insert(self, func: Any, args: tuple[Any, ...], made: Value, where: str = "") -> None:
        """An operation that did not run as such: how one value in a shared storage follows from another."""
        inputs = tuple(item for item in args if isinstance(item, Value))
        self.tape.operations.append(Operation(func, args, {}, inputs, (made,), where or self.where()))

    def forget(self, mark: int, known: list[tuple[StorageState[Value], StorageState[Value]]]) -> None:
        """Take the operations from `mark` on off the tape, with the layers among what they made, and what they said
        about storages: see `remembered`.
        """
        made = {value.id for operation in self.tape.operations[mark:] for value in operation.outputs if value}
        del self.tape.operations[mark:]
        for name in [name for name, layer in self.tape.layers.items() if layer.value.id in made]:
            del self.tape.layers[name]
        for state, before in known:
            if state.version == before.version:  # else it was written, which the caller puts on the tape
                state.values = before.values

    def remembered(self, begun: Begun) -> list[tuple[StorageState[Value], StorageState[Value]]]:
        """What is known about the storages of the operation's arguments, for `forget`."""
        keys = {storage_of(tensor) for tensor in begun.tensors} & self.storages.keys()
        return [(self.storages[key], self.storages[key].copy()) for key in keys]

    # Values

    def take_inputs(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Copies of the arguments, whose tensors are the inputs of the tape."""

        def taken(tensor: Tensor) -> Tensor:
            copy = tensor.detach().as_subclass(Tensor).clone()
            value = self._new_value(copy, tracked=True)
            self.define(copy, value, written=False)
            self.tape.inputs.append(value)
            return copy

        copies = mapped(args, taken), mapped(kwargs, taken)
        batched = [item for item in (*copies[0], *copies[1].values()) if isinstance(item, Tensor) and item.ndim]
        self.tape.samples = next((len(item) for item in batched if item.is_floating_point()), 1)
        return copies

    def value_of(self, tensor: Tensor) -> Value | None:
        """The value that `tensor` holds now; None where it does not depend on the input."""
        state = self.storages.get(storage_of(tensor))
        if state is None:
            return None
        geometry = Geometry.of(tensor)
        if (value := state.current(geometry)) is not None:
            if (seen := self.from_outside(value)) is not value:
                state.define(geometry, seen)
            return seen
        if state.root is None or not state.root[0].shares_numbers(geometry):
            raise self._shares_memory()
        state.root = (state.root[0], self.from_outside(state.root[1]))
        value = self._new_value(tensor, tracked=True)
        self._insert(reread, (state.root[1], state.root[0], geometry), value)
        self.hide(value)
        state.define(geometry, value)
        return value

    def _shares_memory(self) -> UnsupportedOperation:
        return UnsupportedOperation(
            f"in {self.where()!r} a tensor is read that shares memory with one written in place in a way that "
            f"cannot be followed; make that operation out of place"
        )

    def define(self, tensor: Tensor, value: Value, written: bool) -> None:
        """From now on `tensor` holds `value`."""
        key, geometry = storage_of(tensor), Geometry.of(tensor)
        state = self.storages.get(key)
        if state is None and not written:
            self.storages[key] = StorageState(tensor, value)
            return
        if state is None:  # a constant receives something that depends on the input
            flat = Geometry.whole(tensor)
            content = Value(0, flat.size, tensor.dtype, tensor.device, tracked=False)
            state = self.storages[key] = StorageState(tensor, content, flat)
        if not written:
            state.define(geometry, value)
        elif not state.write(geometry, value):
            if state.root is None or not state.root[0].shares_numbers(geometry):
                raise self._shares_memory()
            root_geometry, root = state.root
            newest = self._like(root)
            before = self.from_outside(root) if root.tracked else None
            self._insert(overwritten, (before, value, root_geometry, geometry), newest)
            self.hide(newest, [root])
            state.root = (root_geometry, newest)
            state.define(root_geometry, newest)
        if written:
            self._tell_others(key)

    def constant(self, tensor: Tensor) -> Value:
        """A value for a tensor that does not depend on the input, which is kept."""
        value = self._new_value(tensor, tracked=False)
        if self.own.get(id(tensor), storage_of(tensor)) != storage_of(tensor):
            self.keep_data(value, tensor.detach())  # the model has given it other data, for this run
            return value
        version = 0 if tensor.is_inference() else tensor._version
        self.tape.constants[value.id] = (tensor, version, self.where())
        self.keep_data(value, tensor)
        return value

    def _new_value(self, tensor: Tensor, tracked: bool) -> Value:
        self.ids += 1
        return Value(self.ids, tuple(tensor.shape), tensor.dtype, tensor.device, tracked)

    def _like(self, value: Value) -> Value:
        self.ids += 1
        return Value(self.ids, value.shape, value.dtype, value.device, tracked=True)

    # What is detached

    def hide(self, value: Value, overwrites: Sequence[Value] = ()) -> None:
        """`value` was made while the model wants no gradients; in the place of others, if it overwrites them."""
        if not self.gradients:
            known = [self.hidden.get(old.id, Hidden(old, "")).before for old in overwrites if old.tracked]
            self.hidden[value.id] = Hidden(known[0] if known else None, self.where())

    def from_outside(self, value: Value) -> Value:
        """What the model sees of `value`: with gradients, what was made without is detached.

        A write without gradients is not seen by autograd, which goes on from what was there before.
        """
        made = self.hidden.get(value.id)
        if made is None or not self.gradients or not value.carries_signal:
            return value
        if value.id not in self.shown:
            seen = self.shown[value.id] = self._like(value)
            if made.before is None:
                self._insert(aten.detach.default, (value,), seen, made.where)
            else:
                self._insert(aten.alias.default, (made.before,), seen, made.where)
        return self.shown[value.id]

    def detaches(self, begun: Begun) -> bool:
        """Whether what the operation returns may be the same memory as its arguments, and is detached from them."""
        func = begun.operation.func
        if func is aten.detach.default or isinstance(func, type):
            return True
        plain = not begun.written and torch.Tag.inplace_view not in getattr(func, "tags", ())
        return plain and not self.gradients and any(value.id not in self.hidden for value in begun.operation.inputs)

    def apart_from(self, begun: Begun, result: Any) -> Any:
        """The result, which is detached from the arguments: what shares memory with them by a storage of its own."""
        given = {storage_of(tensor) for tensor in begun.tensors} & self.storages.keys()

        def taken(tensor: Tensor) -> Tensor:
            key = storage_of(tensor)
            if key not in given:
                return tensor
            with torch._C.DisableTorchFunction(), _disable_current_modes():
                made = separated(tensor)
            self.families.setdefault(key, [key]).append(storage_of(made))
            self.families[storage_of(made)] = self.families[key]
            self.parents[storage_of(made)] = key
            return made

        return mapped(result, taken)

    def _tell_others(self, key: int) -> None:
        """A storage was written: what that means where the same memory is looked at through a detach."""
        for other in self.families.get(key, ()):
            there, here = self.storages.get(other), self.storages[key]
            if other == key or there is None or there.root is None or there.reference.expired():
                continue
            if self._descends(key, other):  # autograd does not see it there
                geometry, source, func = *there.root, aten.alias.default
            elif self._descends(other, key) and here.root is not None:
                geometry, source, func = *here.root, aten.detach.default
            else:
                there.spoil()
                continue
            newest = self._like(source)
            self._insert(func, (source,), newest)
            self.hide(newest, [source])
            there.replace(geometry, newest)

    def _descends(self, key: int, ancestor: int) -> bool:
        while key in self.parents:
            key = self.parents[key]
            if key == ancestor:
                return True
        return False

    # Numbers

    def keep_data(self, value: Value, tensor: Tensor) -> None:
        if tensor.is_inference():  # autograd refuses those that are made under torch.inference_mode
            with torch.inference_mode(False):
                tensor = tensor.clone()
        self.tape.data[value.id] = tensor
        self.kept_in[storage_of(tensor)].add(value.id)

    def protect(self, tensor: Tensor) -> None:
        """Before `tensor` is written: what shares its storage and was kept gets a copy of its own."""
        key = storage_of(tensor)
        for same in self.families.get(key, [key]):
            for identity in self.kept_in.pop(same, ()):
                self.tape.data[identity] = self.tape.data[identity].clone()
                self.tape.constants.pop(identity, None)

    def spoil(self, tensor: Tensor) -> None:
        """`tensor` was written by something that is not recorded."""
        key = storage_of(tensor)
        for same in self.families.get(key, [key]):
            if state := self.storages.get(same):
                state.spoil()

    def finished(self) -> Tape:
        for tensor, _ in self.written:  # what shares a buffer that gets its old content back
            self.protect(tensor)
        return self.tape


def _refuse_what_cannot_be_followed(operation: Operation, made: list[Any]) -> None:
    for item in made:
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


@functools.cache
def _lists(func: Any) -> tuple[tuple[int, int | None], ...]:
    """Which arguments have a number for each axis, and of how many axes; None for as many as the weight has."""
    filters = func.overloadpacket is torch.ops.aten.convolution
    return tuple(
        (position, argument.N)
        for position, argument in enumerate(func._schema.arguments)
        if str(argument.type) == "List[int]" and (filters or (argument.N or 1) > 1)
    )


def _one_for_each_axis(func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments, each with a number for every axis: torch hands on ``stride=(2,)`` as it is."""
    if not isinstance(func, torch._ops.OpOverload):
        return args
    full = list(args)
    for position, axes in _lists(func):
        if position < len(args) and isinstance(args[position], (list, tuple)) and len(args[position]) == 1:
            full[position] = list(args[position]) * (axes or len(args[1].shape) - 2)
    return tuple(full)


# Where the plain form has another name than the one that writes.
_PLAIN_NAMES = {
    **{f"__i{name}__": f"__{name}__" for name in ("and", "or", "xor", "lshift", "rshift")},
    "normal_": "normal_functional",
}


def _functional(func: Any, where: str) -> Any:
    """The operation without its side effect: `relu` for `relu_`, the plain overload for one with `out=`.

    Of several overloads it is the one that takes arguments of the same names and types.
    """
    name = func.overloadpacket._qualified_op_name.split("::")[1]
    home = getattr(torch.ops, func.namespace)
    plain = getattr(home, _PLAIN_NAMES.get(name, name.removesuffix("_")), func.overloadpacket)
    expected = [(argument.name, str(argument.type)) for argument in func._schema.arguments if not argument.is_out]
    for overload in plain.overloads():
        candidate = getattr(plain, overload)
        arguments = candidate._schema.arguments
        changes = bool(arguments) and arguments[0].alias_info is not None and arguments[0].alias_info.is_write
        returns = not changes and not any(argument.is_out for argument in arguments)
        if returns and [(argument.name, str(argument.type)) for argument in arguments] == expected:
            return candidate
    raise UnsupportedOperation(
        f"{name_of(func)} in {where} writes into its arguments and has no form that does not; "
        f"use an operation that returns its result"
    )
