"""Templates: what runs on images of one shape, whatever is in them.

A template is recorded each time from the model as it is then, so nothing has to be known about what may have changed
in it since. Only what operations would compute from the image is left out: it would be read by nobody.

>>> import torch
>>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU())
>>> [operation.label for operation in template(model, torch.zeros(1, 1, 5, 5), "1").operations]
['aten.convolution', 'aten.relu']
>>> model[1].register_forward_hook(lambda module, given, made: made / made.max().item())  # doctest: +ELLIPSIS
<torch.utils.hooks.RemovableHandle object at ...>
>>> template(model, torch.zeros(1, 1, 5, 5), "1") is None
True
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as every_module

from deconvviz.recording.aliasing import StorageState, storage_of
from deconvviz.recording.blank_tensors import blank_result
from deconvviz.recording.random_state import may_draw
from deconvviz.recording.recorder import Recorder, run
from deconvviz.recording.tape import Tape, Value, tensors_in

# Python calls by which numbers leave torch, or come back from Python, where no operation shows it.
_LEAVING: frozenset[Any] = frozenset(
    {
        *(Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__, Tensor.data_ptr, Tensor.storage),
        *(Tensor.untyped_storage, Tensor._typed_storage, Tensor.__deepcopy__, Tensor.__reduce_ex__, Tensor.__repr__),
        *(Tensor.__format__, Tensor.__cuda_array_interface__.__get__, Tensor.new_tensor),
        *(torch.tensor, torch.as_tensor, torch.asarray),
    }
)
_DECIDING = torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape
_BY_PLACE = frozenset({torch.ops.aten.index.Tensor})  # which counts as such, and is one only under a mask


class _Depends(BaseException):
    """Ends a run in which something depends on the image; no `except Exception` on its way stops it."""


def template(model: nn.Module, x: Tensor, layer: str, opaque: Collection[Any] = ()) -> Tape | None:
    """The tape of a run up to `layer`, without numbers except for those that do not depend on the image.

    x: (1, C, ...), an image of the shape and type that is meant. opaque: as for `deconvviz.recording.recorder.record`.

    Returns None where what runs could be another for another image, or where the run fails.
    """

    def recorder(*given: Any) -> _Template:
        made.append(_Template(*given))
        return made[0]

    made: list[_Template] = []
    try:
        tape = run(recorder, model, (x,), {}, [layer], opaque)
    except (_Depends, Exception):  # on the images themselves it may be well; if not, it is said there
        return None
    if made[0].depends or layer not in tape.layers:
        return None
    return tape


class _Template(Recorder):
    """Records a run in which no operation on what depends on the image is carried out."""

    def __init__(self, model: nn.Module, *given: Any) -> None:
        super().__init__(model, *given)
        self.depends = False
        self.carried_out = hooked(model)  # somebody's hooks are shown real activations

    def function(self, func: Any, args: Any, kwargs: Any) -> Any:
        if func in _LEAVING and self.follows((args, kwargs)):
            self.give_up()
        return super().function(func, args, kwargs)

    def opaque_result(self, func: Any, args: Any, kwargs: Any) -> Any:
        if self.carried_out or not str(func.__module__).startswith("torch."):
            return super().opaque_result(func, args, kwargs)
        return blank_result(func, args, kwargs)

    def result(self, func: Any, args: Any, kwargs: Any, written: list[Tensor]) -> Any:
        if may_draw(func):  # for one image, and so other numbers than for a batch
            self.give_up()
        if not self.follows((args, kwargs)) and not self.suspended:
            if any(state.is_memory_of(tensor) for tensor in tensors_in((args, kwargs)) for state in self.states):
                self.give_up()
            return func(*args, **kwargs)
        decides = any(tag in func.tags for tag in _DECIDING)
        if func in _BY_PLACE:
            decides = any(index.dtype in (torch.bool, torch.uint8) for index in tensors_in(args[1]))
        if decides or func.namespace not in ("aten", "prims", "prim"):
            self.give_up()
        if self.carried_out or self.suspended or self.in_function:
            return func(*args, **kwargs)
        returned = func._schema.returns
        if any(argument.is_out for argument in func._schema.arguments) or torch.Tag.inplace_view in func.tags:
            return func(*args, **kwargs)
        if written:
            if [item.alias_info is not None and item.alias_info.is_write for item in returned] != [True] * len(written):
                return func(*args, **kwargs)
            return written[0] if len(written) == 1 else tuple(written)
        if any(item.alias_info is not None for item in returned):  # a view: nothing is computed
            return func(*args, **kwargs)
        return blank_result(func, args, kwargs)

    @property
    def states(self) -> Collection[StorageState[Value]]:
        return self.ledger.storages.values()

    def follows(self, given: Any) -> bool:
        """Whether a tensor among the arguments depends on the image."""
        return any(storage_of(tensor) in self.ledger.storages for tensor in tensors_in(given))

    def give_up(self) -> None:
        self.depends = True
        raise _Depends


def hooked(model: nn.Module) -> bool:
    """Whether a module has a forward hook that is not torch's own."""
    hooks = [every_module._global_forward_hooks, every_module._global_forward_pre_hooks]
    for module in model.modules():
        hooks += [module._forward_hooks, module._forward_pre_hooks]
    known = (hook for group in hooks for hook in group.values())
    return any(not str(getattr(hook, "__module__", "")).startswith("torch.") for hook in known)
