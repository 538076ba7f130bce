"""Projections against the independent autograd reference, over architectures, and against Captum."""

from __future__ import annotations

import warnings

import pytest
import torch
import torchvision

import deconvviz as dv
from deconvviz.models.mnist import mnist_cnn
from deconvviz.models.zfnet import ZFNet
from tests.helpers.autograd_reference import randomised, reference, relative_error
from tests.helpers.small_networks import CReLU, SharedReLU, SkipBesideReLU, SmallResidual, WritesThroughViews


def check(model, x, layer, style="deconvnet", channels=3, tolerance=1e-5, **options):
    """Project a few channels of a layer for every sample and compare with the reference; the projection."""
    net = dv.DeconvNet(model, style=style)
    strongest = net.trace(x, [layer]).activations[layer]
    strongest = strongest.flatten(2).amax(-1) if strongest.ndim > 2 else strongest
    alive = (strongest != 0).all(0).nonzero().flatten().tolist()  # a dead unit's projection is zero, and shows nothing
    chosen = sorted({alive[(len(alive) - 1) * i // max(1, channels - 1)] for i in range(channels)})
    projection = net.project(x, layer, channel=chosen, **options)
    units = [(unit.sample, unit.channel, *unit.position) for unit in projection.units]
    activations, pixels = reference(model, x, layer, units, style)
    found = torch.tensor([unit.activation for unit in projection.units]).to(activations)
    assert (found - activations).norm() <= 1e-5 * activations.norm()  # of crops, added up in another order
    assert pixels.flatten(1).norm(dim=1).min() > 0, "the reference is zero, so the comparison would show nothing"
    error = relative_error(projection.pixels, pixels)
    assert error <= tolerance, f"{layer}: relative error {error:.1e}"
    return projection


TORCHVISION = {
    "alexnet": (96, ["features.0", "features.6", "features.12", "classifier.6"]),
    "vgg11_bn": (64, ["features.0", "features.11", "features.26", "classifier.3"]),
    "resnet18": (64, ["conv1", "layer2.0", "layer4.1.bn2", "fc"]),
    "googlenet": (64, ["conv1.conv", "inception3b", "inception5a.branch2.1.conv", "fc"]),
    "densenet121": (64, ["features.conv0", "features.denseblock2.denselayer5.conv2", "features.norm5", "classifier"]),
    "squeezenet1_1": (96, ["features.0", "features.6.expand3x3", "features.12", "classifier.1"]),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_models_agree_with_the_reference(name):
    size, layers = TORCHVISION[name]
    options = {"init_weights": False} if name == "googlenet" else {}
    model = randomised(getattr(torchvision.models, name)(weights=None, **options))
    x = torch.randn(2, 3, size, size)
    for layer in layers:
        projection = check(model, x, layer)
        assert not projection.provenance.linearised


def test_zfnet_agrees_with_the_reference():
    model, x = ZFNet(), torch.randn(1, 3, 224, 224)
    for layer in ("features.conv1", "features.conv3", "features.pool5", "classifier.fc8"):
        check(model, x, layer)


@pytest.mark.parametrize("style", ["deconvnet", "guided", "gradient"])
def test_mnist_cnn_agrees_with_the_reference(style):
    model, x = mnist_cnn().double(), torch.rand(3, 1, 28, 28, dtype=torch.float64)
    for layer in ("conv1", "pool1", "conv2", "fc1", "fc2"):
        check(model, x, layer, style, tolerance=1e-10)


@pytest.mark.parametrize("style", ["deconvnet", "guided", "gradient"])
@pytest.mark.parametrize("layer", ["stem", "norm", "pool", "narrow", "wide", "down", "fc"])
def test_in_place_functional_and_shared_relus(style, layer):
    model = randomised(SmallResidual()).double()
    check(model, torch.randn(2, 3, 15, 13, dtype=torch.float64), layer, style, tolerance=1e-10)


@pytest.mark.parametrize("network", [SkipBesideReLU, SharedReLU, CReLU, WritesThroughViews])
@pytest.mark.parametrize("style", ["deconvnet", "guided", "gradient"])
def test_branches_and_views_agree_with_the_reference(network, style):
    check(network().double(), torch.randn(2, 2, 9, 8, dtype=torch.float64), "last", style, tolerance=1e-10)


def test_units_in_one_batch_equal_units_alone():
    model = randomised(SmallResidual()).double()
    net, x = dv.DeconvNet(model), torch.randn(3, 3, 15, 13, dtype=torch.float64)
    together = net.project(x, "wide", position="all")
    assert len(together.units) == 3 * 8 * 4 * 4
    for row in range(0, len(together.units), 37):
        unit = together.units[row]
        alone = net.project(x[unit.sample][None], "wide", channel=unit.channel, position=unit.position)
        assert torch.allclose(together.pixels[row], alone.pixels[0], rtol=1e-12, atol=1e-14)
        assert torch.equal(together.receptive_fields[row], alone.receptive_fields[0])


def test_reconstruction_is_the_sum_over_units_where_no_rectifier_is_behind():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.MaxPool2d(2), torch.nn.Conv2d(3, 2, 2)).double()
    net, x = dv.DeconvNet(model), torch.randn(2, 1, 10, 10, dtype=torch.float64)
    whole = net.reconstruct(x, "2").pixels
    parts = net.project(x, "2", position="all").pixels.view(2, -1, 1, 10, 10).sum(1)
    assert torch.allclose(whole, parts, rtol=1e-12)


def test_reconstruction_agrees_with_the_reference():
    from tests.helpers.autograd_reference import _Replaced

    model, x = mnist_cnn().double(), torch.rand(2, 1, 28, 28, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    with _Replaced("deconvnet"):
        output = model.conv2(model.pool1(model.relu1(torch.nn.Sequential(model.conv1, *_norm(model)).eval()(leaf))))
    (expected,) = torch.autograd.grad(output, leaf, output.detach())
    found = dv.DeconvNet(model).reconstruct(x, "conv2").pixels
    assert relative_error(found, expected) <= 1e-10


def _norm(model):
    return [model.norm1] if isinstance(getattr(model, "norm1", None), torch.nn.Module) else []


CAPTUM = {
    "alexnet": (96, ["features.3", "features.10"]),
    "vgg11_bn": (64, ["features.4", "features.25"]),
    "squeezenet1_1": (96, ["features.3.expand3x3", "features.10.squeeze"]),
    "mnist": (28, ["conv1", "conv2", "fc1"]),
}


@pytest.mark.parametrize("name", CAPTUM)
def test_equals_captum_where_captum_is_right(name):
    from captum.attr import NeuronDeconvolution

    size, layers = CAPTUM[name]
    model = mnist_cnn() if name == "mnist" else randomised(getattr(torchvision.models, name)(weights=None))
    for module in model.modules():  # Captum's hooks do not stand in-place rectifiers
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    x = torch.randn(1, 1 if name == "mnist" else 3, size, size)
    net = dv.DeconvNet(model)
    for layer in layers:
        projection = net.project(x, layer, channel=[0, 5], seed="one")
        for unit, pixels in zip(projection.units, projection.pixels, strict=True):
            module = dict(model.eval().named_modules())[layer]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs = NeuronDeconvolution(model, module).attribute(x.clone(), (unit.channel, *unit.position))
            assert relative_error(pixels[None], theirs.detach()) <= 1e-5
