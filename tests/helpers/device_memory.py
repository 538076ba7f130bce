"""How much memory tensors take on a pretend accelerator.

Counted are the storages of tensors that lie there, from when they are made until nothing holds them any more. What a
real card takes beside them (workspaces of its kernels, blocks that its allocator keeps, the rounding of sizes) is not.
"""

from __future__ import annotations

import weakref
from typing import Any

FREE, ALL = 4 * 2**30, 8 * 2**30  # what the device says it has


class Memory:
    """Bytes of storages on the device.

    Attributes:
        allocated: Those that exist.
        peak: The most that existed at once since `reset`.
    """

    def __init__(self) -> None:
        self.allocated = self.peak = 0

    def enter(self, storage: Any) -> None:
        """Count a storage until it is freed."""
        size = storage.nbytes()
        self.allocated += size
        self.peak = max(self.peak, self.allocated)
        weakref.finalize(storage, self._leave, size).atexit = False

    def _leave(self, size: int) -> None:
        self.allocated -= size

    def reset(self) -> None:
        """Begin with a new peak."""
        self.peak = self.allocated
