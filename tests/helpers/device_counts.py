"""What is asked of a pretend accelerator, and by which lines of the package."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from tests.helpers.device_rules import tensors_of
from tests.helpers.device_work import work_of

OWN = ("pretend_device", "device_rules", "device_counts", "device_work")  # modules of the pretend accelerator itself


@dataclass
class Counts:
    """What was asked of the device.

    Attributes:
        launches: Operations that started work there.
        host_reads: Times the host waited for it.
        uploads: Copies from the CPU.
        operations: How often each operation was launched, by its name.
        reads: How often each place of the package read, as "item at deconvviz/net.py:12".
        sent: The same for uploads.
        moved: Bytes that operations read and wrote, by the type of what they made, as "float32".
        products: Multiplications of convolutions and matrix products, likewise.
    """

    launches: int = 0
    host_reads: int = 0
    uploads: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    moved: Counter[str] = field(default_factory=Counter)
    products: Counter[str] = field(default_factory=Counter)

    def read(self, what: str) -> None:
        self.host_reads += 1
        self.reads[f"{what} at {_place()}"] += 1

    def send(self, what: str, number: int = 1) -> None:
        if number:
            self.uploads += number
            self.sent[f"{what} at {_place()}"] += number

    def launch(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        self.launches += 1
        self.operations[str(func)] += 1
        kind = next((str(made.dtype).partition(".")[2] for made in tensors_of(result)), "")
        work = work_of(func, args, kwargs, result)
        self.moved[kind] += work.moved
        self.products[kind] += work.products


def _place() -> str:
    """The innermost line of the package that is running, else of a test."""
    frame: FrameType | None = sys._getframe(1)
    found = ""
    while frame is not None:
        path = frame.f_code.co_filename
        start = path.find("/deconvviz/")
        if start >= 0 and frame.f_code.co_name != "__torch_dispatch__":
            return f"{path[start + 1 :]}:{frame.f_lineno}"
        if not found and "/tests/" in path and not any(name in path for name in OWN):
            found = f"{path[path.find('/tests/') + 1 :]}:{frame.f_lineno}"
        frame = frame.f_back
    return found or "elsewhere"
