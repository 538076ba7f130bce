"""A small residual network and two images, for the tests of `DeconvNet`."""

from __future__ import annotations

import pytest
import torch

import deconvviz as dv
from tests.helpers.autograd_reference import randomised
from tests.helpers.small_networks import SmallResidual


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(1)
    return dv.DeconvNet(randomised(SmallResidual()))


@pytest.fixture(scope="module")
def x():
    return torch.randn(2, 3, 15, 13, generator=torch.Generator().manual_seed(2))
