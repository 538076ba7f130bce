"""Interpolation with antialiasing, of which torch's own derivative is wrong for some sizes.

The judge is the matrix of the operation, which is linear: one forward pass for each pixel.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import deconvviz as dv


class Resized(nn.Module):
    def __init__(self, options: dict) -> None:
        super().__init__()
        self.options = options
        self.unused = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, antialias=True, **self.options)


def matrix(model: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """(pixels, outputs), by one pass for each pixel of one channel."""
    pixels = torch.eye(torch.Size(shape).numel(), dtype=torch.float64).view(-1, 1, *shape)
    with torch.no_grad():
        return model(pixels).flatten(1)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("factor", [1.2, 0.6, 2.0, (1.2, 2.0)], ids=str)
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_the_mirror_is_the_transposed_matrix(mode, factor, aligned, layout):
    """3 and 4 positions stay as many with a factor of 1.2, 8 become 9; 3 become 1 with a factor of 0.6."""
    for sizes in ((3, 8), (8, 4), (4, 3)):
        model = Resized({"mode": mode, "scale_factor": factor, "align_corners": aligned})
        x = torch.randn(2, 3, *sizes, dtype=torch.float64).contiguous(memory_format=layout)
        net = dv.DeconvNet(model)
        layer = list(net.trace(x).activations)[-1]
        signal = torch.randn_like(model(x))
        found = net.reconstruct(x, layer, signal=signal).pixels
        expected = (signal.flatten(2) @ matrix(model, sizes).T).view(x.shape)
        assert torch.allclose(found, expected, atol=1e-12), (sizes, float((found - expected).abs().max()))
