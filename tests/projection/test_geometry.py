"""Receptive fields against brute force: which pixels have a derivative, on networks with positive weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import deconvviz as dv
from deconvviz.projection.receptive_field import channel_axis
from deconvviz.recording.recorder import record
from tests.helpers.small_networks import FunctionNetwork

SHAPE = (1, 1, 23, 19)


def positive(module):
    for parameter in module.parameters():
        nn.init.uniform_(parameter, 0.1, 1.0)
    return module


def conv(*arguments, **options):
    return positive(nn.Conv2d(*arguments, **options)).double()


_a, _b, _c = conv(1, 2, 3, stride=2, padding=1), conv(2, 2, 3, padding=1), conv(2, 2, (3, 5), padding=(0, 2))
_dilated, _d, _e = conv(2, 2, 2, dilation=3), conv(1, 2, 1), conv(1, 2, 7, padding=3)
_up = positive(nn.ConvTranspose2d(2, 2, 3, stride=2, padding=1, output_padding=1)).double()
_linear = positive(nn.Linear(2, 3)).double()

NETWORKS = {
    "convolutions": lambda x: _c(_b(_a(x))),
    "dilation": lambda x: _c(_dilated(_a(x))),
    "average pooling": lambda x: F.avg_pool2d(_a(x), 3, 2, padding=1, ceil_mode=True),
    "adaptive pooling": lambda x: F.adaptive_avg_pool2d(_a(x), (5, 3)),
    "a skip": lambda x: _b(_a(x)) + _a(x),
    "branches joined": lambda x: torch.cat([_d(x), _e(x)], 1),
    "a transposed convolution": lambda x: _up(_b(_a(x))),
    "interpolation, nearest": lambda x: F.interpolate(_a(x), scale_factor=2),
    "interpolation, linear": lambda x: F.interpolate(_a(x), size=(17, 21), mode="bilinear"),
    "interpolation, aligned": lambda x: F.interpolate(_a(x), size=(17, 21), mode="bilinear", align_corners=True),
    "interpolation, down": lambda x: F.interpolate(_b(_a(x)), scale_factor=0.5, mode="nearest-exact"),
    "padding and cropping": lambda x: F.pad(_a(x), (2, 1, -1, 3))[:, :, 1:, ::2],
    "channels last": lambda x: _linear(_a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    "a shuffle of pixels": lambda x: F.pixel_shuffle(torch.cat([_a(x), _a(x)], 1), 2),
    "an unshuffle of pixels": lambda x: F.pixel_unshuffle(_a(x)[..., :10, :8], 2),
    "parts": lambda x: torch.cat(_b(_a(x)).split(1, 1)[::-1], 1) + _a(x).unbind(1)[0][:, None],
    "a shuffle of channels": lambda x: _b(_a(x)).view(1, 2, 1, 12, 10).transpose(1, 2).reshape(1, 2, 12, 10),
    "flattened": lambda x: _a(x).flatten(1),
    "global": lambda x: _a(x).mean((2, 3)),
    "a global gate": lambda x: _b(_a(x)) * _a(x).mean((2, 3), keepdim=True),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_receptive_fields_are_where_the_derivative_is(name):
    x = torch.rand(SHAPE, dtype=torch.float64) + 0.5
    leaf = x.clone().requires_grad_()
    made = NETWORKS[name](leaf)
    net = dv.DeconvNet(FunctionNetwork(NETWORKS[name]), "gradient")
    projection = net.project(x, "output", position="all", seed="one")
    assert len(projection.units) == made.numel()
    loose = 0
    for unit, field in zip(projection.units, projection.receptive_fields.tolist(), strict=True):
        (gradient,) = torch.autograd.grad(made[(0, unit.channel, *unit.position)], leaf, retain_graph=True)
        touched = [gradient[0, 0].abs().sum(axis).nonzero().flatten() for axis in (1, 0)]
        found = [[int(t.min()), int(t.max()) + 1] if len(t) else [0, 0] for t in touched]
        if name == "flattened":  # an axis that is merged with others sees everything
            assert field == [[0, 23], [0, 19]]
        elif name.startswith("interpolation"):  # a neighbour may have no weight, as where positions coincide
            loose += field != found
            assert all(f[0] <= t[0] and t[1] <= f[1] for f, t in zip(field, found, strict=True) if t[1])
        else:
            assert field == found or not touched[0].numel()
    assert loose < len(projection.units) / 2


def test_projections_are_zero_outside_their_receptive_field():
    model = torchvision.models.googlenet(weights=None, init_weights=False)
    projection = dv.DeconvNet(model).project(torch.randn(2, 3, 128, 128), "inception3a", channel=range(0, 256, 17))
    fields = projection.receptive_fields
    inside = [
        pixels[:, f[0, 0] : f[0, 1], f[1, 0] : f[1, 1]] for pixels, f in zip(projection.pixels, fields, strict=True)
    ]
    assert torch.allclose(torch.stack([i.abs().sum() for i in inside]), projection.pixels.abs().sum((1, 2, 3)))
    assert (fields[..., 1] - fields[..., 0]).max() < 64


@pytest.mark.parametrize(
    ("name", "layer", "stride", "size"),
    [  # published receptive fields
        ("alexnet", "features.12", 32, 195),
        ("vgg16", "features.28", 16, 196),
        ("vgg16", "features.30", 32, 212),
        ("resnet18", "layer4", 32, 435),
        ("resnet50", "layer4", 32, 427),  # with the stride in the 3 x 3, as torchvision has it
        ("googlenet", "inception4a.branch3", 16, 139 - 32),
    ],
)
def test_known_receptive_fields(name, layer, stride, size):
    options = {"init_weights": False} if name == "googlenet" else {}
    model = getattr(torchvision.models, name)(weights=None, **options)
    table = dv.DeconvNet(model).layers(torch.zeros(1, 3, 64, 64))
    assert (table[layer].stride, table[layer].receptive_field) == ((stride, stride), (size, size))


def test_the_table_of_layers():
    model = nn.Sequential(nn.Conv2d(1, 2, 5, stride=2, padding=1), nn.MaxPool2d(3, 2), nn.Flatten(), nn.Linear(18, 3))
    table = dv.DeconvNet(model).layers(torch.zeros(4, 1, 17, 17))
    assert [(row.name, row.kind, row.shape) for row in table] == [
        ("0", "Conv2d", (4, 2, 8, 8)),
        ("1", "MaxPool2d", (4, 2, 3, 3)),
        ("2", "Flatten", (4, 18)),
        ("3", "Linear", (4, 3)),
        ("output", "Sequential", (4, 3)),
    ]
    assert (table["1"].stride, table["1"].offset, table["1"].receptive_field) == ((4.0, 4.0), (-1, -1), (9, 9))
    assert table["3"].stride is table["3"].offset is table["3"].receptive_field is None
    assert str(table).splitlines()[2].split() == ["1", "MaxPool2d", *"4x2x3x3", *"4x4", *"9x9"]
    assert "<td>4 x 2 x 3 x 3</td>" in table._repr_html_()


def test_layers_whose_channels_come_last():
    model = torchvision.models.convnext_tiny(weights=None)
    net, x = dv.DeconvNet(model), torch.randn(1, 3, 64, 64)
    assert net.layers(x)["features.1.0.block.2"].shape == (1, 16, 16, 96)
    unit = net.project(x, "features.1.0.block.2", channel=95).units[0]
    activations = net.trace(x, "features.1.0.block.2").activations["features.1.0.block.2"]
    assert len(unit.position) == 2
    assert unit.activation == pytest.approx(float(activations[0, ..., 95].max()))
    assert unit.activation == pytest.approx(float(activations[(0, *unit.position, 95)]))


def test_where_the_channels_lie_behind_permutations_and_in_the_states_of_an_lstm():
    class Attention(nn.Module):
        def forward(self, x):  # (N, tokens, features) to (N, tokens, features, tokens) by way of (features, N, tokens)
            x = x.permute(2, 0, 1)
            return x * 2

    lstm = nn.LSTM(5, 7, batch_first=True, bidirectional=True).eval()
    assert _channel_axis(lstm, torch.randn(3, 4, 5), "output[0]") == 2
    assert _channel_axis(lstm, torch.randn(3, 4, 5), "output[1][0]") == 2
    moved = nn.Sequential(nn.Linear(5, 6), Attention()).eval()
    assert _channel_axis(moved, torch.randn(3, 4, 5), "output") == 1  # axis 0 is never that of channels


def _channel_axis(model: nn.Module, x: torch.Tensor, layer: str) -> int:
    tape = record(model, x)
    return channel_axis(tape, tape.layers[layer].value)


def test_on_crops_a_channel_has_the_receptive_field_of_its_own_branch(monkeypatch):
    monkeypatch.setattr("deconvviz.projection.crop_cost.UnitCrops.pay_both_ways", lambda *_: True)
    net = dv.DeconvNet(FunctionNetwork(NETWORKS["branches joined"]))
    x = torch.rand(SHAPE, dtype=torch.float64)
    found = net.project(x, "output", position=(5, 6))
    assert found.receptive_fields[:, 0].tolist() == [[5, 6], [5, 6], [2, 9], [2, 9]]
    assert torch.equal(
        found.receptive_fields, net.project(x, "output", position=(5, 6), window="full").receptive_fields
    )
