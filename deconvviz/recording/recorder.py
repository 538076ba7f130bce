"""Record one forward pass of a model as a tape of operations.

`record` runs a model once and returns a `Tape`: every operation that ran on data that depends on the input, in order,
with the values it read and returned. Functional calls, in-place operations, modules that are called twice and
data-dependent control flow are recorded as they run. The tape knows no rules. `keep` says which numbers the rules will
read on the way back, so that no others stay in memory.

What is observed, and how:

- a `TorchDispatchMode` sees each ATen operation, below autograd;
- module forward hooks name the layers as torchvision's feature extraction does: by the qualified module name, with the
  suffix ``_1`` for a second call of the same module;
- a `TorchFunctionMode` names functional calls under the module that makes them, unless that module comes from
  `torch.nn` itself.

A *value* is one version of one tensor's content. An in-place operation gives the tensor a new value. A view onto a
storage that was written through another view is read from the storage's newest content. Numbers that were kept before
a write stay as they were.

The model runs in eval mode under `no_grad`. Afterwards hooks, modes, parameters, buffers, gradients and random state
are as they were before, also if the model raises. The input is copied, so that a first layer that works in place does
not change the caller's tensor.

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

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from deconvviz.errors import ModelError, UnsupportedOperation
from deconvviz.io.garbage import only_young_searched
from deconvviz.io.restoring import Restored
from deconvviz.recording.aliasing import storage_of
from deconvviz.recording.eval_mode import EvalMode
from deconvviz.recording.interception import functions_applied, gradients_switched
from deconvviz.recording.isolation import as_it_was, unwrapped
from deconvviz.recording.observer import AllLayersSeen, Observer
from deconvviz.recording.random_state import RandomState, generators_in
from deconvviz.recording.recordable import PendingOperation, kind_of
from deconvviz.recording.tape import Kept, Layer, Operation, Tape, tensors_in, written_by
from deconvviz.recording.tape_builder import TapeBuilder


def record(
    model: nn.Module,
    *args: Any,
    kwargs: Mapping[str, Any] | None = None,
    keep: Callable[[Operation], Kept] = lambda operation: Kept(),
    layers: Collection[str] | None = (),
    opaque: Collection[Any] = (),
) -> Tape:
    """Run ``model(*args, **kwargs)`` once and return its tape.

    Args:
        model: The model.
        *args: Its arguments.
        kwargs: Its keyword arguments.
        keep: Called with each operation before it runs; returns which of its inputs and outputs must keep their
            numbers.
        layers: Names of the layers whose activations are kept; the run ends once all of them have run. None keeps
            those of every layer, an empty collection none; both run to the end.
        opaque: Python functions and module classes that are recorded as one operation each, instead of what runs
            inside them.

    Raises:
        ModelError: If the model is no `nn.Module` or gets no floating-point tensor.
        UnsupportedOperation: If a tensor on the way is sparse, quantised or nested.
        Exception: Whatever the model itself raises.
    """
    return run(functools.partial(Recorder, keep=keep, layers=layers, opaque=opaque), model, args, kwargs or {})


def run(make_recorder: Callable[[EvalMode], Recorder], model: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> Tape:
    """Run a model under a recorder, as `record` does.

    Args:
        make_recorder: Returns the recorder; called with the block in which the model runs.
        model: The model, which may be wrapped.
        args: Its arguments.
        kwargs: Its keyword arguments.
    """
    model = unwrapped(model)
    with as_it_was(model, observed=True) as running:
        running.enter_context(torch.inference_mode(False))
        running.enter_context(torch.no_grad())
        recorder = make_recorder(running)
        builder = recorder.builder
        args, copied_kwargs = builder.take_inputs(args, kwargs)
        running.callback(recorder.restore_generators)
        if not any(value.carries_signal for value in builder.tape.inputs):
            raise ModelError("the model was given no floating-point tensor, so there is nothing to project to")
        functions, gradients = functions_applied(recorder.apply_function), gradients_switched(recorder.switch_gradients)
        contexts = recorder.observing(), functions, gradients, _OperationMode(recorder)
        with Restored(only_young_searched(), *contexts):
            try:
                model(*args, **copied_kwargs)
            except AllLayersSeen:
                builder.tape.complete = False
        if recorder.module_in_other_thread is not None:
            raise UnsupportedOperation(
                f"the model runs {recorder.module_in_other_thread!r} in a thread of its own, where its operations "
                f"cannot be seen; let it run all its parts in the thread that calls it"
            )
        return builder.finished()


class _OperationMode(TorchDispatchMode):
    """Passes ATen operations to a recorder."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recorder = recorder

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.recorder.operation(func, args, kwargs or {})


