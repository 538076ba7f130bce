"""Names of classes in figures: those given, those known of the model, or numbers with a word."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.captum.comparison import compare
from deconvviz.experiments import occlusion
from deconvviz.models.notes import note_classes

NAMES = ("heron", "stork", "crane")


@pytest.mark.parametrize(
    ("known", "given", "expected"),
    [(NAMES, (), NAMES), (NAMES, ("a", "b", "c"), ("a", "b", "c")), ((), (), None), (NAMES[:2], (), None)],
)
def test_names_of_classes(known, given, expected):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    if known:
        note_classes(model, known)
    x = torch.rand(1, 1, 9, 9)
    found = occlusion(dv.DeconvNet(model), x, patch=3, stride=3, classes=given, progress=False)
    winner = int(model(x).argmax())
    named = f"class {winner}" if expected is None else expected[winner]
    assert found.figure().axes[0].get_title() == f"(a) {named}"
    assert found.table()[0]["class"] == (str(winner) if expected is None else expected[winner])


@pytest.mark.parametrize(("known", "said"), [(NAMES, " (stork)"), ((), ""), (NAMES[:2], "")])
def test_a_comparison_names_its_class(known, said):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    if known:
        note_classes(model, known)
    net, x = dv.DeconvNet(model), torch.rand(1, 1, 9, 9)
    found = compare(net, x, target=1, methods=["deconvnet"], scores=[], progress=False)
    assert found.title.startswith(f"Sequential, class 1{said}, activation ")
    of_layer = compare(net, x, layer="3", channel=1, methods=["deconvnet"], scores=[], progress=False)
    assert of_layer.title.startswith("Sequential, 3, channel 1, activation ")
