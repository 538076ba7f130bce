"""Observing which modules and functions a model calls, and naming what they return.

Modules are observed by forward hooks, torch functions by a `TorchFunctionMode`. Names are those of torchvision's
feature extraction: the qualified module name, with the suffix ``_1`` for a second call of the same module, and
functional calls under the module that makes them, unless that module comes from `torch.nn` itself. If a call returns
several tensors, each has a name: ``rnn[0]``, ``head[scores]``.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterator, Mapping
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from deconvviz.recording.model_parts import module_names
from deconvviz.recording.tape import paths


class AllLayersSeen(BaseException):
    """Ends a forward pass once all layers asked for have run.

    It derives from BaseException so that no `except Exception` in the model stops it.
    """


class Observer:
    """Observes one run of a model; subclasses override the methods that are called as things happen.

    Attributes:
        wanted: Names of the layers asked for.
        seen: Names of the layers that have run.
        names: The qualified name of each module.
        module_calls: Number of module calls so far.
    """

    def __init__(
        self, model: nn.Module, wanted: Collection[str] | None, names: Mapping[nn.Module, str] | None = None
    ) -> None:
        """Prepare to observe.

        Args:
            model: The model that will be run.
            wanted: Names of layers; the run is ended by `AllLayersSeen` once all have run. None or empty: it is not.
            names: Names of its modules, if they are known; as `module_names` returns them.
        """
        self.wanted = frozenset(wanted or ())
        self.seen: set[str] = set()
        named = (
            module_names(model) if names is None else names
        ).items()  # what torch.compile wraps is named, not the wrapper
        self.names = {module: _without_wrappers(name) for module, name in named if "_orig_mod" not in module._modules}
        self.module_calls = 0
        self._running: list[tuple[nn.Module | None, str]] = []  # modules and functions, with their layer names
        self._calls: dict[str, int] = defaultdict(int)  # by name, without suffix
        self._leaves: dict[type, bool] = {}
        self._function_names: dict[Any, str] = {}
        self._thread = get_ident()

    # What subclasses override

    def module_entered(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """A module is about to run."""

    def module_left(self, module: nn.Module, result: Any) -> None:
        """A module has run."""

    def entered_in_other_thread(self, module: nn.Module, arguments: Any) -> None:
        """A module is about to run in another thread, which this run has started or which uses the same model."""

    def call(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Call a torch function; what this returns is the call's result."""
        return func(*args, **kwargs)

    def layer_returned(self, name: str, kind: str, tensor: Tensor) -> bool:
        """A call has returned a tensor. Returns whether it counts as a layer."""
        return True

    # Hooks

    @property
    def current_layer(self) -> str:
        """Name of the layer that is running."""
        return self._running[-1][1] if self._running else "output"

    @contextlib.contextmanager
    def observing(self) -> Iterator[None]:
        """A context in which the model is observed."""
        hooked = [module for module in self.names if not isinstance(module, torch.jit.ScriptModule)]
        hook = RemovableHandle(OrderedDict()).id  # of this observer, in all modules
        handles: list[RemovableHandle] = []
        enter, leave = self._enter, self._leave
        try:
            # What `register_forward_pre_hook` and `register_forward_hook` do, in a fifth of the time. The second one is
            # always called, so that a module that raises into its caller's `except` is left, too.
            for module in hooked:
                module._forward_pre_hooks[hook] = enter
                module._forward_pre_hooks_with_kwargs[hook] = True
                module._forward_hooks[hook] = leave
                module._forward_hooks_with_kwargs[hook] = module._forward_hooks_always_called[hook] = True
            if len(hooked) < len(self.names):  # scripted modules take no hooks of their own
                handles.append(register_module_forward_pre_hook(self._enter_scripted))
                handles.append(register_module_forward_hook(self._leave_scripted))
            with _FunctionMode(self):
                yield
        finally:
            for module in hooked:
                for registered in (
                    *(module._forward_pre_hooks, module._forward_pre_hooks_with_kwargs, module._forward_hooks),
                    *(module._forward_hooks_with_kwargs, module._forward_hooks_always_called),
                ):
                    registered.pop(hook, None)
            for handle in handles:
                handle.remove()

    def _enter(self, module: nn.Module, args: Any, kwargs: Any = None) -> None:
        if get_ident() != self._thread:
            self.entered_in_other_thread(module, (args, kwargs))
            return
        self.module_calls += 1
        self._running.append((module, self.new_call(self.names[module] or "output")))
        self.module_entered(module, args, kwargs or {})

    def _leave(self, module: nn.Module, args: Any, *kwargs_and_result: Any) -> None:
        # There are no keyword arguments if the hook was removed meanwhile by another thread.
        if get_ident() != self._thread:
            return
        result = kwargs_and_result[-1]
        self.module_left(module, result)
        self.name_layers(self._running.pop()[1], type(module).__name__, result)

    def _enter_scripted(self, module: nn.Module, args: Any) -> None:
        if self._is_scripted(module):
            self._enter(module, args)

    def _leave_scripted(self, module: nn.Module, args: Any, result: Any) -> None:
        if self._is_scripted(module):
            self._leave(module, args, result)

    def _is_scripted(self, module: nn.Module) -> bool:
        return isinstance(module, torch.jit.ScriptModule) and module in self.names

    def function_called(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Call a torch function and name what it returns, if it is a layer of the module that calls it."""
        parent = self._running[-1][0] if self._running else None
        if parent is None or self._is_leaf(parent) or (own := self._name_of(func)) in ("", "get") or self.in_script():
            return self.call(func, args, kwargs)
        name = self.qualified(own)
        numbered = self.numbered(name)
        self._running.append((None, numbered))
        try:
            result = self.call(func, args, kwargs)
        finally:
            self._running.pop()
        # Calls that do not depend on the model's input count, too, so that names are the same whether or not a tape is
        # recorded, which alone could tell them apart.
        if isinstance(result, Tensor) or next(paths(result), None):
            self._calls[name] += 1
        self.name_layers(numbered, own, result)
        return result

    def _is_leaf(self, module: nn.Module) -> bool:
        """Whether a module comes from torch.nn, so that its own functional calls are no layers."""
        kind = type(module)
        if (known := self._leaves.get(kind)) is None:
            known = kind.__module__.startswith("torch.nn") and not issubclass(kind, nn.Sequential)
            self._leaves[kind] = known
        return known

    def _name_of(self, func: Any) -> str:
        """A function's name in the names of layers."""
        if (known := self._function_names.get(func)) is None:
            name = getattr(func, "__name__", "").partition(".")[0].strip("_")  # an operator's ends in its overload
            known = self._function_names[func] = name
        return known

    # Names

    def qualified(self, name: str) -> str:
        """A functional call's name under the module that makes it."""
        for module, _ in reversed(self._running):
            if module is not None:
                return f"{parent}.{name}" if (parent := self.names[module]) else name
        return name

    def numbered(self, name: str) -> str:
        """The name, with the suffix of a repeated call."""
        calls = self._calls[name]
        return f"{name}_{calls}" if calls else name

    def new_call(self, name: str) -> str:
        """The numbered name of a call that is counted from now on."""
        numbered = self.numbered(name)
        self._calls[name] += 1
        return numbered

    def in_script(self) -> bool:
        """Whether scripted code is running, which neither hooks nor exceptions get through."""
        return bool(self._running) and isinstance(self._running[-1][0], torch.jit.ScriptModule)

    def name_layers(self, name: str, kind: str, result: Any) -> None:
        """Pass the tensors in a call's result to `layer_returned`.

        Raises:
            AllLayersSeen: If all layers asked for have run.
        """
        with torch._C.DisableTorchFunction():  # what an observer does itself is not observed
            for path, tensor in (("", result),) if isinstance(result, Tensor) else paths(result):
                if self.layer_returned(name + path, kind, tensor):
                    self.seen.add(name + path)
        if self.wanted and self.wanted <= self.seen and not self.in_script():
            raise AllLayersSeen


class _FunctionMode(TorchFunctionMode):
    """Passes Python-level torch functions to an observer."""

    def __init__(self, observer: Observer) -> None:
        super().__init__()
        self.observer = observer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.observer.function_called(func, args, kwargs or {})


def _without_wrappers(name: str) -> str:
    """A module's qualified name, without the names that `torch.compile` adds."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod") if "_orig_mod" in name else name
