"""Models whose modules hold weights that are computed from parameters: copies of them work, and compute anew."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import deconvviz as dv
from deconvviz import evidence
from deconvviz.evidence.randomisation import copied, copy_with_random_weights
from deconvviz.experiments import decoding
from deconvviz.explorer.networks import Networks

QUIET: Any = {"progress": False}
IMAGES = torch.rand(8, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def normed(norm: Callable[[nn.Module], nn.Module]) -> nn.Sequential:
    """A network whose first convolution has a computed weight, as torch's older norms hold it."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has newer ones
        first = norm(nn.Conv2d(1, 4, 3))
    return nn.Sequential(first, nn.ReLU(), nn.Conv2d(4, 3, 3)).eval()


NORMS = {"weight_norm": nn.utils.weight_norm, "spectral_norm": nn.utils.spectral_norm}


@pytest.fixture(params=NORMS)
def model(request: pytest.FixtureRequest) -> nn.Sequential:
    made = normed(NORMS[request.param])
    with torch.enable_grad():
        made(IMAGES)  # as after training: the weight has a history
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(made)
    return made


def test_a_copy_computes_the_same_and_a_random_one_other_weights(model: nn.Sequential) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        torch.testing.assert_close(copied(model)(IMAGES), model(IMAGES))
        random = copy_with_random_weights(model, 0)
        found = random[0](IMAGES)
    expected: Tensor
    if "0.weight_g" in before:
        direction = random.get_parameter("0.weight_v")
        size = direction.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        expected = random.get_parameter("0.weight_g") * direction / size
    else:
        weight, u, v = (random.state_dict()[f"0.weight_{name}"] for name in ("orig", "u", "v"))
        expected = weight / (u @ weight.flatten(1) @ v)
    torch.testing.assert_close(found, nn.functional.conv2d(IMAGES, expected.detach(), random.get_parameter("0.bias")))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_all_that_copies_a_model_takes_it(model: nn.Sequential) -> None:
    net = dv.DeconvNet(model)
    assert evidence.randomisation(net, IMAGES[:2], "2", methods="gradient", seeds=1, **QUIET).layers == ("2", "0")
    assert evidence.deletion(net, IMAGES[:2], "2", methods="gradient", steps=2, seeds=1, **QUIET).gains
    assert evidence.leak(net, IMAGES[:2], "2", seeds=1, **QUIET).by_image.shape == (2, 2)
    assert evidence.clarity(net, IMAGES[:2], **QUIET).layers
    assert (
        dv.diff(net, net, IMAGES, pictures=0, **QUIET).overall == "The networks have the same channels over 8 images."
    )
    assert decoding(net, IMAGES, seeds=1, **QUIET).layers == ("0", "1", "2")
    compared = dv.compare(net, IMAGES[:1], layer="2", methods=["NeuronGradient"], **QUIET)
    own = dv.DeconvNet(model, "gradient").project_units(
        IMAGES[:1], "2", [(0, compared.unit.channel, compared.unit.position)], seed="one"
    )
    torch.testing.assert_close(compared["NeuronGradient"].pixels, own.pixels[0])
    assert Networks(net, IMAGES).net("guided", random=True).style.name == "guided"


def test_a_copy_with_random_weights_is_as_strict_as_the_network() -> None:
    from deconvviz.evidence.randomisation import with_random_weights

    assert with_random_weights(dv.DeconvNet(nn.Conv2d(1, 1, 1), strict=True), 0).strict
