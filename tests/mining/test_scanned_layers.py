"""Scans of layers other than convolutions of images: sequences, calls of functions, maps of several sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.errors import InputError, UnknownLayerError
from tests.helpers.brute_force import brute_force


class Sequences(nn.Module):
    """Convolutions over (N, C, L), then channels last, then an LSTM that has time first."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.rnn = nn.Conv1d(2, 5, 3), nn.LayerNorm(5), nn.LSTM(5, 4)

    def forward(self, x):
        x = self.norm(self.conv(x).transpose(1, 2)).relu()
        return self.rnn(x.transpose(0, 1))[0]


def test_channels_last_functional_calls_and_sequences():
    net, images = dv.DeconvNet(Sequences().eval()), torch.randn(20, 2, 12)
    top = dv.scan(net, images, layers=["norm", "relu"], k=3, batch_size=7, progress=False)
    with torch.no_grad():
        every = net.model.norm(net.model.conv(images).transpose(1, 2)).transpose(1, 2)
    values, numbers, places = brute_force(every, 3)
    assert torch.allclose(top.values["norm"], values, 1e-5)
    assert torch.equal(top.images["norm"], numbers)
    assert torch.equal(top.positions["norm"], places)
    assert torch.equal(top.values["relu"], top.values["norm"].clamp(min=0))
    with pytest.raises(InputError, match=r"'rnn\[0\]' mixes the samples of a batch; scan it with batch_size=1"):
        dv.scan(net, images, layers="rnn[0]", progress=False)
    alone = dv.scan(net, images, layers="rnn[0]", k=1, batch_size=1, progress=False)
    with torch.no_grad():
        outputs = torch.stack([net.model(image[None])[:, 0] for image in images])  # (N, time, channels)
    assert torch.allclose(alone.values["rnn[0]"][:, 0], outputs.amax((0, 1)).double(), 1e-5)


def test_calls_of_a_function_are_counted_alike_with_and_without_a_tape():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.offset = nn.Conv2d(1, 2, 3), nn.Parameter(torch.ones(2, 1, 1))

        def forward(self, x):
            return torch.relu(self.conv(x)) * torch.relu(self.offset)

    net = dv.DeconvNet(Twice())
    assert "relu" in [layer.name for layer in net.layers(torch.randn(1, 1, 5, 5))]
    images = torch.randn(3, 1, 5, 5)
    assert dv.scan(net, images, layers="relu", k=1, progress=False).values["relu"].shape == (2, 1)

    class First(Twice):
        def forward(self, x):
            return torch.relu(self.offset) * torch.relu(self.conv(x))

    with pytest.raises(UnknownLayerError, match="no layer 'relu' in First; did you mean 'relu_1'"):
        dv.scan(dv.DeconvNet(First()), images, layers="relu", progress=False)
    first = dv.DeconvNet(First())
    top = dv.scan(first, images, layers="relu_1", k=1, progress=False)
    with torch.no_grad():
        expected = first.model.conv(images).relu().amax((2, 3)).amax(0)
    assert torch.allclose(top.values["relu_1"][:, 0], expected.double())
    assert torch.equal(first.trace(images, "relu_1").activations["relu_1"].amax((0, 2, 3)), expected)

    class Between(First):
        def __init__(self):
            super().__init__()
            self.behind = nn.Conv2d(2, 1, 2)

        def forward(self, x):
            return torch.relu(self.behind(super().forward(x)))  # here the other call's maps are of another size

    between = dv.DeconvNet(Between())
    top = dv.scan(between, images, layers="relu_2", k=1, progress=False)
    with torch.no_grad():
        assert top.values["relu_2"].item() == pytest.approx(float(between.model(images).max()))


def test_images_of_different_sizes_one_at_a_time():
    model = nn.Sequential(nn.Conv2d(1, 2, 3)).eval()
    images = [torch.randn(1, size, size + 2) for size in (9, 30, 14)]
    top = dv.scan(dv.DeconvNet(model), images, k=3, batch_size=1, progress=False)
    for channel in range(2):
        for value, number, place in zip(
            top.values["0"][channel], top.images["0"][channel], top.positions["0"][channel], strict=True
        ):
            with torch.no_grad():
                found = model(images[number][None])[0, channel]
            assert float(found[tuple(place)]) == float(found.max()) == pytest.approx(float(value))
    with pytest.raises(InputError, match="images 0 and 1 have shapes"):
        dv.scan(dv.DeconvNet(model), images, progress=False)
