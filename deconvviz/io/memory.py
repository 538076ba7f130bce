"""Memory that is cleared only where it is touched."""

from __future__ import annotations

import mmap
from collections.abc import Sequence

import torch
from torch import Tensor


def zeros(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of zeros.

    On the CPU its memory is mapped in small pages that the system clears when they are touched, since most never are.
    """
    length = torch.Size(shape).numel() * dtype.itemsize
    if device.type != "cpu" or not hasattr(mmap, "MADV_NOHUGEPAGE") or length < mmap.PAGESIZE:
        return torch.zeros(tuple(shape), dtype=dtype, device=device)
    memory = mmap.mmap(-1, length)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype).view(tuple(shape))
