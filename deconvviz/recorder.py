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
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.hooks import RemovableHandle

from deconvviz.errors import ModelError
from deconvviz.ledger import Begun, Ledger, storage_of, tensors_in
from deconvviz.tape import Kept, Layer, Operation, Tape, paths
from deconvviz.untouched import as_it_was, unwrapped

# These write running statistics or noise into an argument beside what they return.
_SCRATCH = (torch.ops.aten.native_batch_norm, torch.ops.aten._native_batch_norm_legit, torch.ops.aten.rrelu_with_noise)


class _Enough(BaseException):
    """Ends the forward pass once all layers asked for have run; no `except Exception` on its way stops it."""


def record(
    model: nn.Module,
    *args: Any,
    kwargs: Mapping[str, Any] | None = None,
    keep: Callable[[Operation], Kept] = lambda operation: Kept(),
    layers: Collection[str] | None = (),
    opaque: Collection[Any] = (),
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
        args, copied = recorder.ledger.take_inputs(args, kwargs or {})
        tape = recorder.ledger.tape
        if not any(value.carries_signal for value in tape.inputs):
            raise ModelError("the model was given no floating-point tensor, so there is nothing to project to")
        with recorder.hooks(), recorder.autograd_functions(), _FunctionNames(recorder), recorder:
            try:
                model(*args, **copied)
            except _Enough:
                tape.complete = False
        return recorder.ledger.finished()


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
        own = [*model.parameters(), *model.buffers()]
        self.ledger = Ledger(keep, lambda: self.calls[-1][1] if self.calls else "output", own, restore)
        self.wanted = None if layers is None else frozenset(layers)
        self.opaque_modules = tuple(item for item in opaque if isinstance(item, type) and issubclass(item, nn.Module))
        self.opaque_functions = frozenset(opaque) - frozenset(self.opaque_modules)
        self.suspended = False  # inside an opaque function or module
        self.opened: tuple[nn.Module, Begun] | None = None  # that module
        named = [(_plain_name(name), module) for name, module in model.named_modules(remove_duplicate=False)]
        # What torch.compile wraps is named, not the wrapper; of several names of a module, the first counts.
        self.names = {module: name for name, module in reversed(named) if not hasattr(module, "_orig_mod")}
        self.calls: list[tuple[nn.Module | None, str]] = []  # what is running: module, layer name
        self.used: dict[str, int] = defaultdict(int)
        self.modules_run = 0
        self.thread = get_ident()

    # What runs: ATen operations, torch functions, modules, autograd functions

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        written = _written(func, args, kwargs)
        followed = [] if func.overloadpacket in _SCRATCH else written
        begun = None if self.suspended else self.ledger.begin(func, args, kwargs, followed)
        for tensor in written:
            self.ledger.protect(tensor)
        result = func(*args, **kwargs)
        if begun is not None:
            operation = self.ledger.end(begun, result)
            if self.calls and isinstance(self.calls[-1][0], torch.jit.ScriptModule):
                operation.where = self._named_operation(operation, result)
        elif self.suspended:
            for tensor in written:
                self.ledger.spoil(tensor)
        return result

    def _named_operation(self, operation: Operation, result: Any) -> str:
        """Scripted code has neither hooks nor Python calls: its operations are layers themselves."""
        name = operation.label.rpartition(".")[2].strip("_")
        unique = self._unique(name)
        self.used[self._qualified(name)] += 1
        self._name_layers(unique, name, result)
        return unique

    def function(self, func: Any, args: Any, kwargs: Any) -> Any:
        if self.suspended:
            return func(*args, **kwargs)
        run = self._whole if func in self.opaque_functions else _call
        name = getattr(func, "__name__", "").strip("_")
        parent = self.calls[-1][0] if self.calls else None
        if parent is None or name in ("", "get") or _is_leaf(parent):
            return run(func, args, kwargs)
        unique = self._unique(name)
        self.calls.append((None, unique))
        try:
            result = run(func, args, kwargs)
        finally:
            self.calls.pop()
        if self._name_layers(unique, name, result):
            self.used[self._qualified(name)] += 1
        return result

    def _whole(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run a function as one operation, whatever happens inside."""
        begun = self.ledger.begin(func, args, kwargs, [])
        self.suspended = begun is not None
        try:
            result = func(*args, **kwargs)
        finally:
            self.suspended = False
        if begun is not None:
            self.ledger.end(begun, result)
        return result

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self.modules_run += 1
        if self.suspended:
            return
        name = self.names[module] or "output"
        count = self.used[name]
        self.used[name] += 1
        self.calls.append((module, f"{name}_{count}" if count else name))
        if isinstance(module, self.opaque_modules) and (begun := self.ledger.begin(module, args, kwargs, [])):
            for tensor in [*module.parameters(), *module.buffers()]:
                self.ledger.constant(tensor)
            self.opened = (module, begun)
            self.suspended = True

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        if self.suspended:
            if self.opened is None or self.opened[0] is not module:
                return
            self.suspended = False
            self.ledger.end(self.opened[1], result)
            self.opened = None
        self._name_layers(self.calls.pop()[1], type(module).__name__, result)

    @contextlib.contextmanager
    def hooks(self) -> Iterator[None]:
        handles: list[RemovableHandle] = []
        try:
            for module in self.names:
                if not isinstance(module, torch.jit.ScriptModule):
                    handles.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
                    # Always called, so that a module which raises into its caller's `except` is left, too.
                    handles.append(module.register_forward_hook(self._leave, with_kwargs=True, always_call=True))
            if len(handles) < 2 * len(self.names):  # scripted modules take no hooks of their own
                handles.append(register_module_forward_pre_hook(self._enter_script))
                handles.append(register_module_forward_hook(self._leave_script))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter_script(self, module: nn.Module, args: Any) -> None:
        if self._is_script(module):
            self._enter(module, args, {})

    def _leave_script(self, module: nn.Module, args: Any, result: Any) -> None:
        if self._is_script(module):
            self._leave(module, args, {}, result)

    def _is_script(self, module: nn.Module) -> bool:
        return isinstance(module, torch.jit.ScriptModule) and module in self.names and self.thread == get_ident()

    @contextlib.contextmanager
    def autograd_functions(self) -> Iterator[None]:
        """Inside, a `torch.autograd.Function` is one operation, since it may have a backward of its own.

        torch has no hook for them, so their `forward` is wrapped for the time of the run. One that is handed
        something to call, as checkpointing is, or that runs modules, is looked through.
        """

        def wrapped(kind: Any, original: Any) -> Any:
            def forward(*args: Any) -> Any:
                given = args[1:] if kind.setup_context is torch.autograd.Function.setup_context else args
                through = self.suspended or get_ident() != self.thread or any(map(callable, given))
                begun = None if through else self.ledger.begin(kind, given, {}, [])
                if begun is None:
                    return original(*args)
                self.ledger.keep_inputs(begun)  # now: it may work in place
                versions = {storage_of(tensor): tensor._version for tensor in begun.tensors}
                operations, modules_run = self.ledger.tape.operations, self.modules_run
                mark = len(operations)
                result = original(*args)
                if modules_run == self.modules_run:
                    del operations[mark:]
                    changed = [t for t in tensors_in(result) if versions.get(storage_of(t), t._version) != t._version]
                    self.ledger.end(begun._replace(written=changed), result)
                return result

            return staticmethod(forward)

        patched = []
        try:
            for kind in _subclasses(torch.autograd.Function):
                original = kind.__dict__.get("forward")
                if isinstance(original, staticmethod):
                    patched.append((kind, original))
                    kind.forward = wrapped(kind, original.__func__)
            yield
        finally:
            for kind, original in patched:
                kind.forward = original

    # Names

    def _qualified(self, name: str) -> str:
        """A functional call's name under the module that makes it."""
        parent = next((self.names[module] for module, _ in reversed(self.calls) if module is not None), "")
        return f"{parent}.{name}" if parent else name

    def _unique(self, name: str) -> str:
        qualified = self._qualified(name)
        count = self.used[qualified]
        return f"{qualified}_{count}" if count else qualified

    def _name_layers(self, name: str, kind: str, result: Any) -> bool:
        """List the tracked tensors in a call's result as layers; True where there was one."""
        tape, found = self.ledger.tape, False
        for path, tensor in paths(result):
            value = self.ledger.value_of(tensor)
            if value is not None:
                found = True
                tape.layers[name + path] = Layer(name + path, kind, value)
                if self.wanted is None or name + path in self.wanted:
                    self.ledger.keep_data(value, tensor)
        in_script = bool(self.calls) and isinstance(self.calls[-1][0], torch.jit.ScriptModule)  # no exception passes it
        if self.wanted and self.wanted <= tape.layers.keys() and not in_script:
            raise _Enough
        return found


def _plain_name(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def _call(func: Any, args: Any, kwargs: Any) -> Any:
    return func(*args, **kwargs)


def _is_leaf(module: nn.Module) -> bool:
    """Whether a module's own functional calls are its business, and no layers: those of torch.nn."""
    return type(module).__module__.startswith("torch.nn") and not isinstance(module, nn.Sequential)


def _subclasses(kind: Any) -> Iterator[Any]:
    for sub in kind.__subclasses__():
        yield sub
        yield from _subclasses(sub)


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
            found.extend(tensors_in(given))
    return found
