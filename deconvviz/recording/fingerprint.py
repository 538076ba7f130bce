"""Whether a model still has the same weights."""

from __future__ import annotations

import hashlib
import itertools

import torch
from torch import Tensor, nn

from deconvviz.recording.placement import read_back


def fingerprint(model: nn.Module) -> str:
    """A digest that changes when a model's weights do: of the name, shape and 64 elements of every tensor.

    It quickly tells a model from a retrained one. It does not prove that two models are the same.
    """
    digest, state = hashlib.sha256(), model.state_dict()
    sampled = read_back([_sampled(tensor.detach()) for tensor in state.values()])
    wide: dict[int, bytes | memoryview] = {}  # what was sampled, by its number
    for dtype in {numbers.dtype for numbers in sampled}:
        group = [number for number, numbers in enumerate(sampled) if numbers.dtype == dtype]
        together = torch.cat([sampled[number] for number in group])
        content = together.to(torch.complex128 if dtype.is_complex else torch.float64).numpy().data.cast("B")
        size = 16 if dtype.is_complex else 8
        ends = list(itertools.accumulate(size * len(sampled[number]) for number in group))
        for number, start, end in zip(group, [0, *ends], ends, strict=False):
            wide[number] = content[start:end]
    for number, (name, tensor) in enumerate(state.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(wide[number])
    return digest.hexdigest()[:16]


def _sampled(tensor: Tensor) -> Tensor:
    """At most 64 elements of a tensor, evenly spaced in the order of its axes, whatever its layout in memory."""
    count = tensor.numel()
    step = max(1, count // 64)
    length = min(64, -(-count // step))
    if type(tensor) is Tensor and tensor.layout == torch.strided and not tensor.is_quantized:
        if tensor.is_contiguous():  # read where they lie
            return tensor.as_strided((length,), (step,))
        if count > 64:  # without a copy of all
            return torch.take(tensor, torch.arange(0, length * step, step, device=tensor.device))
    return tensor.flatten()[::step][:64]
