"""Random images and labels, for the tests of training."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def samples() -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    images = torch.rand(30, 1, 2, 2, generator=draws, dtype=torch.float64)
    return images, torch.randint(0, 3, (30,), generator=draws)
