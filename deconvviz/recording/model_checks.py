"""Whether there is anything to record in a model."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from deconvviz.errors import ModelError


def check_usable(model: nn.Module) -> None:
    """Check that a model can be recorded and projected.

    Raises:
        ModelError: If the model is quantised or sharded, has lazy modules without a shape, or has no parameters and
            buffers.
    """
    if any(type(module).__module__.startswith("torch.ao.nn.quantized") for module in model.modules()):
        raise ModelError(
            f"the model {type(model).__name__} is quantised, and quantised operations have no mirror; "
            f"project the floating-point model that was quantised"
        )
    check_whole(model, model.parameters())
    named = (*model.named_parameters(), *model.named_buffers())
    if lazy := next((name for name, tensor in named if is_lazy(tensor)), None):
        raise ModelError(
            f"the model {type(model).__name__} has lazy modules, and {lazy!r} has no shape yet; "
            f"run the model once on a typical input"
        )
    frozen = isinstance(model, torch.jit.ScriptModule)  # whose parameters may have become constants
    if not frozen and next(model.parameters(), None) is None and next(model.buffers(), None) is None:
        raise ModelError(f"the model {type(model).__name__} has no parameters, so there is no network to inspect")


def check_whole(model: nn.Module, parameters: Iterable[Tensor]) -> None:
    """Raise ModelError for a model whose weights are sharded over several processes."""
    distributed = sys.modules.get("torch.distributed.tensor")  # if it is not loaded, nothing is sharded
    if distributed is None or not any(isinstance(parameter, distributed.DTensor) for parameter in parameters):
        return
    named = model.named_parameters()
    name = next(name for name, parameter in named if isinstance(parameter, distributed.DTensor))
    raise ModelError(
        f"the weights of {type(model).__name__} are sharded over several processes ({name!r} is a DTensor, as of "
        f"fully_shard); give a model with complete weights, as full_tensor() of each makes"
    )
