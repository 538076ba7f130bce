"""Templates: the operations that run on images of one shape, whatever the images show.

A template is recorded anew each time, from the model as it is then, so that nothing has to be known about what may
have changed in the model since. What operations would compute from the image is left out, since nobody reads it.

>>> import torch
>>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU())
>>> [operation.label for operation in template(model, torch.zeros(1, 1, 5, 5), "1").operations]
['aten.convolution', 'aten.relu']
>>> model[1].register_forward_hook(lambda module, args, output: output / output.max().item())  # doctest: +ELLIPSIS
<torch.utils.hooks.RemovableHandle object at ...>
>>> template(model, torch.zeros(1, 1, 5, 5), "1") is None
True
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as every_module

from deconvviz.recording.aliasing import storage_of
from deconvviz.recording.blank_tensors import blank_result
from deconvviz.recording.eval_mode import EvalMode
from deconvviz.recording.recordable import kind_of
from deconvviz.recording.recorder import Recorder, run
from deconvviz.recording.tape import Tape, tensors_in

# Python calls through which numbers leave torch, or come back from Python, without an operation that shows it.
_LEAVING_TORCH: frozenset[Any] = frozenset(
    {
        *(Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__, Tensor.data_ptr, Tensor.storage),
        *(Tensor.untyped_storage, Tensor._typed_storage, Tensor.__deepcopy__, Tensor.__reduce_ex__, Tensor.__repr__),
        *(Tensor.__format__, Tensor.__cuda_array_interface__.__get__, Tensor.new_tensor),
        *(torch.tensor, torch.as_tensor, torch.asarray),
    }
)
_DATA_DEPENDENT = torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape
_MASKABLE = frozenset({torch.ops.aten.index.Tensor})  # tagged as data-dependent, which it is only under a mask


class _DependsOnImage(BaseException):
    """Ends a run in which something depends on the image; no `except Exception` in the model stops it."""


def template(model: nn.Module, x: Tensor, layer: str, opaque: Collection[Any] = ()) -> Tape | None:
    """The tape of a run up to a layer, with the numbers of those values only that do not depend on the image.

    Args:
        model: The model.
        x: An image of the shape and dtype in question, (1, C, ...).
        layer: The layer at which the run ends.
        opaque: As for `deconvviz.recording.recorder.record`.

    Returns:
        The tape, or None if other operations could run on another image, or if the run fails.
    """
    recorders: list[_TemplateRecorder] = []

    def make_recorder(running: EvalMode) -> _TemplateRecorder:
        recorders.append(_TemplateRecorder(running, layers=[layer], opaque=opaque))
        return recorders[0]

    try:
        tape = run(make_recorder, model, (x,), {})
    except (_DependsOnImage, Exception):  # the images themselves may run; if not, the error is raised there
        return None
    if recorders[0].depends_on_image or layer not in tape.layers:
        return None
    return tape


class _TemplateRecorder(Recorder):
    """Records a run without carrying out the operations that depend on the image."""

    def __init__(self, running: EvalMode, **kwargs: Any) -> None:
        super().__init__(running, **kwargs)
        self.depends_on_image = False
        self.carries_out = hooked(running.parts.modules)  # hooks of the user's are shown real activations

    def function_called(self, func: Any, args: Any, kwargs: Any) -> Any:
        if func in _LEAVING_TORCH and self._reads_image((args, kwargs)):
            self._give_up()
        return super().function_called(func, args, kwargs)

    def opaque_result(self, func: Any, args: Any, kwargs: Any) -> Any:
        if self.carries_out or not str(func.__module__).startswith("torch."):
            return super().opaque_result(func, args, kwargs)
        return blank_result(func, args, kwargs)

    def result(self, func: Any, args: Any, kwargs: Any, written: list[Tensor]) -> Any:
        if kind_of(func).draws:  # for a batch it would draw other numbers than for one image
            self._give_up()
        if not self._reads_image((args, kwargs)) and not self._suspended:
            if self._reads_memory_of_image((args, kwargs)):
                self._give_up()
            return super().result(func, args, kwargs, written)
        if _is_data_dependent(func, args) or func.namespace not in ("aten", "prims", "prim"):
            self._give_up()
        if self.carries_out or self._suspended or self._in_function or _must_be_carried_out(func, written):
            return super().result(func, args, kwargs, written)
        if written:
            return written[0] if len(written) == 1 else tuple(written)
        return blank_result(func, args, kwargs)

    def _reads_image(self, arguments: Any) -> bool:
        """Whether a tensor among the arguments depends on the image."""
        return any(storage_of(tensor) in self.builder.storages for tensor in tensors_in(arguments))

    def _reads_memory_of_image(self, arguments: Any) -> bool:
        """Whether a tensor shares memory with the image's values in a way that torch does not see, as by DLPack."""
        states = self.builder.storages.values()
        return any(state.is_memory_of(tensor) for tensor in tensors_in(arguments) for state in states)

    def _give_up(self) -> None:
        self.depends_on_image = True
        raise _DependsOnImage


def _is_data_dependent(func: Any, args: Any) -> bool:
    """Whether what an operation returns, or its shape, depends on numbers in a way that the tape does not show."""
    if func in _MASKABLE:
        return any(index.dtype in (torch.bool, torch.uint8) for index in tensors_in(args[1]))
    return _is_tagged_data_dependent(func)


@functools.cache
def _is_tagged_data_dependent(func: Any) -> bool:
    return any(tag in func.tags for tag in _DATA_DEPENDENT)


def _must_be_carried_out(func: Any, written: list[Tensor]) -> bool:
    """Whether an operation runs on the blank tensors: views, which compute nothing, and writes of unusual kinds."""
    is_unusual, returned_written, returns_views = _aliases(func)
    if written:
        return is_unusual or returned_written != (True,) * len(written)
    return is_unusual or returns_views


@functools.cache
def _aliases(func: Any) -> tuple[bool, tuple[bool, ...], bool]:
    """Whether an operation takes ``out=`` or changes a view; which results it writes; whether one can be a view."""
    is_unusual = any(argument.is_out for argument in func._schema.arguments) or torch.Tag.inplace_view in func.tags
    aliases = [item.alias_info for item in func._schema.returns]
    written = tuple(alias is not None and alias.is_write for alias in aliases)
    return is_unusual, written, any(alias is not None for alias in aliases)


def hooked(modules: Iterable[nn.Module]) -> bool:
    """Whether one of the modules has a forward hook that is not torch's own."""
    hooks = [every_module._global_forward_hooks, every_module._global_forward_pre_hooks]
    for module in modules:
        hooks += [registered for registered in (module._forward_hooks, module._forward_pre_hooks) if registered]
    every = (hook for group in hooks for hook in group.values())
    return any(not str(getattr(hook, "__module__", "")).startswith("torch.") for hook in every)
