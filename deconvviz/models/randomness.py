"""Seeded random numbers that leave the caller's generators unchanged.

Every use has its own seed, derived from the run's seed and the name of the use, such as the order of epoch 3. So no
generator's state has to be stored to resume an interrupted run.
"""

from __future__ import annotations

import hashlib

import torch

from deconvviz.recording import random_state


def derived_seed(seed: int, *use: str | int) -> int:
    """A seed in [0, 2**63) for one use of a run's seed: the start of a SHA-256 digest of both.

    >>> derived_seed(0, "order", 1) == derived_seed(0, "order", 1) != derived_seed(0, "order", 2)
    True
    """
    digest = hashlib.sha256("/".join(map(str, (seed, *use))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *use: str | int) -> torch.Generator:
    """A separate CPU generator for one use of a run's seed."""
    return torch.Generator().manual_seed(derived_seed(seed, *use))


def seed_global(device: torch.device, seed: int, *use: str | int) -> None:
    """Seed the global generators of the CPU and of `device`, from which layers such as dropout draw."""
    random_state.seed(device, derived_seed(seed, *use))
