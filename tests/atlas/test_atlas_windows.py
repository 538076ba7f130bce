"""An atlas of units that see a window of their image handles windows, never whole images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.results import Projection
from deconvviz.results.cropped_pixels import CroppedPixels
from deconvviz.results.shown_images import ShownImages


@pytest.mark.parametrize("evidence", [False, True], ids=["plain", "evidence"])
@pytest.mark.parametrize("batch_size", [1, 16])
def test_no_whole_image_is_built_of_projections_of_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: bool, batch_size: int
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 8, 3, padding=1)).eval()
    net, data = dv.DeconvNet(model, preprocess=dv.images.Preprocess(None)), torch.rand(4, 3, 200, 200)
    top = dv.scan(net, data, k=4, progress=False)
    held: set[type] = set()
    cut = Projection.cut

    def noted(projection: Projection, row: int, box: object) -> torch.Tensor:
        held.add(type(projection.held))
        return cut(projection, row, box)  # type: ignore[arg-type]

    def whole(*args: object) -> None:
        raise AssertionError("whole images were built")

    monkeypatch.setattr(Projection, "cut", noted)
    monkeypatch.setattr(CroppedPixels, "whole", whole)
    monkeypatch.setattr(ShownImages, "all", whole)
    dv.build_atlas(net, data, top, out=tmp_path / "at", batch_size=batch_size, evidence=evidence, progress=False)
    assert CroppedPixels in held  # a few units of one image may be cheaper on whole maps
