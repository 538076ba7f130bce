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

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from deconvviz.errors import ModelError, UnsupportedOperation
from deconvviz.recording.aliasing import storage_of
from deconvviz.recording.interception import functions_applied, gradients_switched
from deconvviz.recording.isolation import as_it_was, unwrapped
from deconvviz.recording.observer import Enough, Watcher
from deconvviz.recording.random_state import RandomState, generators_in, may_draw
from deconvviz.recording.restoring import Restored
from deconvviz.recording.tape import Kept, Layer, Operation, Tape, tensors_in, written_by
from deconvviz.recording.tape_builder import Begun, Ledger

# These write running statistics or noise into an argument beside what they return or change.
_SCRATCH = {
    torch.ops.aten.native_batch_norm: 0,
    torch.ops.aten._native_batch_norm_legit: 0,
    torch.ops.aten.rrelu_with_noise: 0,
    torch.ops.aten.rrelu_with_noise_: 1,
}


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

    return run(functools.partial(Recorder, keep=keep), model, args, kwargs or {}, layers, opaque)


def run(
    recorder_of: Callable[..., Recorder],
    model: nn.Module,
    args: Any,
    kwargs: Mapping[str, Any],
    layers: Collection[str] | None,
    opaque: Collection[Any],
) -> Tape:
    """As `record`, by a recorder that is made of the model, the layers, what is opaque, and `EvalMode.written`."""
    model = unwrapped(model)
    with as_it_was(model) as running:
        running.enter_context(torch.inference_mode(False))
        running.enter_context(torch.no_grad())
        recorder = recorder_of(model, layers, opaque, running.written)
        args, copied = recorder.ledger.take_inputs(args, kwargs)
        tape = recorder.ledger.tape
        running.callback(recorder.put_generators_back)
        if not any(value.carries_signal for value in tape.inputs):
            raise ModelError("the model was given no floating-point tensor, so there is nothing to project to")
        applied, switched = functions_applied(recorder.applied), gradients_switched(recorder.switched)
        with Restored(recorder.watching(), applied, switched, _Operations(recorder)):
            try:
                model(*args, **copied)
            except Enough:
                tape.complete = False
        if recorder.astray is not None:
            raise UnsupportedOperation(
                f"the model runs {recorder.astray!r} in a thread of its own, where its operations cannot be seen; "
                f"let it run all its parts in the thread that calls it"
            )
        return recorder.ledger.finished()


