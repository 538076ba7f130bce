"""Networks that are no plain CNN, and those with operations of their own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.errors import UnsupportedOperation
from tests.helpers.autograd_functions import InPlace, NewStyle
from tests.helpers.autograd_reference import reference
from tests.helpers.small_networks import Around


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.deep = nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.up, self.last = nn.ConvTranspose2d(4, 4, 2, stride=2), nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x):
        y = F.relu(self.deep(F.relu(self.down(x))))
        return self.last(torch.cat([F.relu(self.up(y)), x], 1))


class CRNN(nn.Module):
    """Convolutions, then an LSTM over the columns, as in text recognition."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(1, 6, 3, padding=1), nn.MaxPool2d(2)
        self.rnn, self.read = nn.LSTM(24, 5, bidirectional=True, batch_first=True), nn.Linear(10, 4)

    def forward(self, x):
        x = self.pool(F.relu(self.conv(x)))
        columns = x.permute(0, 3, 1, 2).flatten(2)
        return self.read(self.rnn(columns)[0])


class Video(nn.Module):
    """Frames through two-dimensional convolutions, then over time."""

    def __init__(self):
        super().__init__()
        self.frame, self.time = nn.Conv2d(2, 4, 3), nn.Conv1d(4, 3, 2)

    def forward(self, x):
        n, t = x.shape[:2]
        x = F.relu(self.frame(x.flatten(0, 1))).mean((2, 3))
        return self.time(x.view(n, t, -1).transpose(1, 2))


class Stem(nn.Module):
    """A convolution stem and one transformer layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 8, 3))
        self.attend = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)

    def forward(self, x):
        return self.attend(self.stem(x).flatten(2).transpose(1, 2))


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode, self.squeeze, self.spread = nn.Conv2d(2, 4, 3), nn.Linear(4 * 36, 5), nn.Linear(5, 4 * 36)
        self.decode = nn.ConvTranspose2d(4, 2, 3)

    def forward(self, x):
        code = self.squeeze(F.relu(self.encode(x)).flatten(1))
        return self.decode(F.relu(self.spread(code)).view(-1, 4, 6, 6))


OTHERS = {
    "a U-Net": (UNet, (2, 2, 8, 10), ["deep", "up", "last"], set()),
    "a CRNN": (CRNN, (2, 1, 8, 12), ["conv", "pool", "read"], {"aten.tanh", "aten.sigmoid", "aten.mul"}),
    "a video network": (Video, (2, 3, 2, 6, 7), ["frame", "time"], set()),
    "a transformer's stem": (
        Stem,
        (2, 2, 9, 9),
        ["stem.0", "stem.2", "attend"],
        {"torch.nn.functional.multi_head_attention_forward", "aten.native_layer_norm"},
    ),
    "an autoencoder": (Autoencoder, (2, 2, 8, 8), ["encode", "squeeze", "decode"], set()),
}


@pytest.mark.parametrize("name", OTHERS)
def test_networks_that_are_no_plain_cnn(name):
    kind, shape, layers, linearised = OTHERS[name]
    model, x = kind().double().eval(), torch.randn(shape, dtype=torch.float64)
    net = dv.DeconvNet(model)
    for layer in layers:
        projection = net.project(x, layer, position="all")
        made = net.trace(x, layer).activations[layer]
        rows = len(made) // len(x)
        chosen = range(0, len(projection.units), max(1, len(projection.units) // 7))
        for number in chosen:
            unit = projection.units[number]
            index = _index(unit, rows, layer)
            assert float(made[index]) == pytest.approx(unit.activation, rel=1e-12)
            _, expected = reference(model, x, layer, [index], of_sample=unit.sample)
            assert (projection.pixels[number] - expected[0]).norm() <= 1e-10 * expected.norm()
        if layer == layers[-1]:
            assert {label.split(" in ")[0] for label in projection.provenance.linearised} >= linearised


def _index(unit, rows, layer):
    if layer in ("read", "attend"):  # channels last
        return (unit.sample, *unit.position, unit.channel)
    if rows > 1:
        return (unit.sample * rows + unit.position[0], unit.channel, *unit.position[1:])
    return (unit.sample, unit.channel, *unit.position)


def test_frames_of_a_video_are_rows_of_their_sample():
    model, x = Video().double(), torch.randn(2, 3, 2, 6, 7, dtype=torch.float64)
    projection = dv.DeconvNet(model).project(x, "frame", channel=1, position=(2, 0, 1), seed="one")
    assert [(u.sample, u.position) for u in projection.units] == [(0, (2, 0, 1)), (1, (2, 0, 1))]
    for pixels in projection.pixels:
        assert float(pixels[:2].abs().max()) == 0
        assert torch.allclose(pixels[2, :, 0:3, 1:4], model.frame.weight[1])


# Autograd functions and operators of one's own


class Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, gradient):
        return 5 * gradient


rounded = Rounded.apply  # as people keep it


@pytest.mark.parametrize(
    ("function", "factor"), [(rounded, 5), (lambda x: NewStyle.apply(x, 3.0), 21), (lambda x: InPlace.apply(x * 1), 11)]
)
def test_autograd_functions_keep_their_own_backward(function, factor):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1)

        def forward(self, x):
            return self.last(function(self.first(x)))

    model, before = Model(), Rounded.__dict__["forward"]
    projection = dv.DeconvNet(model).project(torch.rand(2, 1, 4, 4), "last", channel=0, seed="one")
    value = factor * (model.last.weight[0, :, 0, 0] * model.first.weight[:, 0, 0, 0]).sum().item()
    for unit, pixels in zip(projection.units, projection.pixels, strict=True):
        assert float(pixels[(0, *unit.position)]) == pytest.approx(value, rel=1e-5)
    assert len(projection.provenance.linearised) == 1
    assert Rounded.__dict__["forward"] is before


def test_an_operator_without_a_derivative_is_refused():
    @torch.library.custom_op("tests::opaque", mutates_args=())
    def opaque(x: Tensor) -> Tensor:
        return x * 2

    model = Around(nn.Conv2d(1, 1, 1), lambda inner, x: opaque(inner(x)))
    net, x = dv.DeconvNet(model), torch.rand(1, 1, 3, 3)
    assert net.project(x, "inner", channel=0).pixels.abs().sum() > 0
    with pytest.raises(UnsupportedOperation, match=r"tests.opaque in opaque has neither a mirror nor a derivative"):
        net.project(x, "output", channel=0)
