"""What units see is carried back once; the crops of some of them are written from that."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from deconvviz.operations.registry import region_needed
from deconvviz.operations.styles import STYLES
from deconvviz.projection.crops import phases, regions
from deconvviz.recording.recorder import record
from tests.helpers.small_networks import FunctionNetwork

_conv, _strided, _up = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, stride=2), nn.ConvTranspose2d(2, 2, 3, 2, 1)

NETWORKS = {
    "convolutions": lambda x: _conv(torch.relu(_strided(_conv(x)))),
    "pooling": lambda x: _conv(F.max_pool2d(F.avg_pool2d(_conv(x), 3, 2, 1), 2)),
    "a skip": lambda x: _conv(_conv(x)) + F.pad(x, (1, -1, 1, -1)),
    "a transposed convolution": lambda x: _conv(_up(_conv(x))),
    "enlarged": lambda x: _conv(F.interpolate(_conv(x), scale_factor=2)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_kept_is_what_each_operation_needs(name):
    tape = record(FunctionNetwork(NETWORKS[name]), torch.rand(1, 2, 24, 20))
    layer = tape.operations[-1].made
    rows, columns = layer.shape[2:]
    positions = np.array([(0, 0), (1, 2), (rows - 1, columns - 2), (rows // 2, 3), (rows // 2, 5)])
    seen = regions(tape, STYLES["deconvnet"], layer, positions)
    asked = 0
    for units in (slice(1, 4), np.array([4, 0]), slice(None)):
        part = seen.of(units)
        kinds = {tuple(row) for row in phases(tape, part)}
        for operation in tape.operations:
            for value in operation.inputs:
                needed = region_needed(operation, value, part[operation.made.id])
                kept = part.needed[operation, value.id]
                assert kept.start.tolist() == needed.start.tolist()
                assert all(mine >= own for mine, own in zip(kept.size, needed.size, strict=True))
                if len(kinds) == 1:
                    assert kept.size == needed.size
                asked += 1
        assert part[layer.id].start.tolist() == positions[units].tolist()
    assert asked >= 9
