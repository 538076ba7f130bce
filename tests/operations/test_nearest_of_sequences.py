"""Nearest interpolation along one axis: windows and receptive fields."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deconvviz as dv
from tests.helpers.autograd_reference import reference


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("options", [{"size": 5}, {"size": 14}, {"scale_factor": 1.5}, {"scale_factor": 2}])
def test_a_sequence(mode, options):
    upsampling = nn.Upsample(mode=mode, **options)
    model, x = nn.Sequential(nn.Conv1d(1, 2, 1), upsampling, nn.Conv1d(2, 3, 1)), torch.randn(2, 1, 9)
    model, x = model.double(), x.double()
    net = dv.DeconvNet(model, "gradient")
    assert [layer.name for layer in net.layers(x)] == ["0", "1", "2", "output"]
    for place in range(model(x).shape[-1]):
        projection = net.project(x, "2", channel=1, position=(place,))
        _, expected = reference(model, x, "2", [(n, 1, place) for n in range(2)], "gradient")
        assert torch.allclose(projection.pixels, expected, atol=1e-12)
        for pixels, ((first, last),) in zip(projection.pixels, projection.receptive_fields.tolist(), strict=True):
            seen = pixels[0].nonzero().flatten()
            assert first <= int(seen.min())
            assert int(seen.max()) < last
