"""A projection has a length, items and iteration, and several are concatenated."""

import numpy as np
import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.errors import InputError
from deconvviz.results import Projection

torch.manual_seed(0)
NET = dv.DeconvNet(nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3)))
IMAGES = torch.randn(2, 3, 10, 10)
UNITS = [(0, 1, (2, 2)), (1, 3, (0, 5)), (1, 0, (3, 3)), (0, 2, (5, 0))]
PROJECTIONS = {window: NET.project_units(IMAGES, "2", UNITS, window=window) for window in ("auto", "full")}


@pytest.mark.parametrize("window", PROJECTIONS)
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (0, [0]),
        (-1, [3]),
        (np.int64(2), [2]),
        (slice(1, None), [1, 2, 3]),
        (slice(None, None, -2), [3, 1]),
        ([3, 0, 0], [3, 0, 0]),
        (torch.tensor([2, 1]), [2, 1]),
        (torch.tensor([True, False, True, False]), [0, 2]),
        (np.array([False, True, False, False]), [1]),
        ([], []),
    ],
    ids=str,
)
def test_items(window, rows, expected):
    projection = PROJECTIONS[window]
    some = projection[rows]
    assert len(projection) == 4
    assert some.units == tuple(projection.units[row] for row in expected)
    assert torch.equal(some.pixels, projection.pixels[torch.tensor(expected, dtype=torch.long)])
    assert torch.equal(some.receptive_fields, projection.receptive_fields[torch.tensor(expected, dtype=torch.long)])
    assert torch.equal(some.images, projection.images)


def test_iteration():
    projection = PROJECTIONS["auto"]
    each = list(projection)
    assert [one.units for one in each] == [(unit,) for unit in projection.units]
    assert torch.equal(torch.cat([one.pixels for one in each]), projection.pixels)
    each[1].figure()


@pytest.mark.parametrize("rows", [4, -5, [0, 9], 1.5, torch.tensor([True, False])], ids=str)
def test_there_are_no_such_units(rows):
    with pytest.raises(IndexError, match="unit"):
        PROJECTIONS["auto"][rows]


@pytest.mark.parametrize("first", PROJECTIONS)
@pytest.mark.parametrize("second", PROJECTIONS)
def test_projections_are_concatenated(first, second):
    parts = [PROJECTIONS[first], PROJECTIONS[second][1:3]]
    joined = Projection.concatenate(parts)
    assert len(joined) == 6
    assert torch.equal(joined.pixels, torch.cat([part.pixels for part in parts]))
    assert torch.equal(joined.images, torch.cat([IMAGES, IMAGES]))
    assert [unit.sample for unit in joined.units] == [0, 1, 1, 0, 3, 3]
    assert [unit.channel for unit in joined.units] == [1, 3, 0, 2, 3, 0]


def test_what_does_not_belong_together_is_not_concatenated():
    other = NET.project(IMAGES, "0", channel=0)
    with pytest.raises(InputError, match=r"of one layer, style and shape are concatenated, not of '0', deconvnet"):
        Projection.concatenate([PROJECTIONS["auto"], other])
    with pytest.raises(InputError, match="there is no projection to concatenate"):
        Projection.concatenate([])