class _Operations(TorchDispatchMode):
    """Hands ATen operations to a recorder."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recorder = recorder

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.recorder.operation(func, args, kwargs or {})


class Recorder(Watcher):
    """Writes one run of a model onto the tape of its ledger; arguments as for `record`.

    written: receives parameters and buffers that the run writes, with their old content.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Collection[str] | None,
        opaque: Collection[Any],
        written: list[tuple[Tensor, Tensor]],
        keep: Callable[[Operation], Kept] = lambda operation: Kept(),
    ) -> None:
        super().__init__(model, layers)
        self.keep_all = layers is None
        self.ledger = Ledger(keep, lambda: self.where, [*model.parameters(), *model.buffers()], written)
        self.opaque_modules = tuple(item for item in opaque if isinstance(item, type) and issubclass(item, nn.Module))
        self.opaque_functions = frozenset(opaque) - frozenset(self.opaque_modules)
        self.suspended = False  # inside an opaque function or module
        self.in_function = False  # inside the forward of an autograd function
        self.within: Begun | None = None  # that function or module, or an autograd function
        self.generators: dict[torch.Generator, Tensor] = {}  # those that were given, as they were before the run
        self.opened: tuple[nn.Module, Begun] | None = None  # that module
        self.recomputed = False  # the next `no_grad` is that of a checkpoint
        self.astray: str | None = None  # a module that took part in this run from another thread

    def operation(self, func: Any, args: Any, kwargs: Any) -> Any:
        written = written_by(func, args, kwargs)
        followed = written[: _SCRATCH.get(func.overloadpacket)]
        begun = None if self.suspended else self.ledger.begin(func, args, kwargs, followed)
        for tensor in written:
            self.ledger.protect(tensor)
        if may_draw(func):
            result = self.drawn_result(begun, func, args, kwargs, written)
        else:
            result = self.result(func, args, kwargs, written)
        if begun is not None and self.ledger.detaches(begun):
            result = self.ledger.apart_from(begun, result)
        if begun is not None:
            operation = self.ledger.end(begun, result)
            if self.in_script():  # where its operations are the layers
                name = self.qualified(operation.label.rpartition(".")[2].strip("_"))
                operation.where = self.numbered(name)
                self.used[name] += 1
                self.name_layers(operation.where, name.rpartition(".")[2], result)
        elif self.suspended:
            for tensor in written:
                self.ledger.spoil(tensor)
        return result

    def result(self, func: Any, args: Any, kwargs: Any, written: list[Tensor]) -> Any:
        """What an ATen operation returns."""
        return func(*args, **kwargs)

    def opaque_result(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What a function returns that is recorded as one operation."""
        return func(*args, **kwargs)

    def drawn_result(self, begun: Begun | None, func: Any, args: Any, kwargs: Any, written: list[Tensor]) -> Any:
        """The same of one that may draw random numbers: it, and what it runs in, keep the state they come from."""
        given = generators_in(args, kwargs)
        before = RandomState(given)
        for generator, state in before.given:
            self.generators.setdefault(generator, state)
        result = self.result(func, args, kwargs, written)
        if before.passed():
            for one in (begun, self.within):
                if one is not None and one.operation.drawn is None:
                    one.operation.drawn = before
        return result

    def put_generators_back(self) -> None:
        for generator, state in self.generators.items():
            generator.set_state(state)

    def function(self, func: Any, args: Any, kwargs: Any) -> Any:
        return func(*args, **kwargs) if self.suspended else super().function(func, args, kwargs)

    def called(self, func: Any, args: Any, kwargs: Any) -> Any:
        if isinstance(func, torch._ops.HigherOrderOperator):
            return _in_turn(func, self.where, args, kwargs)
        begun = self.ledger.begin(func, args, kwargs, []) if func in self.opaque_functions else None
        self.suspended, before = begun is not None, self.within
        self.within = begun or before
        try:
            result = func(*args, **kwargs) if begun is None else self.opaque_result(func, args, kwargs)
        finally:
            self.suspended, self.within = False, before
        if begun is not None:
            self.ledger.end(begun, result)
        return result

    def entered(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        opaque = isinstance(module, self.opaque_modules) and not self.suspended
        if opaque and (begun := self.ledger.begin(module, args, kwargs, [])):
            for tensor in [*module.parameters(), *module.buffers()]:
                self.ledger.constant(tensor)
            self.opened, self.suspended, self.within = (module, begun), True, begun

    def left(self, module: nn.Module, result: Any) -> None:
        if self.opened is not None and self.opened[0] is module:
            self.suspended, self.within = False, None
            self.ledger.end(self.opened[1], result)
            self.opened = None

    def elsewhere(self, module: nn.Module, given: Any) -> None:
        # Where it does not see this run's tensors, somebody else is using the model.
        if any(storage_of(tensor) in self.ledger.storages for tensor in tensors_in(given)):
            self.astray = self.names.get(module) or type(module).__name__

    def layer(self, name: str, kind: str, tensor: Tensor) -> bool:
        value = None if self.suspended else self.ledger.value_of(tensor)
        if value is not None:
            self.ledger.tape.layers[name] = Layer(name, kind, value)
            if self.keep_all or name in self.wanted:
                self.ledger.keep_data(value, tensor)
        return value is not None

    def applied(self, kind: Any, forward: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """An autograd function is one operation, since it may have a backward of its own."""
        given = args[1:] if kind.setup_context is torch.autograd.Function.setup_context else args
        begun = None if self.suspended else self.ledger.begin(kind, given, {}, [])
        recomputes = _recomputes(kind)
        if begun is None:  # what it makes of other tensors than its arguments is constant to autograd
            wanted = self.switched(False)
            try:
                return forward(*args)
            finally:
                self.switched(wanted)
        self.ledger.keep_inputs(begun)  # now: it may work in place
        versions = {storage_of(tensor): tensor._version for tensor in begun.tensors}
        mark, modules_run = len(self.ledger.tape.operations), self.modules_run
        known = self.ledger.remembered(begun)
        before = self.in_function, self.within
        self.in_function, self.within, self.recomputed = True, begun, recomputes
        try:
            result = forward(*args)
        finally:
            self.in_function, self.within = before
            self.recomputed = False
        modules = modules_run != self.modules_run
        if recomputes and (modules or any(map(callable, given))):
            return result
        if not modules:  # whose outputs are layers, too
            self.ledger.forget(mark, known)
        changed = [t for t in tensors_in(result) if versions.get(storage_of(t), t._version) != t._version]
        if not changed:
            result = self.ledger.apart_from(begun, result)
        self.ledger.end(begun._replace(written=changed), result)
        return result

    def switched(self, gradients: bool) -> bool:
        """The model wants gradients from here on, or none; whether it did before."""
        before = self.ledger.gradients
        if self.recomputed and not gradients:  # of a forward whose backward computes it again, with gradients
            self.recomputed = False
        else:
            self.ledger.gradients = gradients
        return before


def _recomputes(kind: Any) -> bool:
    """Whether an autograd function's backward runs again what its forward ran, as that of checkpointing does.

    It then says what the operations inside say, and they are recorded in its place.
    """
    backward = inspect.unwrap(kind.backward if kind.vjp is torch.autograd.Function.vjp else kind.vjp)
    code = getattr(getattr(backward, "__func__", backward), "__code__", None)
    return code is not None and not {"enable_grad", "set_grad_enabled"}.isdisjoint(code.co_names)


def _in_turn(func: Any, where: str, args: Any, kwargs: Any) -> Any:
    """What `torch.cond` and the like return. What these two run is called from here, so that it is seen."""
    if func is torch.ops.higher_order.cond:
        chosen, otherwise, operands = args[1:4]
        return (chosen if args[0] else otherwise)(*operands)
    if func is torch.ops.higher_order.while_loop:
        goes_on, step, carried, others = args[:4]
        while goes_on(*carried, *others):
            carried = tuple(step(*carried, *others))
        return carried
    try:
        return func(*args, **kwargs)
    except NotImplementedError as error:
        raise UnsupportedOperation(
            f"{func.name()} in {where} runs the functions that it is given where they cannot be seen; "
            f"call them in a plain loop"
        ) from error
