"""On a CUDA device: float64 agrees with the CPU to 1e-10, on whole maps and windows. The pretend device skips there."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

import deconvviz as dv
from tests.net.test_devices import NETWORKS, STYLES, calls, made, on

NAMES = (
    "squeezenet1_1",
    "resnet18",
    "densenet121",
    "mobilenet_v2",
    "shufflenet_v2_x0_5",
    "regnet_y_400mf",
    "convnext_tiny",
)
pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found.cpu() - expected).norm() / expected.norm().clamp_min(1e-300))


def agrees(found: object, expected: object) -> None:
    assert found.pixels.is_cuda
    assert relative(found.pixels, expected.pixels) < 1e-10
    if hasattr(expected, "units"):
        places = [[(one.sample, one.channel, one.position) for one in each.units] for each in (found, expected)]
        assert places[0] == places[1]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", NETWORKS)
def test_small_networks_are_exact(name: str, style: str) -> None:
    model, x = made(name)
    expected = calls(dv.DeconvNet(model, style), x, name)
    found = calls(dv.DeconvNet(on(model, "cuda"), style), x.cuda(), name)
    for one, other in zip(found, expected, strict=True):
        agrees(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_torchvision_networks_are_exact(name: str) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
        if hasattr(module, "layer_scale"):
            module.layer_scale.data.fill_(1.0)
    x = torch.randn(2, 3, 96, 96, dtype=torch.float64)
    here, there = dv.DeconvNet(model), dv.DeconvNet(on(model, "cuda"))
    convolutions = [layer.name for layer in here.layers(x) if layer.kind == "Conv2d"]
    for layer in {convolutions[0], convolutions[len(convolutions) // 2], convolutions[-1]}:
        expected = here.project(x, layer, channel=[0, 1])
        agrees(there.project(x.cuda(), layer, channel=[0, 1]), expected)
        agrees(there.project(x, layer, channel=[0, 1]), expected)  # moved to the model
        place = expected.units[0].position
        agrees(
            there.project(x.cuda(), layer, channel=[0, 1], position=place),
            here.project(x, layer, channel=[0, 1], position=place),
        )
        agrees(there.reconstruct(x.cuda(), layer), here.reconstruct(x, layer))


def test_scans_find_the_same_units_from_tensors_on_either_device() -> None:
    model, x = made("residual")
    many = torch.cat([x, x.flip(3), -x, x * 2])
    options = {"layers": ["stem", "wide"], "k": 3, "batch_size": 3, "progress": False}
    expected = dv.scan(dv.DeconvNet(model), many, **options)
    for images in (many, many.cuda()):
        found = dv.scan(dv.DeconvNet(on(model, "cuda")), images, **options)
        for layer in expected.layers:
            assert torch.equal(found.images[layer], expected.images[layer])
            assert relative(found.values[layer], expected.values[layer]) < 1e-10
