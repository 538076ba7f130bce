"""What work costs on each kind of device: the figures by which crops are weighed against whole maps.

Work is counted in multiplications. The figures of the CPU are measured; those of an accelerator are estimates from what
one H100 was seen to take for launches, and from its bandwidth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

MEMORY_SHARE = 4  # a batch takes at most this part of what an accelerator has free


@dataclass(frozen=True, kw_only=True)
class DeviceCosts:
    """Costs on one kind of device.

    Attributes:
        writing: Multiplications in the time that it takes to record an operation, or to write and launch it on crops.
        element: Reading and writing an element of a map costs about as much as this many multiplications.
        large: From this work per unit, units near the border go apart, so that nothing outside the map is computed.
        crop_bytes: Bytes of all crops of a batch. On a CPU, more would leave the caches.
        recorded_bytes: Bytes of the maps of images that are recorded together.
        signal_bytes: Bytes of signals that travel back at once on whole maps. On a CPU, more would leave the caches.
    """

    writing: float
    element: float
    large: float
    crop_bytes: int
    recorded_bytes: int
    signal_bytes: int


MIB = 2**20
CPU = DeviceCosts(
    writing=1e7, element=24, large=3e8, crop_bytes=160 * MIB, recorded_bytes=1024 * MIB, signal_bytes=128 * MIB
)
ACCELERATOR = DeviceCosts(
    writing=1e9, element=48, large=float("inf"), crop_bytes=2**34, recorded_bytes=2**35, signal_bytes=2**34
)


def costs_of(device: torch.device) -> DeviceCosts:
    """The costs on a device."""
    return CPU if device.type == "cpu" else ACCELERATOR


def crop_bytes(device: torch.device) -> int:
    """How many bytes the crops of a batch may take: on an accelerator, a part of what is free there."""
    return _share_of_free(costs_of(device).crop_bytes, device)


def signal_bytes(device: torch.device) -> int:
    """How many bytes of signals may travel at once on whole maps."""
    return _share_of_free(costs_of(device).signal_bytes, device)


def recorded_bytes(device: torch.device) -> int:
    """How many bytes the maps of images may take that are recorded together."""
    return _share_of_free(costs_of(device).recorded_bytes, device)


def _share_of_free(most: int, device: torch.device) -> int:
    free = free_bytes(device)
    return most if free is None else max(1, min(most, free // MEMORY_SHARE))


def free_bytes(device: torch.device) -> int | None:
    """What a device has free, the allocator's own unused memory included; None if it does not tell."""
    module: Any = getattr(torch, device.type, None)
    try:
        if device.type == "mps":
            return int(module.recommended_max_memory() - module.driver_allocated_memory())
        if device.type != "cpu" and hasattr(module, "mem_get_info"):
            unused = module.memory_reserved(device) - module.memory_allocated(device)
            return int(module.mem_get_info(device)[0] + unused)
    except (RuntimeError, AssertionError):  # no such device in this build
        return None
    return None
