"""Record one forward pass of a model as a tape of operations.

`record` runs a model once and returns a `Tape`: every operation that really ran on data that depends on the
input, in order, with the values it read and made. What counts is what ran: functional calls, in-place
operations, a module called twice and data-dependent control flow are all ordinary. The tape knows no rule;
what a rule will want to read on the way back is asked for through `keep` while recording, so that nothing
else has to stay in memory.

How it sees:

- a `TorchDispatchMode` sees each ATen operation below autograd;
- module forward hooks give the names, as in torchvision's feature extraction: the qualified module name, and
  for a second call of the same module the suffix ``_1``;
- a `TorchFunctionMode` gives the names of functional calls, listed under the module that makes them, unless
  that module comes from `torch.nn` itself.

A *value* is one version of one tensor's content. In-place operations make a new value of the same tensor;
views onto a storage that was written through another view are read from the storage's newest content, so
aliasing needs no special case. What was captured before a write keeps its numbers.

The model runs in eval mode under `no_grad`, and is left as it was, also when it raises: hooks, modes,
parameters, buffers, gradients and the random state. The input is copied, so that a first layer that works in
place does not change the caller's tensor.

>>> import torch
>>> tape = record(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU()), torch.zeros(1, 1, 5, 5))
>>> for operation in tape.operations:
...     print(operation.where, operation.label, operation.made.shape)
0 aten.convolution (1, 2, 3, 3)
1 aten.relu (1, 2, 3, 3)
>>> list(tape.layers)
['0', '1', 'output']
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from deconvviz.errors import ModelError, UnsupportedOperation
from deconvviz.storage import Geometry, StorageState, overwritten, reread
from deconvviz.tape import Kept, Layer, Operation, Tape, Value, mapped, name_of
from deconvviz.untouched import as_it_was, unwrapped

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


# These write running statistics or noise into an argument beside what they return.
_SCRATCH = (torch.ops.aten.native_batch_norm, torch.ops.aten._native_batch_norm_legit, torch.ops.aten.rrelu_with_noise)


class _Enough(BaseException):
    """Ends the forward pass once all layers asked for have run; no `except Exception` on its way stops it."""


def record(
    model: nn.Module,
    *args: Any,
    keep: Callable[[Operation], Kept] = lambda operation: Kept(),
    layers: Collection[str] | None = (),
    opaque: Collection[Any] = (),
    **kwargs: Any,
) -> Tape:
    """Run ``model(*args, **kwargs)`` once and return its tape.

    keep: asked before each operation runs which of its inputs and outputs must keep their numbers.
    layers: names of the layers whose activations are kept; the run ends once all have been seen. None keeps
        every layer, an empty collection none; both run to the end.
    opaque: Python functions and module classes to record as one operation each instead of what runs inside.

    Raises ModelError where the model is no `nn.Module` or gets no floating-point tensor, UnsupportedOperation
    where a tensor on the way is sparse, quantised or nested, and whatever the model itself raises.
    """
    model = unwrapped(model)
    with as_it_was(model) as restore, torch.inference_mode(False), torch.no_grad():
        recorder = _Recorder(model, keep, layers, opaque, restore)
        args, kwargs = recorder.take_inputs(args, kwargs)
        if not any(value.carries_signal for value in recorder.tape.inputs):
            raise ModelError("the model was given no floating-point tensor, so there is nothing to project to")
        with recorder.hooks(), _FunctionNames(recorder), recorder:
            try:
                model(*args, **kwargs)
            except _Enough:
                recorder.tape.complete = False
        return recorder.finished()


class _Begun(NamedTuple):
    """An operation that is about to run, with the tensors it is given and their values."""

    operation: Operation
    tensors: list[Tensor]
    values: list[Value]
    written: list[Tensor]


class _FunctionNames(TorchFunctionMode):
    """Hands Python-level torch functions to the recorder: for their names, and for opaque ones."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.recorder.function(func, args, kwargs or {})


