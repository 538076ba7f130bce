"""What a unit sees of a projection: cut out of crops, as out of whole images."""

from __future__ import annotations

import pytest
import torch

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.models import mnist_cnn
from deconvviz.reading.pieces import UnitWindows
from deconvviz.results.cropped_pixels import CroppedPixels


def test_units_at_the_border_and_in_the_middle_are_cut_out_without_whole_images(monkeypatch: pytest.MonkeyPatch):
    net, x = dv.DeconvNet(mnist_cnn()), mnist_test()[0][:2]
    row = net.layers(x)["conv2"]
    windows, last = UnitWindows.of(row, x.shape[1:]), row.shape[-1] - 1
    places = [(0, 0), (0, last), (last, last), (last // 2, 3)]
    projection = net.project_units(x, "conv2", [(n % 2, 20, place) for n, place in enumerate(places)])
    assert isinstance(projection.held, CroppedPixels)
    whole = projection.pixels
    expected = [windows.cut(whole[n], place, fill=0.0) for n, place in enumerate(places)]
    again = net.project_units(x, "conv2", [(n % 2, 20, place) for n, place in enumerate(places)])
    monkeypatch.setattr(CroppedPixels, "whole", lambda _: pytest.fail("a whole image was made"))
    found = windows.projected(again)
    assert found.shape[2:] == windows.size
    assert torch.equal(found, torch.stack(expected))
    assert all(bool(picture.any()) for picture in found)
