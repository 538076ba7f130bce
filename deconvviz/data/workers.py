"""How many processes load a dataset, where the caller does not say."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

from torch import Tensor

from deconvviz.data.folder import ImageFolder

MOST = 16
IMAGES_EACH = 128  # below that a process starts in vain
BATCHES_EACH = 3  # that a process and torch keep ready


def sensible_workers(data: Any, first: Any, batch_size: int, on_the_cpu: bool) -> int:
    """Processes for a folder of image files: one for each core, or for every second one if the model needs them, too.

    None for other datasets, which may not be fit for it; where processes are not forked, since that runs the caller's
    script again; for few images; and as many as the system's shared memory has room for.

    Args:
        data: The dataset.
        first: The first image, as the network gets it; None if none can be read.
        batch_size: Number of images in a batch.
        on_the_cpu: Whether the model runs there.
    """
    fit = isinstance(data, ImageFolder) and isinstance(first, Tensor) and first.device.type == "cpu"
    if not fit or not _forks():
        return 0
    room = _shared_memory() // 2 // (BATCHES_EACH * batch_size * first.numel() * first.element_size() or 1)
    each = cores() // int(os.environ.get("LOCAL_WORLD_SIZE") or 1) // (2 if on_the_cpu else 1)
    return max(0, min(MOST, each, len(data) // IMAGES_EACH, room))


def _forks() -> bool:
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    return method == "fork" and not multiprocessing.current_process().daemon


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shared_memory() -> int:
    """Free bytes of the memory through which processes send tensors; 0 if it is not known."""
    folder = Path("/dev/shm")
    if not hasattr(os, "statvfs") or not folder.is_dir():
        return 0
    free = os.statvfs(folder)
    return free.f_bavail * free.f_frsize
