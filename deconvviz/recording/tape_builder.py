"""Building a tape while the model runs: which values an operation reads and returns, and which numbers are kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from deconvviz.errors import UnsupportedOperation
from deconvviz.io.restoring import Restored
from deconvviz.recording.aliasing import StorageLayout, StorageState, overwritten, reread, separated, storage_of
from deconvviz.recording.detached_storages import DetachedStorages
from deconvviz.recording.functional_form import functional_form, one_number_per_axis
from deconvviz.recording.recordable import PendingOperation, check_can_be_followed, kind_of
from deconvviz.recording.tape import Kept, Operation, Tape, Value, mapped, tensors_in

aten: Any = torch.ops.aten
_DETACH = aten.detach.default


class _MadeWithoutGradients(NamedTuple):
    """How autograd sees a value that was made in a `no_grad` block.

    Attributes:
        before: If the value overwrote another one: that one, which autograd still sees. None for a constant.
        where: The layer in which it was made.
    """

    before: Value | None
    where: str


class Checkpoint(NamedTuple):
    """What `TapeBuilder.forget` goes back to.

    Attributes:
        length: Number of operations on the tape.
        storages: Pairs of a storage's state and a copy of it.
    """

    length: int
    storages: list[tuple[StorageState[Value], StorageState[Value]]]


class TapeBuilder:
    """A tape in the making.

    Attributes:
        tape: The tape.
        gradients: Whether the model wants gradients at this moment, as it does not in its `no_grad` blocks.
        storages: The storages that hold something that depends on the input.
    """

    def __init__(
        self,
        keep: Callable[[Operation], Kept],
        where: Callable[[], str],
        own: list[Tensor],
        written: list[tuple[Tensor, Tensor]],
    ) -> None:
        """Begin a tape.

        Args:
            keep: Called with each operation; returns which of its inputs and outputs must keep their numbers.
            where: Returns the layer that is running.
            own: The model's parameters and buffers.
            written: Receives those of them that the run writes, with their old content.
        """
        self.tape = Tape()
        self.gradients = True
        self.storages: dict[int, StorageState[Value]] = {}
        self.keep, self._where, self._written = keep, where, written
        self._ids = 0
        self._kept_in: dict[int, set[int]] = defaultdict(set)  # storage: ids in tape.data that share it
        self._own = {id(tensor): storage_of(tensor) for tensor in own}
        self._without_gradients: dict[int, _MadeWithoutGradients] = {}  # by the value's id
        self._seen_as: dict[int, Value] = {}  # by the id of such a value: the one that stands for it with gradients
        self._detached = DetachedStorages()
        self._newest: tuple[Tensor, Value] | None = None  # what the last operation returned, until the next one runs

    # Operations

    def begin(self, func: Any, args: Any, kwargs: Any, written: list[Tensor]) -> PendingOperation | None:
        """The operation that is about to run, or None if nothing it reads depends on the input."""
        self._newest = None
        kind = kind_of(func)
        tensors = kind.tensors_among(args)
        if kwargs:
            tensors += tensors_in(kwargs)
        storages = [storage_of(tensor) for tensor in tensors]
        if not kind.recorded or self.storages.keys().isdisjoint(storages):
            return None
        if kind.is_view and self.gradients and self._is_outdated(tensors[0]):
            return None  # what it shows is read when it is used
        where = self._where()
        values = [
            self._held(tensor, storage) if storage in self.storages else self._constant(tensor, storage, where)
            for tensor, storage in zip(tensors, storages, strict=True)
        ]
        replacements = iter(values)
        new_args = kind.with_tensors_replaced(args, lambda _: next(replacements))
        new_kwargs = mapped(kwargs, lambda _: next(replacements)) if kwargs else {}
        if kind.per_axis:
            new_args = one_number_per_axis(kind.per_axis, new_args)
        if written or kind.changes_tensor:
            for argument in func._schema.arguments:
                if argument.is_out:
                    new_kwargs.pop(argument.name, None)
            func = functional_form(func, where)
        inputs = tuple([value for value in values if value.tracked])
        operation = Operation(func, new_args, new_kwargs, inputs, (), where=where)
        pending = PendingOperation(operation, kind, tensors, values, written)
        if written:  # before the operation overwrites them
            self.keep_inputs(pending, self.keep(operation))
        return pending

    def end(self, pending: PendingOperation, result: Any) -> Operation:
        """Put an operation that has run on the tape, with a value for each tensor it returned.

        Raises:
            UnsupportedOperation: If it writes into arguments that it does not return, or returns a tensor that is
                sparse, nested or quantised.
        """
        operation = pending.operation
        returned = list(result) if isinstance(result, (list, tuple)) else [result]
        if pending.written and not all(any(tensor is item for item in returned) for tensor in pending.written):
            raise UnsupportedOperation(
                f"{operation} writes into its arguments without returning them, which cannot be followed; "
                f"use an operation that returns its result"
            )
        check_can_be_followed(pending, returned)
        operation.outputs = tuple(
            [self._new_value(item, tracked=True) if isinstance(item, Tensor) else None for item in returned]
        )
        kept = self.keep(operation)
        if not pending.written:
            self.keep_inputs(pending, kept)
        self.tape.operations.append(operation)
        for item, value in zip(returned, operation.outputs, strict=True):
            if value is not None:
                self._returned(pending, item, value)
        for index in kept.outputs:
            if (value := operation.outputs[index]) is not None:
                self.keep_data(value, returned[index])
        if len(returned) == 1 and (value := operation.outputs[0]) is not None and not self._without_gradients:
            self._newest = returned[0], value
        return operation

    def _returned(self, pending: PendingOperation, tensor: Tensor, value: Value) -> None:
        """A tensor that the operation returned, new or written in place, holds `value`."""
        written = any(tensor is argument for argument in pending.written)
        if not self.gradients:
            arguments = zip(pending.tensors, pending.values, strict=True)
            self._note_gradients(value, [old for argument, old in arguments if written and argument is tensor])
        self._define(tensor, value, written)

    def keep_inputs(self, pending: PendingOperation, kept: Kept) -> None:
        """Keep the numbers of the inputs that the operation's rule will read."""
        if not kept.inputs or not (wanted := {value.id for value in kept.inputs}):
            return
        for tensor, value in zip(pending.tensors, pending.values, strict=True):
            if value.id in wanted:
                self.keep_data(value, tensor)

    def checkpoint(self, pending: PendingOperation) -> Checkpoint:
        """The state of the tape, and of the storages that the operation's arguments lie in."""
        keys = {storage_of(tensor) for tensor in pending.tensors} & self.storages.keys()
        return Checkpoint(len(self.tape.operations), [(self.storages[key], self.storages[key].copy()) for key in keys])

    def forget(self, checkpoint: Checkpoint) -> None:
        """Take what was recorded since off the tape again: operations, layers they returned, values in storages."""
        operations = self.tape.operations[checkpoint.length :]
        outputs = {value.id for operation in operations for value in operation.outputs if value}
        del self.tape.operations[checkpoint.length :]
        for name in [name for name, layer in self.tape.layers.items() if layer.value.id in outputs]:
            del self.tape.layers[name]
        for state, before in checkpoint.storages:
            if state.version == before.version:  # otherwise it was written, which the caller puts on the tape
                state.values = before.values

    def _insert(self, func: Any, args: tuple[Any, ...], output: Value, where: str = "") -> None:
        """Record how one value in a shared storage follows from others, by an operation that did not run as such."""
        inputs = tuple(item for item in args if isinstance(item, Value))
        self.tape.operations.append(Operation(func, args, {}, inputs, (output,), where=where or self._where()))

    # Values

    def take_inputs(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Copies of the model's arguments, whose tensors become the inputs of the tape."""

        def copied(tensor: Tensor) -> Tensor:
            copy = tensor.detach().as_subclass(Tensor).clone()
            value = self._new_value(copy, tracked=True)
            self._define(copy, value, written=False)
            self.tape.inputs.append(value)
            return copy

        copies = mapped(args, copied), mapped(kwargs, copied)
        batched = [item for item in (*copies[0], *copies[1].values()) if isinstance(item, Tensor) and item.ndim]
        self.tape.samples = next((len(item) for item in batched if item.is_floating_point()), 1)
        return copies

    def value_of(self, tensor: Tensor) -> Value | None:
        """The value that a tensor holds now; None if it does not depend on the input.

        Raises:
            UnsupportedOperation: If the storage was written in a way that cannot be followed.
        """
        if self._newest is not None and self._newest[0] is tensor:  # as for a layer that returns it
            return self._newest[1]
        storage = storage_of(tensor)
        return self._held(tensor, storage) if storage in self.storages else None

    def _held(self, tensor: Tensor, storage: int) -> Value:
        """As `value_of`, for a tensor in one of `storages`."""
        state, layout = self.storages[storage], StorageLayout.of(tensor)
        if (value := state.current(layout)) is not None:
            if (seen := self._seen_with_gradients(value)) is not value:
                state.define(layout, seen)
            return seen
        if state.root is None or not state.root[0].shares_numbers(layout):
            raise self._cannot_follow_memory()
        state.root = (state.root[0], self._seen_with_gradients(state.root[1]))
        value = self._new_value(tensor, tracked=True)
        self._insert(reread, (state.root[1], state.root[0], layout), value)
        self._note_gradients(value)
        state.define(layout, value)
        return value

    def _is_outdated(self, tensor: Tensor) -> bool:
        return self.storages[storage_of(tensor)].outdated(StorageLayout.of(tensor))

    def _cannot_follow_memory(self) -> UnsupportedOperation:
        return UnsupportedOperation(
            f"in {self._where()!r} a tensor is read that shares memory with one written in place in a way that "
            f"cannot be followed; make that operation out of place"
        )

    def _define(self, tensor: Tensor, value: Value, written: bool) -> None:
        """From now on `tensor` holds `value`; `written` says whether an existing tensor was written in place."""
        key, layout = storage_of(tensor), StorageLayout.of(tensor)
        state = self.storages.get(key)
        if state is None and not written:
            self.storages[key] = StorageState(tensor, value, layout)
            return
        if state is None:  # a constant receives something that depends on the input
            flat = StorageLayout.whole(tensor)
            content = Value(0, flat.size, tensor.dtype, tensor.device, tracked=False)
            state = self.storages[key] = StorageState(tensor, content, flat)
        if not written:
            state.define(layout, value)
            return
        if not state.write(layout, value):
            self._overwrite_part(state, layout, value)
        self._update_detached(key)

    def _overwrite_part(self, state: StorageState[Value], layout: StorageLayout, value: Value) -> None:
        """Give a storage a new root after a part of it was written."""
        if state.root is None or not state.root[0].shares_numbers(layout):
            raise self._cannot_follow_memory()
        root_layout, root = state.root
        newest = self._like(root)
        before = self._seen_with_gradients(root) if root.tracked else None
        self._insert(overwritten, (before, value, root_layout, layout), newest)
        self._note_gradients(newest, [root])
        state.root = (root_layout, newest)
        state.define(root_layout, newest)

    def constant(self, tensor: Tensor) -> Value:
        """A value for a tensor that does not depend on the input; its numbers are kept."""
        return self._constant(tensor, storage_of(tensor), self._where())

    def _constant(self, tensor: Tensor, storage: int, where: str) -> Value:
        value = self._new_value(tensor, tracked=False)
        if self._own.get(id(tensor), storage) != storage:
            self.keep_data(value, tensor.detach())  # the model has given it other memory for this run
            return value
        version = 0 if tensor.is_inference() else tensor._version
        self.tape.constants[value.id] = (tensor, version, where)
        self._keep(value, tensor.detach() if id(tensor) in self._own else tensor, storage)  # as it lies in this run
        return value

    def _new_value(self, tensor: Tensor, tracked: bool) -> Value:
        self._ids += 1
        return Value(self._ids, tuple(tensor.shape), tensor.dtype, tensor.device, tracked)

    def _like(self, value: Value) -> Value:
        self._ids += 1
        return Value(self._ids, value.shape, value.dtype, value.device, tracked=True)

    # Gradients and detached tensors

    def _note_gradients(self, value: Value, replaced: Sequence[Value] = ()) -> None:
        """Note of a new value whether it was made without gradients, and which values it replaced."""
        if not self.gradients:
            before = [
                self._without_gradients.get(old.id, _MadeWithoutGradients(old, "")).before
                for old in replaced
                if old.tracked
            ]
            self._without_gradients[value.id] = _MadeWithoutGradients(before[0] if before else None, self._where())

    def _seen_with_gradients(self, value: Value) -> Value:
        """The value as autograd sees it now: with gradients on, a value made without them is detached.

        Autograd does not see a write without gradients: it goes on from what was there before.
        """
        if not self._without_gradients:
            return value
        record = self._without_gradients.get(value.id)
        if record is None or not self.gradients or not value.carries_signal:
            return value
        if value.id not in self._seen_as:
            seen = self._seen_as[value.id] = self._like(value)
            if record.before is None:
                self._insert(aten.detach.default, (value,), seen, record.where)
            else:
                self._insert(aten.alias.default, (record.before,), seen, record.where)
        return self._seen_as[value.id]

    def detaches(self, pending: PendingOperation) -> bool:
        """Whether the operation's result is detached from its arguments, and may be the same memory."""
        func = pending.operation.func
        if func is _DETACH or isinstance(func, type):
            return True
        if self.gradients or pending.written:
            return False
        return any(value.id not in self._without_gradients for value in pending.operation.inputs)

    def detached(self, pending: PendingOperation, result: Any) -> Any:
        """The operation's result, in which tensors over the memory of its arguments get storages of their own."""
        shared = {storage_of(tensor) for tensor in pending.tensors} & self.storages.keys()

        def with_own_storage(tensor: Tensor) -> Tensor:
            key = storage_of(tensor)
            if key not in shared:
                return tensor
            with torch._C.DisableTorchFunction(), Restored(_disable_current_modes()):
                copy = separated(tensor)
            self._detached.add(storage_of(copy), source=key)
            return copy

        return mapped(result, with_own_storage)

    def _update_detached(self, key: int) -> None:
        """After a storage was written: update the storages that share its memory through a detach."""
        for other in self._detached.over_memory_of(key):
            theirs, ours = self.storages.get(other), self.storages[key]
            if other == key or theirs is None or theirs.root is None or theirs.reference.expired():
                continue
            if self._detached.is_detached_from(key, other):  # autograd does not see the write there
                layout, source, func = *theirs.root, aten.alias.default
            elif self._detached.is_detached_from(other, key) and ours.root is not None:
                layout, source, func = *ours.root, aten.detach.default
            else:
                theirs.invalidate()
                continue
            newest = self._like(source)
            self._insert(func, (source,), newest)
            self._note_gradients(newest, [source])
            theirs.replace(layout, newest)

    # Numbers

    def keep_data(self, value: Value, tensor: Tensor) -> None:
        """Keep a value's numbers on the tape."""
        self._keep(value, tensor, storage_of(tensor))

    def _keep(self, value: Value, tensor: Tensor, storage: int) -> None:
        if tensor.is_inference():  # autograd refuses tensors made under torch.inference_mode
            with Restored(torch.inference_mode(False)):
                tensor = tensor.clone()
            storage = storage_of(tensor)
        self.tape.data[value.id] = tensor
        self._kept_in[storage].add(value.id)

    def before_write(self, tensor: Tensor) -> None:
        """Copy the kept numbers that share the tensor's memory, before it is written."""
        for storage in self._detached.over_memory_of(storage_of(tensor)):
            for value_id in self._kept_in.pop(storage, ()):
                self.tape.data[value_id] = self.tape.data[value_id].clone()
                self.tape.constants.pop(value_id, None)

    def invalidate(self, tensor: Tensor) -> None:
        """Forget what the tensor's memory holds, since something that is not recorded has written it."""
        self._newest = None
        for storage in self._detached.over_memory_of(storage_of(tensor)):
            if state := self.storages.get(storage):
                state.invalidate()

    def finished(self) -> Tape:
        """The tape of the run, which has ended."""
        self._newest = None
        for tensor, _ in self._written:  # it gets its old content back
            self.before_write(tensor)
        return self.tape
