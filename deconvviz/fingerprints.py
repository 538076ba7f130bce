"""Whether a model is still the same: its weights, and what it would run."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable

import torch
from torch import nn


def fingerprint(model: nn.Module) -> str:
    """A digest that changes when a model's weights do: of the name, shape and 64 elements of every tensor.

    It tells trained from retrained, quickly; it does not prove that two models are the same.
    """
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        flat = tensor.detach().flatten()
        sampled = flat[:: max(1, len(flat) // 64)][:64]
        digest.update(sampled.to(torch.complex128 if tensor.is_complex() else torch.float64).cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def state_of(model: nn.Module) -> Hashable:
    """Changes where a module, parameter, hook or plain attribute is replaced, so that something else may run.

    Autocast counts, too: under it, other operations run.
    """
    cast = tuple((kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda"))
    return cast, tuple(
        (
            name,
            id(module),
            *(id(tensor) for tensor in (*module._parameters.values(), *module._buffers.values())),
            len(module._forward_hooks) + len(module._forward_pre_hooks),
            repr([value for value in vars(module).values() if isinstance(value, (bool, int, float, str, tuple))]),
        )
        for name, module in model.named_modules()
    )
