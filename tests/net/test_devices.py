"""A network on an accelerator gives what it gives on the CPU: whole maps and windows, in all styles."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.images import Preprocess
from deconvviz.models.mnist import mnist_cnn
from tests.helpers.pretend_device import pretending
from tests.helpers.small_networks import SmallResidual


class GroupsAndAttention(nn.Module):
    """Patches, depthwise and grouped convolutions, attention over positions with a learned offset, layer norms."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 2, stride=2)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 8, 1, groups=4)
        self.places = nn.Parameter(torch.randn(1, 36, 8))
        self.norm, self.attention = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        x = x + F.gelu(self.grouped(self.depthwise(x)))
        tokens = self.norm(x.flatten(2).transpose(1, 2) + self.places)
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.last(tokens.mean(1))


def plain() -> nn.Module:
    first, second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ELU(), nn.Flatten(), nn.Linear(200, 4))


def one_dimensional() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(3, 6, 5, stride=2), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(6, 8, 3), nn.ReLU()
    )


IMAGES, SEQUENCES, DIGITS = (2, 3, 12, 12), (2, 3, 40), (2, 1, 28, 28)
NETWORKS = {  # how it is made, shape of its input, an early and a late layer
    "plain": (plain, IMAGES, ("0", "3")),
    "residual": (SmallResidual, IMAGES, ("stem", "wide")),
    "attention": (GroupsAndAttention, IMAGES, ("depthwise", "last")),
    "1-D": (one_dimensional, SEQUENCES, ("0", "4")),
    "reference": (mnist_cnn, DIGITS, ("conv1", "conv2")),
}
STYLES = ("deconvnet", "guided", "gradient")


@functools.cache
def made(name: str) -> tuple[nn.Module, Tensor]:
    """A network in double precision, with batch norms that do something, and its input."""
    build, shape, _ = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build().double().eval()
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        return model, torch.randn(shape, dtype=torch.float64)


def on(model: nn.Module, device: str) -> nn.Module:
    return copy.deepcopy(model).to(device)


def agrees(found: object, expected: object) -> None:
    """Two projections or reconstructions are equal to rounding; the first one was computed on an accelerator."""
    assert found.pixels.device.type != "cpu"
    assert found.images.device.type == "cpu"
    torch.testing.assert_close(found.pixels.cpu(), expected.pixels, rtol=1e-10, atol=1e-12)
    assert torch.equal(found.images, expected.images)
    if hasattr(expected, "units"):
        numbers = [[(one.sample, one.channel, one.position) for one in each.units] for each in (found, expected)]
        assert numbers[0] == numbers[1]
        values = [torch.tensor([one.activation for one in each.units]) for each in (found, expected)]
        torch.testing.assert_close(*values)


def calls(net: dv.DeconvNet, x: Tensor, name: str):
    """Whole maps and windows, units of one image and of several, one channel and all, and a whole layer."""
    for layer in NETWORKS[name][2]:
        positions = len(net.layers(x)[layer].shape) - 2
        yield net.project(x, layer, channel=[0, 1])
        yield net.project(x, layer, channel=1, position=(1,) * positions, window="full")
        yield net.project(x, layer, position=(2,) * positions)
        yield net.project_units(
            x, layer, [(1, 0, (0,) * positions), (0, 2, (2,) * positions), (1, 2, (1,) * positions)], seed="one"
        )
        yield net.project(net.trace(x, layer), layer, channel=2)
        yield net.reconstruct(x, layer)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", NETWORKS)
def test_projections_are_those_of_the_cpu(name, style):
    model, x = made(name)
    expected = list(calls(dv.DeconvNet(model, style), x, name))
    with pretending() as device:
        found = calls(dv.DeconvNet(on(model, device.name), style), x.to(device.name), name)
        for one, other in zip(found, expected, strict=True):
            agrees(one, other)


@pytest.mark.parametrize("kind", ["xpu", "mps"])
def test_other_accelerators_run_the_same_code(kind):
    model, x = made("residual")
    model, x = on(model, "cpu").float(), x.float()  # mps has no double precision
    expected = dv.DeconvNet(model)
    with pretending(kind) as device:
        net = dv.DeconvNet(on(model, device.name))
        for position in ("max", (1, 1)):
            pixels = net.project(x, "wide", position=position).pixels
            assert pixels.device == device.device
            torch.testing.assert_close(pixels.cpu(), expected.project(x, "wide", position=position).pixels)


@pytest.mark.parametrize("position", ["max", (1, 1)])
def test_tensors_given_elsewhere_are_moved_to_the_model(position):
    model, x = made("residual")
    expected = dv.DeconvNet(model).project(x, "wide", position=position)
    with pretending() as device:
        net = dv.DeconvNet(on(model, device.name))
        agrees(net.project(x, "wide", position=position), expected)
        agrees(net.project((x,), "wide", position=position), expected)
        agrees(net.project(net.trace(x), "wide", position=position), expected)
        assert len(net.layers(x)) == len(dv.DeconvNet(model).layers(x))
        there = x.to(device.name)
        back = dv.DeconvNet(model).project(there, "wide", position=position)
    assert torch.equal(back.pixels, expected.pixels)  # from the device to a model on the CPU


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("accelerator", [False, True])
def test_files_and_pil_images_get_the_models_type_and_device(tmp_path, dtype, accelerator):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    image, path = Image.fromarray(pixels), tmp_path / "image.png"
    image.save(path)
    model, preprocess = on(made("plain")[0], "cpu").to(dtype), Preprocess(12)
    expected = dv.DeconvNet(model).project(preprocess(image)[None].to(dtype), "3", channel=[0, 1])
    with pretending() as device:
        net = dv.DeconvNet(on(model, device.name if accelerator else "cpu"), preprocess=preprocess)
        for given in (image, path, [path], str(path)):
            for found in (net.project(given, "3", channel=[0, 1]), net.project(net.trace(given), "3", channel=[0, 1])):
                assert found.pixels.device.type == (device.device.type if accelerator else "cpu")
                assert torch.equal(found.pixels.cpu(), expected.pixels)
        assert net.reconstruct(path, "3").pixels.dtype == expected.pixels.dtype
        assert len(net.layers(path)) == len(net.layers(preprocess(image)[None].to(dtype)))


def test_a_tensor_keeps_its_type():
    net = dv.DeconvNet(on(made("plain")[0], "cpu").half())
    with pytest.raises(dv.errors.InputError, match="convert one of them"):
        net.project(torch.rand(1, 3, 12, 12), "3")
