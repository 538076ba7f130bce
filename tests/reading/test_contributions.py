"""What each channel adds to a unit: with the biases on the way, all of them add up to its activation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import deconvviz as dv
from deconvviz.models import mnist_cnn
from deconvviz.reading.fed_units import FeederSearch, nearest, sources_of

torch.manual_seed(0)
PLACES = [(0, 1, (2, 1)), (1, 0, (0, 0)), (2, 3, (1, 2)), (2, 3, (0, 1))]


def fed(model, x, layer, places=PLACES, sources=None):
    net = dv.DeconvNet(model)
    trace = net.trace(x)
    search = FeederSearch(net, layer, nearest(trace, layer, sources_of(trace, net, sources)))
    return search.units(x, places)


def read_by(module, model, x):
    """What a module was given and what it returned, by hooks."""
    seen = {}
    handle = module.register_forward_hook(lambda _, args, out: seen.update(read=args[0].clone(), made=out.clone()))
    with torch.no_grad():
        model(x)
    handle.remove()
    return seen["read"], seen["made"]


def by_channel(module, read, places):
    """What each channel of what a convolution reads adds to units, one channel at a time."""
    rows = []
    with torch.no_grad():
        for channel in range(read.shape[1]):
            alone = torch.zeros_like(read)
            alone[:, channel] = read[:, channel]
            made = module._conv_forward(alone, module.weight, None)
            rows.append(torch.stack([made[(sample, at, *place)] for sample, at, place in places]))
    return torch.stack(rows, 1)


def total(found):
    return sum(added.double().sum(1) for added in found.added.values())


class Fire(nn.Module):
    """Two branches concatenated, as in SqueezeNet, pooled, and read by a convolution in groups."""

    def __init__(self):
        super().__init__()
        self.squeeze, self.left, self.right = (
            nn.Conv2d(1, 4, 3, padding=1),
            nn.Conv2d(4, 2, 1),
            nn.Conv2d(4, 4, 3, 1, 1),
        )
        self.last = nn.Conv2d(6, 4, 3, groups=2)

    def forward(self, x):
        x = self.squeeze(x).relu_()
        both = torch.cat([self.left(x).relu(), F.relu(self.right(x), inplace=True)], 1)
        return self.last(F.max_pool2d(both, 2))


def test_concatenation_and_groups_by_hand():
    model, x = Fire().double().eval(), torch.randn(3, 1, 12, 12, dtype=torch.float64)
    found = fed(model, x, "last")
    read, made = read_by(model.last, model, x)
    expected = by_channel(model.last, read, PLACES)
    assert list(found.added) == ["left", "right"]
    assert torch.allclose(torch.cat(list(found.added.values()), 1), expected)
    assert (found.added["left"][1] != 0).any()  # channel 0 reads the first group: left, and the first of right
    assert not found.added["right"][1, 1:].any()
    values = torch.stack([made[(sample, channel, *place)] for sample, channel, place in PLACES])
    assert torch.allclose(found.values, values)
    bias = model.last.bias.detach()[[channel for _, channel, _ in PLACES]]
    assert torch.allclose(total(found) + bias, values)


def test_a_skip_is_followed_to_the_layers_that_are_added_up():
    """The block's own convolution, and through the skip the one before it; the norms' shifts belong to the rest."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.inner, self.norm = nn.Conv2d(1, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1), nn.BatchNorm2d(4)
            self.last = nn.Conv2d(4, 4, 3, bias=False)

        def forward(self, x):
            x = F.relu(self.stem(x))
            return self.last(F.relu(self.norm(self.inner(x)) + x))

    model, x = Block().double().eval(), torch.randn(3, 1, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        model.norm.running_mean.normal_()
        model.norm.running_var.uniform_(0.5, 2)
        model.norm.weight.normal_()
        stem = model.stem(x).relu()
        normed = model.norm(model.inner(stem))
        kept = (normed + stem) > 0
        parts = {"norm": normed, "stem": stem}
        expected = {name: by_channel(model.last, part * kept, PLACES) for name, part in parts.items()}
    found = fed(model, x, "last")
    assert set(found.added) == {"stem", "norm"}
    for name, values in expected.items():
        assert torch.allclose(found.added[name], values)
    assert torch.allclose(total(found), found.values)  # no bias, and the shift is part of what the norm returns
    assert torch.allclose(found.part.run({}), model(x))


ACTIVATIONS = [nn.ReLU(), nn.GELU(), nn.SiLU(), nn.LeakyReLU(0.2), nn.PReLU(), nn.ELU(), nn.Tanh(), nn.Hardswish()]
NORMS = [nn.GroupNorm(2, 4, affine=False), nn.InstanceNorm2d(4), nn.LocalResponseNorm(3, alpha=0.5)]


@pytest.mark.parametrize(
    ("activation", "norm"), [*((one, nn.Identity()) for one in ACTIVATIONS), *((nn.GELU(), one) for one in NORMS)]
)
def test_all_rectifiers_and_norms_add_up(activation, norm):
    """What is zero at zero adds up to the activation, without any bias."""
    convolution = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, bias=False)
    model = nn.Sequential(convolution[0], norm, activation, nn.MaxPool2d(2), convolution[1]).double().eval()
    x = torch.randn(3, 1, 12, 12, dtype=torch.float64)
    found = fed(model, x, "4")
    assert list(found.added) == ["0"]
    assert torch.allclose(total(found), found.values)
    read, made = read_by(model[4], model, x)
    if not isinstance(norm, nn.GroupNorm):  # it mixes channels
        assert torch.allclose(found.added["0"], by_channel(model[4], read, PLACES))
    assert torch.equal(found.part.run({}), made)


