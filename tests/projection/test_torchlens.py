"""TorchLens, the most exact peer: equal to us on networks of ReLUs alone, and what it refuses or gets wrong.

Where a test finds a difference, it also asserts that TorchLens is the one that is wrong, so the README is corrected
when a release of TorchLens mends it.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import deconvviz as dv
from tests.helpers.autograd_reference import reference, relative_error
from tests.helpers.small_networks import CReLU, SharedReLU, SkipBesideReLU

attribution = pytest.importorskip("torchlens.attribution")


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.first(x)))


def errors(model: nn.Module) -> tuple[float, float]:
    """Our error and that of TorchLens for one unit of the last layer, against autograd with replaced rectifiers."""
    torch.manual_seed(0)
    x = torch.randn(1, 2, 9, 9)
    model = model.eval()
    layer = list(dict(model.named_modules()))[-1]
    ours = dv.DeconvNet(model).project(x, layer, channel=strongest(model(x)), seed="one")
    unit = ours.units[0]
    _, expected = reference(model, x, layer, [(0, unit.channel, *unit.position)])
    theirs = deconvolution(model, x, (unit.channel, *unit.position))
    expected = expected / unit.activation
    return relative_error(ours.pixels, expected), relative_error(theirs, expected)


def strongest(made: Tensor) -> int:
    return int(made[0].flatten(1).amax(1).argmax())


def deconvolution(model: nn.Module, x: Tensor, unit: tuple[int, ...] = (1, 1, 2)) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result: Any = attribution.deconvolution(model, x, target=lambda made: made[(0, *unit)])
    return next(value for value in vars(result).values() if isinstance(value, Tensor) and value.shape == x.shape)


@pytest.mark.parametrize("network", [Functional, SkipBesideReLU, SharedReLU, CReLU])
def test_networks_of_relus_alone_agree(network):
    ours, theirs = errors(network())
    assert ours <= 1e-5
    assert theirs <= 1e-5


@pytest.mark.parametrize("rectifier", [nn.ReLU6, nn.SiLU, nn.GELU])
def test_it_refuses_other_rectifiers(rectifier):
    model = nn.Sequential(nn.Conv2d(2, 4, 3), rectifier(), nn.Conv2d(4, 3, 3)).eval()
    x = torch.randn(1, 2, 9, 9)
    with pytest.raises(Exception, match=r"(?i)relu"):
        deconvolution(model, x)
    projection = dv.DeconvNet(model).project(x, "2", channel=strongest(model(x)))
    unit = projection.units[0]
    _, expected = reference(model, x, "2", [(0, unit.channel, *unit.position)])
    assert relative_error(projection.pixels, expected) <= 1e-5


def test_hardswish_beside_a_relu_is_left_as_its_gradient():
    layers = [nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Hardswish(), nn.Conv2d(4, 3, 1)]
    ours, theirs = errors(nn.Sequential(*layers))
    assert ours <= 1e-5
    assert theirs > 0.1


def test_contrast_normalisation_is_differentiated_not_passed_through():
    layers = [nn.Conv2d(2, 6, 3), nn.ReLU(), nn.LocalResponseNorm(5, alpha=2), nn.Conv2d(6, 3, 3)]
    ours, theirs = errors(nn.Sequential(*layers))
    assert ours <= 1e-5
    assert theirs > 0.1
