"""Half precision: signals travel in single precision, and neither overflow, vanish nor are rounded on the way back."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.images import read_image
from deconvviz.models.by_name import load_model
from deconvviz.projection.half_precision import wide

HALVES = [torch.float16, torch.bfloat16]


def relative_error(found, expected):
    return float((found.double() - expected.double()).norm() / expected.double().norm())


class Steep(nn.Module):
    """f(x) = factor * (x - 1) + 1, so many times: of ones it makes ones; the derivative is a power of the factor."""

    def __init__(self, factor, steps):
        super().__init__()
        self.first, self.factor, self.steps = nn.Conv2d(1, 1, 1, bias=False), factor, steps
        nn.init.ones_(self.first.weight)

    def forward(self, x):
        x = self.first(x)
        for _ in range(self.steps):
            x = (x - 1) * self.factor + 1
        return x


@pytest.mark.parametrize("window", ["auto", "full"])
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("steps", [3, 6])
def test_signals_beyond_a_half_are_neither_infinite_nor_zero(dtype, steps, window):
    model = Steep(256, steps).to(dtype)
    net = dv.DeconvNet(model)
    projection = net.project(torch.ones(2, 1, 4, 4, dtype=dtype), "output", position=(1, 2), seed="one", window=window)
    assert projection.pixels[0, 0, 1, 2] == 256.0**steps
    small = dv.DeconvNet(Steep(1 / 256, steps).to(dtype)).project(
        torch.ones(2, 1, 4, 4, dtype=dtype), "output", position=(1, 2), seed="one", window=window
    )
    assert small.pixels[0, 0, 1, 2] == 256.0**-steps
    reconstructed = net.reconstruct(torch.ones(2, 1, 4, 4, dtype=dtype), "output").pixels
    assert reconstructed.dtype == torch.float32
    assert (reconstructed == 256.0**steps).all()


class Norms(nn.Module):
    """A rule of each kind: folded norms, linearised operations, attention, slices written, an operation of dtypes."""

    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.groups, self.linear = nn.GroupNorm(2, 4), nn.Linear(4, 4)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        x = self.norm(self.a(x)).relu()
        x = torch.nn.functional.avg_pool2d(self.groups(x), 2)
        x = x.softmax(1) * x.sigmoid()
        made = x.new_zeros(x.shape)
        made[:, :, ::2] = x[:, :, ::2] * 2
        tokens = self.linear(made.flatten(2).transpose(1, 2)).float()
        return torch.nn.functional.silu(tokens).to(x.dtype).transpose(1, 2).unflatten(2, x.shape[2:])


@pytest.mark.parametrize("dtype", HALVES)
def test_whole_numbers_are_sent_back_exactly(dtype):
    """Weights of -1, 0 and 1: the way there is exact in halves, the way back in single precision alone."""
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3)]
    model = nn.Sequential(*layers, nn.Conv2d(8, 2, 1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randint(-1, 2, parameter.shape))
        model[6].weight.mul_(16)
    x, signal = torch.randint(0, 2, (2, 1, 16, 16)).float(), 512 * torch.randint(1, 9, (2, 2, 3, 3)).double()
    leaf = x.double().requires_grad_()
    model.double()(leaf).backward(signal)
    found = dv.DeconvNet(model.to(dtype), "gradient").reconstruct(x.to(dtype), "6", signal=signal)
    assert leaf.grad.abs().max() > 4096
    assert torch.equal(found.pixels.double(), leaf.grad)


@pytest.mark.parametrize("dtype", HALVES)
def test_rules_of_every_kind_run_in_single_precision(dtype):
    model, x = Norms().eval().to(dtype), torch.randn(2, 2, 8, 8).to(dtype)
    found = dv.DeconvNet(model, "gradient").project(x, "output", position=(2, 2), seed="one", window="full")
    leaf = x.double().requires_grad_()
    made = model.double()(leaf)
    assert found.pixels.dtype == torch.float32
    for unit, pixels in zip(found.units, found.pixels, strict=True):
        (expected,) = torch.autograd.grad(made[(unit.sample, unit.channel, *unit.position)], leaf, retain_graph=True)
        assert relative_error(pixels, expected[unit.sample]) < 0.1


def test_a_rule_of_a_users_own_sees_what_was_recorded(registry):
    seen = []

    @dv.rules.mirror(torch.ops.aten.atan, keeps=dv.rules.all_inputs, batchwise=True)
    def arctangent(op, signal):
        numbers = op.data(op["self"])
        seen.append((signal.dtype, numbers.dtype, op["self"].dtype))
        return signal / (1 + numbers * numbers)

    model = nn.Sequential(nn.Conv2d(1, 2, 3), Atan(), nn.Conv2d(2, 1, 3)).half()
    x = torch.randn(2, 1, 9, 9).half()
    found = dv.DeconvNet(model, "gradient").reconstruct(x, "2", signal=torch.ones(2, 1, 5, 5))
    assert set(seen) == {(torch.float16,) * 3}
    assert found.pixels.dtype == torch.float32
    leaf = x.float().requires_grad_()
    model.float()(leaf).sum().backward()
    assert relative_error(found.pixels, leaf.grad) < 5e-3


class Atan(nn.Module):
    def forward(self, x):
        return x.atan()


class EightBits(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 1, 3)

    def forward(self, x):
        return self.b(self.a(x).to(torch.float8_e4m3fn).to(x.dtype))


def test_numbers_of_eight_bits_on_the_way_do_not_round_signals():
    model, x = EightBits(), torch.randn(1, 1, 7, 7)
    found = dv.DeconvNet(model, "gradient").project(x, "b", position=(1, 1), seed="one").pixels
    leaf = x.clone().requires_grad_()
    model.b(model.a(leaf))[0, 0, 1, 1].backward()  # the type of eight bits as the identity
    assert relative_error(found, leaf.grad) < 1e-6


def test_complex_halves_travel_as_complex64():
    assert [wide(d) for d in (torch.complex32, torch.bfloat16, torch.float64)] == [
        torch.complex64,
        torch.float32,
        torch.float64,
    ]


@pytest.mark.parametrize("dtype", HALVES)
def test_squeezenet_in_half_precision(assets, dtype):
    """All activations of a late layer sent back: 1e5 to 1e6 in pixels, which a float16 cannot hold."""
    path = assets / "models" / "squeezenet1_1-imagenet.safetensors"
    model = load_model("torchvision:squeezenet1_1", path).model.to(dtype)
    image = read_image(assets / "images" / "astronaut.png")
    x = load_model("torchvision:squeezenet1_1", path).preprocess(image)[None, :, :128, :128].to(dtype)
    largest = 0.0
    for style in ("deconvnet", "gradient"):
        half, single = (dv.DeconvNet(m, style) for m in (model, copy.deepcopy(model).float()))
        for layer in ("features.6", "features.12"):
            found = half.reconstruct(x, layer).pixels
            assert torch.isfinite(found).all()
            expected = single.reconstruct(x.float(), layer).pixels
            largest = max(largest, float(expected.abs().max()))
            assert relative_error(found, expected) < 0.5  # switches fall elsewhere, see docs/performance.md
    assert largest > 65504


def test_walks_on_crops_and_on_whole_maps_agree(used):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 2, 3)).bfloat16()
    net, x = dv.DeconvNet(model), torch.rand(2, 1, 24, 24).bfloat16()
    crops = net.project(x, "3", position=(4, 4))
    assert used
    whole = net.project(x, "3", position=(4, 4), window="full")
    assert crops.pixels.dtype == whole.pixels.dtype == torch.float32
    assert relative_error(crops.pixels, whole.pixels) < 1e-6
    trace = net.trace(x, "3")
    assert relative_error(net.project(trace, "3", position=(4, 4)).pixels, whole.pixels) < 1e-6