class Recorder(Observer):
    """Records one run of a model.

    Attributes:
        builder: Builds the tape.
        module_in_other_thread: Name of a module that took part in this run from another thread, or None.
    """

    def __init__(
        self,
        running: EvalMode,
        *,
        layers: Collection[str] | None,
        opaque: Collection[Any],
        keep: Callable[[Operation], Kept] = lambda operation: Kept(),
    ) -> None:
        """Prepare to record.

        Args:
            running: The block in which the model runs.
            layers: As for `record`.
            opaque: As for `record`.
            keep: As for `record`.
        """
        super().__init__(running.model, layers, running.parts.names)
        self.builder = TapeBuilder(keep, lambda: self.current_layer, running.parts.tensors, running.writes.written)
        self._writes = running.writes
        self.module_in_other_thread: str | None = None
        self._keep_all = layers is None
        self._opaque_modules = tuple(item for item in opaque if isinstance(item, type) and issubclass(item, nn.Module))
        self._opaque_functions = frozenset(opaque) - frozenset(self._opaque_modules)
        self._suspended = False  # inside an opaque function or module
        self._in_function = False  # inside the forward of an autograd function
        self._enclosing: PendingOperation | None = None  # that function or module, or an autograd function
        self._opaque_call: tuple[nn.Module, PendingOperation] | None = None  # an opaque module that is running
        self._generators: dict[torch.Generator, Tensor] = {}  # those given as arguments, with their state at the start
        self._enters_checkpoint = False  # the next `no_grad` is that of a checkpoint

    # Operations

    def operation(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run and record an ATen operation."""
        kind, written = kind_of(func), written_by(func, args, kwargs)
        pending = None if self._suspended else self.builder.begin(func, args, kwargs, written[: kind.own_results])
        for tensor in written:
            self.builder.before_write(tensor)
        if kind.draws:
            result = self._result_with_random_state(pending, func, args, kwargs, written)
        else:
            result = self.result(func, args, kwargs, written)
        if pending is not None:
            if self.builder.detaches(pending):
                result = self.builder.detached(pending, result)
            operation = self.builder.end(pending, result)
            if self.in_script():  # its operations are the layers
                name = self.qualified(operation.label.rpartition(".")[2].strip("_"))
                operation.where = self.new_call(name)
                self.name_layers(operation.where, name.rpartition(".")[2], result)
        elif self._suspended:
            for tensor in written:
                self.builder.invalidate(tensor)
        return result

    def result(self, func: Any, args: Any, kwargs: Any, written: list[Tensor]) -> Any:
        """What an ATen operation returns."""
        if written:
            self._writes.note(written)
        return func(*args, **kwargs)

    def opaque_result(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What a function returns that is recorded as one operation."""
        return func(*args, **kwargs)

    def _result_with_random_state(
        self, pending: PendingOperation | None, func: Any, args: Any, kwargs: Any, written: list[Tensor]
    ) -> Any:
        """What an operation returns that may draw random numbers.

        If it does, it and the operation that encloses it keep the state from which the numbers were drawn.
        """
        before = RandomState(generators_in(args, kwargs))
        for generator, state in before.generators:
            self._generators.setdefault(generator, state)
        result = self.result(func, args, kwargs, written)
        if before.passed():
            for drawing in (pending, self._enclosing):
                if drawing is not None and drawing.operation.drawn is None:
                    drawing.operation.drawn = before
        return result

    def restore_generators(self) -> None:
        """Give the generators among the arguments the state they had before the run."""
        for generator, state in self._generators.items():
            generator.set_state(state)

    # Functions and modules

    def call(self, func: Any, args: Any, kwargs: Any) -> Any:
        if self._suspended:
            return func(*args, **kwargs)
        if isinstance(func, torch._ops.HigherOrderOperator):
            return _run_control_flow(func, self.current_layer, args, kwargs)
        pending = self.builder.begin(func, args, kwargs, []) if func in self._opaque_functions else None
        if pending is None:
            return func(*args, **kwargs)
        enclosing = self._enclosing
        self._suspended, self._enclosing = True, pending
        try:
            result = self.opaque_result(func, args, kwargs)
        finally:
            self._suspended, self._enclosing = False, enclosing
        self.builder.end(pending, result)
        return result

    def module_entered(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        opaque = isinstance(module, self._opaque_modules) and not self._suspended
        if opaque and (pending := self.builder.begin(module, args, kwargs, [])):
            for tensor in [*module.parameters(), *module.buffers()]:
                self.builder.constant(tensor)
            self._opaque_call, self._suspended, self._enclosing = (module, pending), True, pending

    def module_left(self, module: nn.Module, result: Any) -> None:
        if self._opaque_call is not None and self._opaque_call[0] is module:
            self._suspended, self._enclosing = False, None
            self.builder.end(self._opaque_call[1], result)
            self._opaque_call = None

    def entered_in_other_thread(self, module: nn.Module, arguments: Any) -> None:
        # If it does not see this run's tensors, somebody else is using the model.
        if any(storage_of(tensor) in self.builder.storages for tensor in tensors_in(arguments)):
            self.module_in_other_thread = self.names.get(module) or type(module).__name__

    def layer_returned(self, name: str, kind: str, tensor: Tensor) -> bool:
        value = None if self._suspended else self.builder.value_of(tensor)
        if value is not None:
            self.builder.tape.layers[name] = Layer(name, kind, value)
            if self._keep_all or name in self.wanted:
                self.builder.keep_data(value, tensor)
        return value is not None

    # Autograd functions

    def apply_function(self, function: Any, forward: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Record an autograd function as one operation, since it may have a backward of its own.

        Args:
            function: The subclass of `torch.autograd.Function`.
            forward: Its `forward`.
            args: The arguments of `forward`, including the context if it takes one.
        """
        takes_context = function.setup_context is torch.autograd.Function.setup_context
        arguments = args[1:] if takes_context else args
        pending = None if self._suspended else self.builder.begin(function, arguments, {}, [])
        if pending is None:
            return self._constant_to_autograd(forward, args)
        self.builder.keep_inputs(pending, self.builder.keep(pending.operation))  # now, since it may work in place
        versions = {storage_of(tensor): tensor._version for tensor in pending.tensors}
        checkpoint, module_calls = self.builder.checkpoint(pending), self.module_calls
        recomputes = _recomputes(function)
        result = self._inside(pending, recomputes, forward, args)
        ran_modules = module_calls != self.module_calls
        if recomputes and (ran_modules or any(map(callable, arguments))):
            return result  # the operations inside stay on the tape
        if not ran_modules:  # outputs of modules are layers, too
            self.builder.forget(checkpoint)
        changed = [t for t in tensors_in(result) if versions.get(storage_of(t), t._version) != t._version]
        if not changed:
            result = self.builder.detached(pending, result)
        self.builder.end(pending._replace(written=changed), result)
        return result

    def _constant_to_autograd(self, forward: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Run the forward of an autograd function whose arguments do not depend on the input.

        What it computes from other tensors is constant to autograd.
        """
        before = self.switch_gradients(False)
        try:
            return forward(*args)
        finally:
            self.switch_gradients(before)

    def _inside(
        self, pending: PendingOperation, recomputes: bool, forward: Callable[..., Any], args: tuple[Any, ...]
    ) -> Any:
        """Run the forward of an autograd function as the operation that encloses what runs inside."""
        before = self._in_function, self._enclosing
        self._in_function, self._enclosing, self._enters_checkpoint = True, pending, recomputes
        try:
            return forward(*args)
        finally:
            self._in_function, self._enclosing = before
            self._enters_checkpoint = False

    def switch_gradients(self, on: bool) -> bool:
        """Note that the model switches gradients on or off; returns whether they were on before."""
        before = self.builder.gradients
        if self._enters_checkpoint and not on:  # its backward will run the same again, with gradients
            self._enters_checkpoint = False
        else:
            self.builder.gradients = on
        return before


def _recomputes(function: Any) -> bool:
    """Whether an autograd function's backward runs its forward's operations again, as checkpointing does.

    Its gradient is then that of these operations, which are recorded in its place.
    """
    backward = inspect.unwrap(function.backward if function.vjp is torch.autograd.Function.vjp else function.vjp)
    code = getattr(getattr(backward, "__func__", backward), "__code__", None)
    return code is not None and not {"enable_grad", "set_grad_enabled"}.isdisjoint(code.co_names)


def _run_control_flow(func: Any, where: str, args: Any, kwargs: Any) -> Any:
    """Run `torch.cond` or `torch.while_loop` by calling the functions they are given, so that these are observed.

    Raises:
        UnsupportedOperation: For a higher-order operator that cannot run under the recorder.
    """
    if func is torch.ops.higher_order.cond:
        if_true, if_false, operands = args[1:4]
        return (if_true if args[0] else if_false)(*operands)
    if func is torch.ops.higher_order.while_loop:
        condition, body, carried, constants = args[:4]
        while condition(*carried, *constants):
            carried = tuple(body(*carried, *constants))
        return carried
    try:
        return func(*args, **kwargs)
    except NotImplementedError as error:
        raise UnsupportedOperation(
            f"{func.name()} in {where} calls its functions where they cannot be recorded; call them in a plain loop"
        ) from error
