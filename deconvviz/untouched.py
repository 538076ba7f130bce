"""Running somebody's model and leaving no trace on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from deconvviz.errors import ModelError


def unwrapped(model: Any) -> nn.Module:
    """The model inside DataParallel, DistributedDataParallel and `torch.compile` wrappers."""
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif isinstance(model, nn.Module):
            return model
        else:
            raise ModelError(f"the model must be a torch.nn.Module, not {type(model).__name__}")


@contextlib.contextmanager
def as_it_was(model: nn.Module) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Eval mode inside; modes, random state and whatever the list receives (tensor, old content) put back.

    Inside, torch also takes no shortcuts in which operations would go unseen: neither compiled code nor the fused
    fast path of its transformer layers.
    """
    modes = [(module, module.training) for module in model.modules()]
    eager = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
    buffers = [(module, dict(module._buffers)) for module in eager]
    fast = torch.backends.mha.get_fastpath_enabled()
    written: list[tuple[Tensor, Tensor]] = []
    devices = {p.device.index for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices)), torch.compiler.set_stance("force_eager"):
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            for module, _ in modes:
                module.training = False
            yield written
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            for module, mode in modes:
                module.training = mode
            for module, before in buffers:
                module._buffers.update(before)
            with torch.no_grad():
                for tensor, content in written:
                    tensor.copy_(content)
