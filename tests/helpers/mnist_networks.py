"""Small networks for images of MNIST's size, and random images."""

from __future__ import annotations

import torch

from deconvviz.models import MnistCNN, initialised


def small(seed: int = 0, **options: object) -> MnistCNN:
    return initialised(seed, **{"channels": (3, 4), "width": 8, **options})


def digits(count: int) -> torch.Tensor:
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(1))
