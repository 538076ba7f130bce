"""Signals that are not dense, as the real part of complex numbers, behind slices that were written."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import deconvviz as dv


class Written(nn.Module):
    """Writes a slice, looks at frequencies, and reads them."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.read = kind, nn.Conv1d(2, 3, 1).double()

    def forward(self, x: Tensor) -> Tensor:
        made = x.clone()
        if self.kind == "last":
            made[..., -1] = x[..., 0].tanh()
        elif self.kind == "every second":
            made[..., ::2] = x[..., 1::2] * 0.5
        else:
            made[:, 1] = x[:, 0] * x[:, 1]
        return self.read(torch.fft.rfft(made).abs())


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("kind", ["last", "every second", "channel"])
def test_a_slice_that_was_written_before_a_transform(kind, samples):
    model, x = Written(kind), torch.randn(samples, 2, 8, dtype=torch.float64)
    projection = dv.DeconvNet(model, "gradient").project(x, "read", channel=[0, 2], position=(3,), seed="one")
    for unit, pixels in zip(projection.units, projection.pixels, strict=True):
        leaf = x.clone().requires_grad_()
        model(leaf)[unit.sample, unit.channel, 3].backward()
        assert torch.allclose(pixels, leaf.grad[unit.sample], atol=1e-12)