def test_a_gate_is_held_and_its_value_goes_to_what_it_lets_through():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.gate, self.last = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, bias=False)

        def forward(self, x):
            x = self.first(x)
            return self.last(x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True))) / x.norm())

    model, x = Gated().double().eval(), torch.randn(1, 1, 9, 9, dtype=torch.float64)
    places = [(0, 1, (2, 1)), (0, 3, (0, 0))]
    found = fed(model, x, "last", places)
    read, _ = read_by(model.last, model, x)
    assert torch.allclose(found.added["first"], by_channel(model.last, read, places))
    assert not found.added.get("gate", torch.zeros(1)).any()


def test_the_first_layer_reads_the_image_and_a_linear_layer_reads_channels():
    model, x = mnist_cnn().double(), torch.rand(3, 1, 28, 28, dtype=torch.float64)
    first = fed(model, x, "conv1", [(0, 3, (5, 5)), (2, 7, (20, 3))])
    assert list(first.added) == ["input"]
    assert torch.allclose(total(first) + model.conv1.bias.detach()[[3, 7]], first.values)
    found = fed(model, x, "fc1", [(0, 5, ()), (1, 9, ())])
    read, _ = read_by(model.fc1, model, x)
    weight = model.fc1.weight.detach()[[5, 9]]
    expected = (weight * read[:2]).view(2, 48, -1).sum(2)
    assert torch.allclose(found.added["conv2"], expected)


def test_functional_networks_half_precision_and_a_layer_that_is_named():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.w1, self.w2 = nn.Parameter(torch.randn(4, 1, 3, 3)), nn.Parameter(torch.randn(4, 4, 3, 3))

        def forward(self, x):
            return F.conv2d(F.relu(F.conv2d(x, self.w1)), self.w2)

    model, x = Functional(), torch.randn(3, 1, 9, 9)
    found = fed(model, x, "conv2d_1")
    assert list(found.added) == ["conv2d"]
    assert torch.allclose(total(found).float(), found.values, atol=1e-4)
    named = fed(model, x, "conv2d_1", sources=["relu"])
    assert torch.allclose(named.added["relu"], found.added["conv2d"], atol=1e-5)
    half = fed(Functional().bfloat16(), x.bfloat16(), "conv2d_1")
    assert torch.allclose(total(half).float(), half.values.float(), rtol=0.1, atol=0.3)


def test_removing_a_channel_is_what_the_network_does_without_it():
    model, x = mnist_cnn(), torch.rand(3, 1, 28, 28)
    found = fed(model, x, "conv2", [(0, 3, (5, 5)), (1, 20, (7, 3)), (2, 41, (0, 13))])
    handle = model.conv1.register_forward_hook(lambda _, args, out: out.index_fill(1, torch.tensor([2, 9]), 0))
    _, made = read_by(model.conv2, model, x)
    handle.remove()
    values = torch.stack([made[0, 3, 5, 5], made[1, 20, 7, 3], made[2, 41, 0, 13]])
    assert torch.allclose(found.without([("conv1", 2), ("conv1", 9)]), values, atol=1e-6)
    assert torch.equal(found.without([]), found.values)
