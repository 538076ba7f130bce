"""The strongest activations by brute force: all are computed, kept and sorted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

import deconvviz as dv


def activations_of(net: dv.DeconvNet, images: Tensor, layers: Iterable[str], batch_size: int) -> dict[str, Tensor]:
    """All activations (N, channels, ...) of layers, computed in the same batches as a scan computes them."""
    outputs: dict[str, list[Tensor]] = {layer: [] for layer in layers}

    def keep_in(parts: list[Tensor]) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda module, args, output: parts.append(output.clone())

    hooks = [net.model.get_submodule(layer).register_forward_hook(keep_in(parts)) for layer, parts in outputs.items()]
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            net.model.eval()(images[start : start + batch_size])
    for hook in hooks:
        hook.remove()
    return {layer: torch.cat(parts) for layer, parts in outputs.items()}


def brute_force(activations: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Values, images and positions (channels, k) by sorting everything; ties to the lower image, then position."""
    n, channels, *dims = activations.shape
    flat = activations.reshape(n, channels, -1)
    best, where = flat.max(2)
    order = best.T.sort(dim=1, descending=True, stable=True).indices[:, :k]
    places = (
        torch.stack(torch.unravel_index(where.T.gather(1, order), dims), -1) if dims else where.T[..., None][..., :0]
    )
    return best.T.gather(1, order).double(), order, places[:, :k] if not dims else places
