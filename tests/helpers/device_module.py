"""torch's functions for an accelerator, such as those of `torch.cuda`, as a pretend one answers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests.helpers import device_memory


class Stream:
    """A stream, an event or a device context. It orders nothing, since nothing is asynchronous."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.device = args[0] if args else None

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: Any) -> None:
        return None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in ("wait_stream", "wait_event", "record", "record_event", "wait", "record_stream"):
            return lambda *args, **kwargs: Stream()
        if name == "is_capturing":
            return lambda: False
        if name == "query":
            return lambda: True
        if name == "elapsed_time":
            return lambda end: 0.0
        raise AttributeError(name)


def functions(pretend: Any) -> dict[str, Any]:
    """Functions of `torch.cuda`, `torch.xpu` or `torch.mps`, and of `torch.accelerator`, by name."""
    memory: device_memory.Memory = pretend.memory

    def synchronize(*args: Any) -> None:
        pretend.note("read", "synchronize")

    class Waiting(Stream):
        def synchronize(self) -> None:
            synchronize()

    return {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "current_device_index": lambda: 0,
        "current_accelerator": lambda *args, **kwargs: torch.device(pretend.device.type),
        "get_device_name": lambda *args: f"pretended {pretend.device.type}",
        "is_bf16_supported": lambda *args, **kwargs: True,
        "synchronize": synchronize,
        "mem_get_info": lambda *args: (device_memory.FREE, device_memory.ALL),
        "get_memory_info": lambda *args: (device_memory.FREE, device_memory.ALL),
        "recommended_max_memory": lambda: device_memory.ALL,
        "driver_allocated_memory": lambda: device_memory.ALL - device_memory.FREE,
        "memory_allocated": lambda *args: memory.allocated,
        "memory_reserved": lambda *args: memory.allocated,
        "max_memory_allocated": lambda *args: memory.peak,
        "max_memory_reserved": lambda *args: memory.peak,
        "current_allocated_memory": lambda: memory.allocated,
        "reset_peak_memory_stats": lambda *args: memory.reset(),
        "empty_cache": lambda: None,
        "get_rng_state": lambda *args: torch.get_rng_state(),
        "get_rng_state_all": lambda: [torch.get_rng_state()],
        "set_rng_state": lambda state, *args: torch.set_rng_state(state),
        "manual_seed": lambda seed: torch.default_generator.manual_seed(seed) and None,
        "manual_seed_all": lambda seed: torch.default_generator.manual_seed(seed) and None,
        "device": Stream,
        "stream": lambda stream: Stream(),
        "Stream": Waiting,
        "Event": Waiting,
        "current_stream": lambda *args: Waiting(),
        "default_stream": lambda *args: Waiting(),
        "_lazy_init": lambda: None,
    }