class _Recorder(TorchDispatchMode):
    def __init__(
        self,
        model: nn.Module,
        keep: Callable[[Operation], Kept],
        layers: Collection[str] | None,
        opaque: Collection[Any],
        restore: list[tuple[Tensor, Tensor]],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tape = Tape()
        self.keep = keep
        self.wanted = None if layers is None else frozenset(layers)
        self.opaque_modules = tuple(item for item in opaque if isinstance(item, type))
        self.opaque_functions = frozenset(opaque) - frozenset(self.opaque_modules)
        self.suspended = False  # inside an opaque function or module
        self.ids = 0
        self.storages: dict[int, StorageState[Value]] = {}  # those that hold tracked values
        self.kept_in: dict[int, set[int]] = defaultdict(set)  # storage: ids in tape.data that share it
        self.own = {_storage(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
        self.restore = restore
        named = list(model.named_modules(remove_duplicate=False))
        self.names = {module: name for name, module in reversed(named)}
        self.calls: list[tuple[nn.Module | None, str]] = []  # what is running: module, layer name
        self.used: dict[str, int] = defaultdict(int)

    # What runs: ATen operations, torch functions, modules

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        written = _written(func, args, kwargs)
        followed = [] if func.overloadpacket in _SCRATCH else written
        begun = None if self.suspended else self.begin(func, args, kwargs, followed)
        for tensor in written:
            self.protect(tensor)
        result = func(*args, **kwargs)
        if begun is not None:
            self.end(begun, result)
        elif self.suspended:
            for tensor in written:
                if state := self.storages.get(_storage(tensor)):
                    state.spoil()
        return result

    def function(self, func: Any, args: Any, kwargs: Any) -> Any:
        if self.suspended:
            return func(*args, **kwargs)
        run = self.whole if func in self.opaque_functions else _call
        name = getattr(func, "__name__", "").strip("_")
        parent = self.calls[-1][0] if self.calls else None
        if parent is None or name in ("", "get") or _is_leaf(parent):
            return run(func, args, kwargs)
        return self.named(name, lambda: run(func, args, kwargs))

    def named(self, name: str, run: Callable[[], Any]) -> Any:
        """Run a functional call as a layer of the module that makes it, if what it returns is tracked."""
        parent = next((self.names[module] for module, _ in reversed(self.calls) if module is not None), "")
        qualified = f"{parent}.{name}" if parent else name
        count = self.used[qualified]
        unique = f"{qualified}_{count}" if count else qualified
        self.calls.append((None, unique))
        try:
            result = run()
        finally:
            self.calls.pop()
        if self.name_layers(unique, name, result):
            self.used[qualified] += 1
        return result

    def whole(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run a function as one operation, whatever happens inside."""
        begun = self.begin(func, args, kwargs, [])
        self.suspended = begun is not None
        try:
            result = func(*args, **kwargs)
        finally:
            self.suspended = False
        if begun is not None:
            self.end(begun, result)
        return result

    @contextlib.contextmanager
    def hooks(self) -> Iterator[None]:
        opened: list[tuple[nn.Module, _Begun]] = []

        def before(module: nn.Module, args: Any, kwargs: Any) -> None:
            if self.suspended:
                return
            name = self.names[module] or "output"
            count = self.used[name]
            self.used[name] += 1
            self.calls.append((module, f"{name}_{count}" if count else name))
            if isinstance(module, self.opaque_modules) and (begun := self.begin(module, args, kwargs, [])):
                for parameter in [*module.parameters(), *module.buffers()]:
                    self.constant(parameter)
                opened.append((module, begun))
                self.suspended = True

        def after(module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
            if self.suspended:
                if opened[-1][0] is not module:
                    return
                self.suspended = False
                self.end(opened.pop()[1], result)
            self.name_layers(self.calls.pop()[1], type(module).__name__, result)

        handles = []
        try:
            for module in self.names:
                handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
                # Always called, so that a module which raises into its caller's `except` is left, too.
                handles.append(module.register_forward_hook(after, with_kwargs=True, always_call=True))
            yield
        finally:
            for handle in handles:
                handle.remove()

    # Operations and layers

    def begin(self, func: Any, args: Any, kwargs: Any, written: list[Tensor]) -> _Begun | None:
        """The operation about to run, or None where it touches nothing that depends on the input."""
        tensors = list(_tensors((args, kwargs)))
        if func in _UNSEEN or not any(_storage(tensor) in self.storages for tensor in tensors):
            return None
        values = [self.value_of(tensor) or self.constant(tensor) for tensor in tensors]
        replacements = iter(values)
        new_args = mapped(args, lambda tensor: next(replacements))
        new_kwargs = mapped(kwargs, lambda tensor: next(replacements))
        if written or torch.Tag.inplace_view in getattr(func, "tags", ()):
            func = _functional(func, self.where)
        new_kwargs.pop("out", None)
        inputs = tuple(value for value in values if value.tracked)
        begun = _Begun(Operation(func, new_args, new_kwargs, inputs, (), self.where), tensors, values, written)
        if written:  # what the operation is about to overwrite
            self.keep_inputs(begun)
        return begun

    def end(self, begun: _Begun, result: Any) -> None:
        """Put the operation on the tape, with a value for each tensor it returned."""
        operation = begun.operation
        made = list(result) if isinstance(result, (list, tuple)) else [result]
        unseen = [tensor for tensor in begun.written if not any(tensor is item for item in made)]
        if unseen:
            raise UnsupportedOperation(
                f"{operation.label} in {operation.where!r} writes into its arguments without returning them, which "
                f"cannot be followed; use an operation that returns its result"
            )
        operation.outputs = tuple(
            self.new_value(item, tracked=True) if isinstance(item, Tensor) else None for item in made
        )
        if not begun.written:
            self.keep_inputs(begun)
        self.tape.operations.append(operation)
        for item, value in zip(made, operation.outputs, strict=True):
            if value is not None:
                self.define(item, value, any(item is tensor for tensor in begun.written))
        for index in self.keep(operation).outputs:
            if (value := operation.outputs[index]) is not None:
                self.keep_data(value, made[index])

    def keep_inputs(self, begun: _Begun) -> None:
        wanted = {value.id for value in self.keep(begun.operation).inputs}
        for tensor, value in zip(begun.tensors, begun.values, strict=True):
            if value.id in wanted:
                self.keep_data(value, tensor)

    def name_layers(self, name: str, kind: str, result: Any) -> bool:
        """List the tracked tensors in a call's result as layers; True where there was one."""
        found = False
        for path, tensor in _paths(result, ""):
            value = self.value_of(tensor)
            if value is not None:
                found = True
                self.tape.layers[name + path] = Layer(name + path, kind, value)
                if self.wanted is None or name + path in self.wanted:
                    self.keep_data(value, tensor)
        if self.wanted and self.wanted <= self.tape.layers.keys():
            raise _Enough
        return found

    def take_inputs(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Copies of the arguments, whose tensors are the inputs of the tape."""

        def taken(tensor: Tensor) -> Tensor:
            copy = tensor.detach().as_subclass(Tensor).clone()
            value = self.new_value(copy, tracked=True)
            self.define(copy, value, written=False)
            self.tape.inputs.append(value)
            return copy

        return mapped(args, taken), mapped(kwargs, taken)

    def finished(self) -> Tape:
        for tensor, _ in self.restore:  # what shares a buffer that gets its old content back
            self.protect(tensor)
        return self.tape

    # Values and their numbers

    @property
    def where(self) -> str:
        return self.calls[-1][1] if self.calls else "output"

    def new_value(self, tensor: Tensor, tracked: bool) -> Value:
        self.ids += 1
        return Value(self.ids, tuple(tensor.shape), tensor.dtype, tensor.device, tracked)

    def constant(self, tensor: Tensor) -> Value:
        value = self.new_value(tensor, tracked=False)
        version = 0 if tensor.is_inference() else tensor._version
        self.tape.constants[value.id] = (tensor, version, self.where)
        self.keep_data(value, tensor)
        return value

    def value_of(self, tensor: Tensor) -> Value | None:
        """The value that `tensor` holds now; None where it does not depend on the input."""
        state = self.storages.get(_storage(tensor))
        if state is None:
            return None
        geometry = Geometry.of(tensor)
        if (value := state.current(geometry)) is not None:
            return value
        if state.root is None or state.root[0].dtype != geometry.dtype:
            raise UnsupportedOperation(
                f"in {self.where!r} a tensor is read that shares memory with one written in place in a way that "
                f"cannot be followed; make that operation out of place"
            )
        value = self.new_value(tensor, tracked=True)
        self.insert(reread, (state.root[1], state.root[0], geometry), value)
        state.define(geometry, value)
        return value

    def define(self, tensor: Tensor, value: Value, written: bool) -> None:
        """From now on `tensor` holds `value`."""
        key, geometry = _storage(tensor), Geometry.of(tensor)
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
            assert state.root is not None
            root_geometry, root = state.root
            newest = Value(self.ids + 1, root.shape, root.dtype, root.device, tracked=True)
            self.ids += 1
            self.insert(overwritten, (root if root.tracked else None, value, root_geometry, geometry), newest)
            state.root = (root_geometry, newest)
            state.define(root_geometry, newest)

    def insert(self, func: Any, args: tuple[Any, ...], made: Value) -> None:
        """An operation that did not run as such: how one value in a shared storage follows from another."""
        inputs = tuple(item for item in args if isinstance(item, Value))
        self.tape.operations.append(Operation(func, args, {}, inputs, (made,), self.where))

    def keep_data(self, value: Value, tensor: Tensor) -> None:
        self.tape.data[value.id] = tensor
        self.kept_in[_storage(tensor)].add(value.id)

    def protect(self, tensor: Tensor) -> None:
        """Before `tensor` is written: what shares its storage and was kept gets a copy of its own."""
        key = _storage(tensor)
        for identity in self.kept_in.pop(key, ()):
            self.tape.data[identity] = self.tape.data[identity].clone()
            self.tape.constants.pop(identity, None)
        if key in self.own:
            whole = self.own.pop(key)
            self.restore.append((whole, whole.clone()))


def _storage(tensor: Tensor) -> int:
    """The address of a tensor's storage; 0 for tensors without one (sparse, nested)."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):
        return 0


def _call(func: Any, args: Any, kwargs: Any) -> Any:
    return func(*args, **kwargs)


def _is_leaf(module: nn.Module) -> bool:
    """Whether a module's own functional calls are its business, and no layers: those of torch.nn."""
    return type(module).__module__.startswith("torch.nn") and not isinstance(module, nn.Sequential)


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The arguments whose content the operation changes, by its schema."""
    if func is torch.ops.aten.native_batch_norm.default:  # whose schema does not say it
        return [tensor for tensor in args[3:5] if args[5] and tensor is not None]
    if not func._schema.is_mutable or torch.Tag.inplace_view in func.tags:
        return []
    found: list[Tensor] = []
    for index, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[index] if index < len(args) else kwargs.get(argument.name)
            found.extend(_tensors(given))
    return found


def _functional(func: Any, where: str) -> Any:
    """The operation without its side effect: `relu` for `relu_`, the plain overload for one with `out=`."""
    name = func.overloadpacket._qualified_op_name.split("::")[1]
    plain = getattr(getattr(torch.ops, func.namespace), name.removesuffix("_"), func.overloadpacket)
    expected = [argument.name for argument in func._schema.arguments if not argument.is_out]
    for overload in plain.overloads():
        candidate = getattr(plain, overload)
        if not candidate._schema.is_mutable and [a.name for a in candidate._schema.arguments] == expected:
            return candidate
    raise UnsupportedOperation(
        f"{name_of(func)} in {where!r} writes into its arguments and has no form that does not; "
        f"use an operation that returns its result"
    )


def _tensors(item: Any) -> Iterator[Tensor]:
    """The tensors in `item`, in the order of `mapped`."""
    return (tensor for _, tensor in _paths(item, ""))


def _paths(item: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors in a result with where they are, as ``[0][name]``; nothing for a lone tensor."""
    if isinstance(item, Tensor):
        yield path, item
    elif isinstance(item, Mapping):
        for key, part in item.items():
            yield from _paths(part, f"{path}[{key}]")
    elif isinstance(item, (list, tuple)):
        for index, part in enumerate(item):
            yield from _paths(part, f"{path}[{index}]")
