"""What runs inside of an autograd function is no layer: the function is one operation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import deconvviz as dv


class Signed(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return torch.sign(x) * 2

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx, signal):
        return signal * (ctx.saved_tensors[0].abs() < 1)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(Signed.apply(self.first(x)))


def test_layers_behind_an_autograd_function():
    x = torch.randn(2, 1, 8, 8)
    table = dv.DeconvNet(Network()).layers(x)
    assert [layer.name for layer in table] == ["first", "last", "output"]
    assert [layer.receptive_field for layer in table] == [(3, 3), None, None]
