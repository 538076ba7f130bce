"""Receptive fields through nearest interpolation hold every pixel that is read, at all sizes; others as before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import deconvviz as dv
from deconvviz.operations.resampling import nearest_sources
from tests.helpers.forced_windows import cpu_costs

OPTIONS = [{"scale_factor": factor} for factor in (1.5, 2.5, 0.6, 1.2, 3.0, 0.75, 2.2)]
OPTIONS += [{"size": (size, size)} for size in (5, 9, 10, 14, 21)]


def grid(side: int, mode: str, dtype: torch.dtype, **options: object) -> np.ndarray:
    """From which row torch takes each row."""
    rows = torch.arange(side, dtype=dtype)[None, None, :, None].expand(1, 1, side, side)
    return F.interpolate(rows, mode=mode, **options)[0, 0, :, 0].numpy()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_every_pixel_that_is_read_is_in_the_receptive_field(mode, dtype):
    for size in range(4, 15):
        for options in OPTIONS:
            model = nn.Sequential(nn.Upsample(mode=mode, **options), nn.Conv2d(1, 1, 1)).to(dtype)
            rows = grid(size, mode, dtype, **options)
            x = torch.randn(1, 1, size, size, dtype=dtype)
            places = [(n, n) for n in range(len(rows))]
            units = [(0, 0, place) for place in places]
            found = dv.DeconvNet(model).project_units(x, "0", units).receptive_fields[:, 0].numpy()
            assert (found[:, 0] <= rows).all(), (size, options)
            assert (rows < found[:, 1]).all(), (size, options)
            assert (found[:, 1] - found[:, 0] <= 2).all()  # two only where single and double precision differ


def test_positions_are_torchs_own():
    for exact in (False, True):
        for size in range(1, 14):
            for target in range(1, 30):
                (sources, _) = nearest_sources(exact, (size, size), (target, target), (None, None))
                mode = "nearest-exact" if exact else "nearest"
                ours = grid(size, mode, torch.float64, size=(target, target))
                assert ((sources[:, 0] <= ours) & (ours <= sources[:, 1])).all()


@pytest.mark.parametrize("factor", [2, 3, 7, 41, 47, 61])
def test_crops_of_large_factors_agree_with_whole_maps(factor, monkeypatch):
    cpu_costs(monkeypatch, writing=0.0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Upsample(scale_factor=factor), nn.Conv2d(2, 2, 3))
    x = torch.randn(1, 1, 9, 9)
    places = [(0, channel, (row * factor - 1, factor)) for channel in (0, 1) for row in (1, 2, 5)]
    net = dv.DeconvNet(model)
    crops, maps = (net.project_units(x, "2", places, window=window) for window in ("auto", "full"))
    assert torch.allclose(crops.pixels, maps.pixels, rtol=1e-5, atol=1e-7)
