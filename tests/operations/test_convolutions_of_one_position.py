"""A convolution whose kernel covers its input is a product with one matrix, forward and back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.operations.convolution import convolve

aten = torch.ops.aten
LAYOUTS = {3: (torch.contiguous_format,), 4: (torch.contiguous_format, torch.channels_last)}
LAYOUTS[5] = (torch.contiguous_format, torch.channels_last_3d)
CONV = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}


@pytest.mark.parametrize("rank", LAYOUTS)
@pytest.mark.parametrize("bias", [True, False])
def test_forward_is_the_convolution(rank, bias):
    kernel = (2, 3, 4)[: rank - 2]
    weight, x = torch.randn(5, 3, *kernel).double(), torch.randn(7, 3, *kernel).double()
    numbers = torch.randn(5).double() if bias else None
    ones, zeros = [1] * len(kernel), [0] * len(kernel)
    for layout in LAYOUTS[rank]:
        laid = weight.contiguous(memory_format=layout), x.contiguous(memory_format=layout)
        made = convolve(laid[1], laid[0], numbers, ones, zeros, ones, False, zeros, 1)
        expected = aten.convolution(x, weight, numbers, ones, zeros, ones, False, zeros, 1)
        torch.testing.assert_close(made, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("rank", LAYOUTS)
@pytest.mark.parametrize("window", ["auto", "full"])
def test_the_way_back_is_the_transposed_convolution(rank, window):
    kernel = (2, 3, 4)[: rank - 2]
    conv = CONV[rank](3, 5, kernel).double()
    for layout in LAYOUTS[rank]:
        model = nn.Sequential(conv.to(memory_format=layout))
        x = torch.randn(2, 3, *kernel).double().contiguous(memory_format=layout)
        pixels = dv.DeconvNet(model).project(x, "0", channel=[1, 4], window=window).pixels
        activations = conv(x).flatten(1).detach()
        expected = torch.stack([activations[n, c] * conv.weight[c] for n in range(2) for c in (1, 4)])
        torch.testing.assert_close(pixels, expected.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 6, 3, groups=2),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.ConvTranspose2d(4, 6, 3),
        nn.Conv2d(4, 6, 2, dilation=2),
        nn.Conv2d(4, 6, 3, stride=2),
    ],
    ids=str,
)
def test_other_convolutions_of_such_inputs_are_right(conv):
    conv, x = conv.double(), torch.randn(3, 4, 3, 3).double()
    pixels = dv.DeconvNet(nn.Sequential(conv)).project(x, "0", channel=2, position=(0, 0)).pixels
    leaf = x.clone().requires_grad_()
    made = conv(leaf)[:, 2, 0, 0]
    (expected,) = torch.autograd.grad((made * made.detach()).sum(), leaf)
    torch.testing.assert_close(pixels, expected, rtol=0, atol=1e-12)
