"""Naming what runs in a model: module calls by hooks, functional calls by a `TorchFunctionMode`.

Names are those of torchvision's feature extraction: the qualified module name, for a second call of the same module
with the suffix ``_1``, and functional calls under the module that makes them, unless that comes from `torch.nn`
itself. Where a call returns several tensors each has a name: ``rnn[0]``, ``head[scores]``.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterator
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from deconvviz.recording.tape import paths


class Enough(BaseException):
    """Ends a forward pass once all layers asked for have run; no `except Exception` on its way stops it."""


class Watcher:
    """Watches one run of a model. What is seen goes to `entered`, `left`, `called` and `layer`, to be overridden.

    wanted: names of layers; the run is ended by `Enough` once all have been seen. None or empty: it is not.
    """

    def __init__(self, model: nn.Module, wanted: Collection[str] | None) -> None:
        self.wanted = frozenset(wanted or ())
        self.seen: set[str] = set()
        named = [(_plain_name(name), module) for name, module in model.named_modules(remove_duplicate=False)]
        # What torch.compile wraps is named, not the wrapper; of several names of a module, the first counts.
        self.names = {module: name for name, module in reversed(named) if not hasattr(module, "_orig_mod")}
        self.calls: list[tuple[nn.Module | None, str]] = []  # what is running: module, layer name
        self.used: dict[str, int] = defaultdict(int)
        self.modules_run = 0
        self.thread = get_ident()

    # What a watcher is told

    def entered(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """A module is about to run."""

    def left(self, module: nn.Module, result: Any) -> None:
        """A module has run."""

    def elsewhere(self, module: nn.Module, given: Any) -> None:
        """A module is about to run in another thread, which uses the same model or was started by this run."""

    def called(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A torch function is called; what this returns is the call's result."""
        return func(*args, **kwargs)

    def layer(self, name: str, kind: str, tensor: Tensor) -> bool:
        """A call returned a tensor; whether it is a layer."""
        return True

    # How it is watched

    @property
    def where(self) -> str:
        """The layer that is running."""
        return self.calls[-1][1] if self.calls else "output"

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
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
            with _Functions(self):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, module: nn.Module, args: Any, kwargs: Any = None) -> None:
        if get_ident() != self.thread:
            self.elsewhere(module, (args, kwargs))
            return
        name = self.names[module] or "output"
        self.modules_run += 1
        self.calls.append((module, self.numbered(name)))
        self.used[name] += 1
        self.entered(module, args, kwargs or {})

    def _leave(self, module: nn.Module, args: Any, *kwargs_and_result: Any) -> None:
        if get_ident() != self.thread:  # which gets no keyword arguments where the hook was removed meanwhile
            return
        result = kwargs_and_result[-1]
        self.left(module, result)
        self.name_layers(self.calls.pop()[1], type(module).__name__, result)

    def _enter_script(self, module: nn.Module, args: Any) -> None:
        if self._is_script(module):
            self._enter(module, args)

    def _leave_script(self, module: nn.Module, args: Any, result: Any) -> None:
        if self._is_script(module):
            self._leave(module, args, result)

    def _is_script(self, module: nn.Module) -> bool:
        return isinstance(module, torch.jit.ScriptModule) and module in self.names

    def function(self, func: Any, args: Any, kwargs: Any) -> Any:
        name = getattr(func, "__name__", "").strip("_")
        parent = self.calls[-1][0] if self.calls else None
        if parent is None or name in ("", "get") or _is_leaf(parent):
            return self.called(func, args, kwargs)
        name = self.qualified(name)
        unique = self.numbered(name)
        self.calls.append((None, unique))
        try:
            result = self.called(func, args, kwargs)
        finally:
            self.calls.pop()
        if self.name_layers(unique, name.rpartition(".")[2], result):
            self.used[name] += 1
        return result

    # Names

    def qualified(self, name: str) -> str:
        """A functional call's name under the module that makes it."""
        parent = next((self.names[module] for module, _ in reversed(self.calls) if module is not None), "")
        return f"{parent}.{name}" if parent else name

    def numbered(self, name: str) -> str:
        """The name with the suffix of a repeated call."""
        return f"{name}_{self.used[name]}" if self.used[name] else name

    def in_script(self) -> bool:
        """Whether scripted code is running, which neither hooks nor exceptions get through."""
        return bool(self.calls) and isinstance(self.calls[-1][0], torch.jit.ScriptModule)

    def name_layers(self, name: str, kind: str, result: Any) -> bool:
        """Hand the tensors in a call's result to `layer`; True where one was a layer."""
        with torch._C.DisableTorchFunction():  # what a watcher does itself is not watched
            found = [name + path for path, tensor in paths(result) if self.layer(name + path, kind, tensor)]
        self.seen.update(found)
        if self.wanted and self.wanted <= self.seen and not self.in_script():
            raise Enough
        return bool(found)


class _Functions(TorchFunctionMode):
    """Hands Python-level torch functions to a watcher."""

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self.watcher = watcher

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.watcher.function(func, args, kwargs or {})


def _plain_name(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def _is_leaf(module: nn.Module) -> bool:
    """Whether a module's own functional calls are its business, and no layers: those of torch.nn."""
    return type(module).__module__.startswith("torch.nn") and not isinstance(module, nn.Sequential)
