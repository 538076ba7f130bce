"""Running a model in eval mode and restoring its modes, attributes, parameters and buffers afterwards.

The mode of a model that is in eval mode already is not set again. If modules override `train`, as those do that merge
their branches for inference, it is called as `model.eval()` would call it.
"""

from __future__ import annotations

import itertools
import operator
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from deconvviz.io.restoring import Restored
from deconvviz.recording.aliasing import storage_of
from deconvviz.recording.model_parts import ModelParts
from deconvviz.recording.tape import written_by

_MISSING = object()
_IN_ORDER = list(vars(nn.Module()))  # attributes of every module, as they are first set
_OF_EVERY_MODULE = frozenset(_IN_ORDER)  # which are restored by themselves


class EvalMode(Restored):
    """A context in which a model is in eval mode; what the run changes on the model is restored.

    Attributes:
        model: The model.
        parts: What the model consists of in eval mode.
        writes: Keeps the content of what is written inside.
    """

    def __init__(self, model: nn.Module, *, observed: bool = False) -> None:
        """Prepare to enter.

        Args:
            model: The model.
            observed: Whether whoever runs the model sees its operations, and gives to `writes.note` what they write.
        """
        super().__init__()
        self.model, self.observed = model, observed

    def look(self) -> None:
        """Go through the model."""
        self.parts = ModelParts.of(self.model)

    def set_up(self) -> None:
        self.look()
        self.enter_eval_mode()

    def enter_eval_mode(self) -> None:
        """Put the model into eval mode; on leaving it is as it is now."""
        modules, tensors = self.parts.modules, self.parts.tensors
        modes = [
            (module, module.training) for module in modules if hasattr(module, "training")
        ]  # frozen scripts have none
        scripted = torch.jit.ScriptModule
        states = [_ModuleState(module) for module in modules if not isinstance(module, scripted)]
        self.writes = writes = _Writes({storage_of(tensor): tensor for tensor in tensors})
        self.callback(self._put_back, modes, states, [_TensorState(tensor) for tensor in tensors])
        if any(training for _, training in modes):
            for module, training in reversed(modes):
                if training and has_its_own_train(module):
                    self.callback(_switch_modes, module, writes)
            if any(map(has_its_own_train, modules)):
                with writes:
                    self.model.eval()
                self.look()
            _set_modes((module, False) for module, _ in modes)
        if not self.observed:
            self.enter_context(writes)

    def _put_back(
        self, modes: list[tuple[nn.Module, bool]], modules: list[_ModuleState], tensors: list[_TensorState]
    ) -> None:
        _set_modes(modes)
        for module in modules:
            module.put_back()
        for tensor in tensors:
            tensor.put_back()
        with torch.inference_mode(False), torch.no_grad():
            for own, content in reversed(self.writes.written):
                own.copy_(content)


def has_its_own_train(module: nn.Module) -> bool:
    """Whether a module overrides how its mode is changed."""
    return type(module).train is not nn.Module.train or type(module).eval is not nn.Module.eval


def _switch_modes(module: nn.Module, writes: _Writes) -> None:
    with writes:
        module.train(True)


def _set_modes(modes: Iterable[tuple[nn.Module, bool]]) -> None:
    for module, training in modes:
        if module.training != training:
            own = vars(module)
            if "training" in own and type(module).__setattr__ is nn.Module.__setattr__:
                own["training"] = training  # what that would do, in a tenth of the time
            else:
                module.training = training


class _Writes(TorchDispatchMode):
    """Keeps the content of a model's parameters and buffers before something writes them.

    Attributes:
        own: By their storage, those that have not been written.
        written: Those that have been written, each with its old content.
    """

    supports_higher_order_operators = True  # such as `torch.cond`, which write nothing

    def __init__(self, own: dict[int, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.own = own
        self.written: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not isinstance(func, torch._ops.HigherOrderOperator):
            self.note(written_by(func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))

    def note(self, tensors: Iterable[Tensor]) -> None:
        """Note that tensors are about to be written."""
        for tensor in tensors:
            whole = self.own.pop(storage_of(tensor), None)
            if whole is not None:
                self.written.append((whole, whole.detach().clone()))


class _ModuleState:
    """The parameters, buffers, submodules and attributes of a module, with the content of attributes that hold many."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.attributes = vars(module).copy()
        inner: tuple[Any, ...] = (module._parameters, module._buffers, module._modules)
        self.containers = [(part, _members(part) if part else _EMPTY) for part in inner]
        for value in _own_values(self.attributes):
            if isinstance(value, _CONTAINERS):
                self.containers.append((value, _members(value)))

    def put_back(self) -> None:
        now = vars(self.module)
        if not _unchanged(now, self.attributes):
            for name in [name for name in now if name not in _OF_EVERY_MODULE and name not in self.attributes]:
                del now[name]
            for name, value in self.attributes.items():
                if name not in _OF_EVERY_MODULE and now.get(name, _MISSING) is not value:
                    now[name] = value
        for container, content in self.containers:
            if (container or content) and not _unchanged(container, content):
                _refill(container, content)


_CONTAINERS = (list, dict, set, deque)
_EMPTY: dict[str, Any] = {}


def _own_values(attributes: dict[str, Any]) -> Iterable[Any]:
    """The values of the attributes that not every module has."""
    if list(itertools.islice(attributes, len(_IN_ORDER))) == _IN_ORDER:  # as in most modules, which then have their own
        return itertools.islice(attributes.values(), len(_IN_ORDER), None)
    return [value for name, value in attributes.items() if name not in _OF_EVERY_MODULE]


def _members(container: Any) -> Any:
    if type(container) is dict:
        return container.copy()  # in a seventh of the time of `dict(container)`
    return dict(container) if isinstance(container, dict) else list(container)


def _unchanged(container: Any, content: Any) -> bool:
    if len(container) != len(content) or not all(map(operator.is_, container, content)):
        return False
    return not isinstance(container, dict) or all(map(operator.is_, container.values(), content.values()))


def _refill(container: Any, content: Any) -> None:
    container.clear()
    add: Callable[[Any], Any] = getattr(container, "update" if isinstance(container, (dict, set)) else "extend")
    add(content)


class _TensorState:
    """the memory and layout of a parameter or buffer, and whether it requires gradients.

    ``tensor.data = ...`` gives a tensor other memory without creating another tensor.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.plain = type(tensor) in (Tensor, nn.Parameter) and not tensor.is_inference()
        self.data = tensor.data if self.plain else tensor
        self.requires_grad = tensor.requires_grad

    def put_back(self) -> None:
        if self.tensor.is_leaf and self.tensor.requires_grad != self.requires_grad:
            self.tensor.requires_grad_(self.requires_grad)
        if self.plain and not _same_memory(self.tensor, self.data):
            self.tensor.data = self.data


def _same_memory(tensor: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same memory, type and layout."""
    storage = storage_of(tensor)
    if storage and tensor.is_cpu:
        return tensor.dtype == other.dtype and bool(tensor.is_set_to(other))
    if storage != storage_of(other) or tensor.shape != other.shape or tensor.dtype != other.dtype:
        return False
    if not storage:  # without strides
        return tensor.device == other.device
    return (tensor.stride(), int(tensor.storage_offset())) == (other.stride(), int(other.storage_offset()))
