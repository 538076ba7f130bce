"""Whether a model still has the same weights."""

from __future__ import annotations

import functools
import hashlib
import itertools

import torch
from torch import Tensor, nn

from deconvviz.recording.placement import read_back


def fingerprint(model: nn.Module) -> str:
    """A digest that changes when a model's weights do: of the name, shape and 64 elements of every tensor.

    It quickly tells a model from a retrained one. It does not prove that two models are the same.
    """
    state = model.state_dict()
    sampled = read_back([_sampled(tensor.detach()) for tensor in state.values()])
    wide: dict[int, bytes | memoryview] = {}  # what was sampled, by its number
    for dtype in {numbers.dtype for numbers in sampled}:
        group = [number for number, numbers in enumerate(sampled) if numbers.dtype == dtype]
        together = torch.cat([sampled[number] for number in group])
        numbers = together.to(torch.complex128 if dtype.is_complex else torch.float64).numpy().data.cast("B")
        size = 16 if dtype.is_complex else 8
        ends = list(itertools.accumulate(size * len(sampled[number]) for number in group))
        for number, start, end in zip(group, [0, *ends], ends, strict=False):
            wide[number] = numbers[start:end]
    content = (
        part
        for number, (name, tensor) in enumerate(state.items())
        for part in (_named(name, tensor.shape, tensor.dtype), wide[number])
    )
    return hashlib.sha256(b"".join(content)).hexdigest()[:16]


@functools.lru_cache(maxsize=2**14)
def _named(name: str, shape: torch.Size, dtype: torch.dtype) -> bytes:
    return f"{name} {tuple(shape)} {dtype}".encode()


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
