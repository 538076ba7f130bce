"""Batch norm by running statistics, with a signal laid out as tokens: torch's own backward is wrong for one sample."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deconvviz as dv
from tests.helpers.autograd_reference import reference


class OfTokens(nn.Module):
    """A map normalised and cut into four areas of four tokens each, as in area attention."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.read = nn.Conv2d(2, 6, 1), nn.BatchNorm2d(6), nn.Conv1d(6, 3, 3, padding=1)
        self.norm.running_mean.uniform_(-1, 1)
        self.norm.running_var.uniform_(0.5, 1.5)

    def forward(self, x):
        areas = self.norm(self.conv(x)).flatten(2).transpose(1, 2).reshape(len(x) * 4, 4, 6)
        return self.read(areas.permute(0, 2, 1).contiguous() * 2)


@pytest.mark.parametrize("samples", [1, 2])
def test_batch_norm_with_a_signal_of_tokens(samples):
    model = OfTokens().double().eval()
    x, direction = (torch.randn(samples, 2, 4, 4, dtype=torch.float64) for _ in range(2))
    projection = dv.DeconvNet(model, "gradient").project(x, "read", channel=1, position=(3, 2), seed="one")
    with torch.no_grad():
        ahead, behind = (model(x + sign * direction)[3::4, 1, 2] for sign in (1, -1))
    by_differences = (ahead - behind) / 2  # the network is linear
    said = (projection.pixels * direction).flatten(1).sum(1)
    assert torch.allclose(said, by_differences, rtol=1e-10)
    for sample in range(samples):
        activations, expected = reference(model, x, "read", [(4 * sample + 3, 1, 2)], "gradient", of_sample=sample)
        assert torch.allclose(expected[0] / activations[0], projection.pixels[sample], rtol=1e-10)
