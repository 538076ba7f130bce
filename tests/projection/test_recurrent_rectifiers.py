"""A ReLU inside of a recurrent layer is a rectifier: a style replaces its backward pass, as of one called by itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import deconvviz as dv
from tests.helpers.autograd_reference import reference
from tests.helpers.rectified_recurrence import cell, recurrence


class Read(nn.Module):
    """Columns of a map, read by a recurrent layer or by the same written out."""

    def __init__(self, written, **options):
        super().__init__()
        self.conv, self.rnn = nn.Conv2d(1, 3, 3), nn.RNN(12, 4, nonlinearity="relu", batch_first=True, **options)
        self.read, self.written, self.options = nn.Linear(4 * (1 + self.rnn.bidirectional), 3), written, options

    def forward(self, x):
        columns = F.relu(self.conv(x)).permute(0, 3, 1, 2).flatten(2)
        if not self.written:
            return self.read(self.rnn(columns)[0].sum(1))
        of = self.rnn
        start = x.new_zeros(of.num_layers * (1 + of.bidirectional), len(x), 4)
        shape = (of.bias, of.num_layers, 0.0, False, of.bidirectional, True)
        return self.read(recurrence(F.relu, columns, start, list(of.parameters()), *shape)[0].sum(1))


class Cell(nn.Module):
    def __init__(self, written):
        super().__init__()
        self.conv, self.cell, self.read = nn.Conv2d(1, 3, 3), nn.RNNCell(12, 4, nonlinearity="relu"), nn.Linear(4, 3)
        self.written = written

    def forward(self, x):
        h, weights = x.new_zeros(len(x), 4), list(self.cell.parameters())
        for column in F.relu(self.conv(x)).permute(3, 0, 1, 2).flatten(2):
            h = cell(F.relu, column, h, *weights) if self.written else self.cell(column, h)
        return self.read(h)


@pytest.mark.parametrize("style", ["deconvnet", "guided", "gradient"])
@pytest.mark.parametrize(
    "made",
    [
        Read,
        lambda written: Read(written, num_layers=2, bidirectional=True),
        lambda written: Read(written, bias=False),
        Cell,
    ],
    ids=["a layer", "two layers, both ways", "without bias", "a cell"],
)
def test_relus_of_recurrent_layers_are_rectifiers(made, style):
    model, written = made(False).double().eval(), made(True).double().eval()
    written.load_state_dict(model.state_dict())
    x = torch.randn(2, 1, 6, 7, dtype=torch.float64)
    assert torch.allclose(model(x), written(x), rtol=1e-12)
    for channel in range(3):
        projection = dv.DeconvNet(model, style).project(x, "read", channel=channel)
        units = [(sample, channel) for sample in range(2)]
        _, expected = reference(written, x, "read", units, style)
        assert (projection.pixels - expected).norm() <= 1e-10 * expected.norm()
        _, by_the_layer = reference(model, x, "read", units, style)
        assert (by_the_layer - expected).norm() <= 1e-10 * expected.norm()
