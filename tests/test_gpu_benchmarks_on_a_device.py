"""`python -m benchmarks.gpu --smoke` on a pretended card: every part runs there."""

from __future__ import annotations

import json
import sys

import pytest
import torch
import torchvision
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.models.vgg import VGG, make_layers

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import exactness, predicting
from benchmarks.gpu.settings import Run
from tests.helpers.pretend_device import pretending

WIDTHS = [8, 8, "M", 8, 8, "M", 8, 8, 8, "M", 8, 8, 8, "M", 128, 128, 128, "M"]


def narrow_vgg16(weights=None):
    """VGG16's layers, with few channels and a small classifier."""
    model = VGG(make_layers(WIDTHS), init_weights=False)
    model.avgpool, model.classifier = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Sequential(torch.nn.Linear(128, 10))
    return model.eval().requires_grad_(True)


def shallow_resnet50(weights=None):
    """As many blocks of ResNet-50 as the measured layers need."""
    return ResNet(Bottleneck, [1, 4, 1, 3], num_classes=10)


@pytest.fixture(autouse=True)
def _as_before():
    threads = torch.get_num_threads()
    switches = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    yield
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = switches


@pytest.fixture
def results(tmp_path, monkeypatch):
    """What one run of parts writes."""

    def run(*parts: str, options=("--smoke",)):
        out = tmp_path / "gpu.json"
        monkeypatch.setattr(torchvision.models, "vgg16", narrow_vgg16)
        monkeypatch.setattr(torchvision.models, "resnet50", shallow_resnet50)
        monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", *options, "--out", str(out), "--parts", *parts])
        with pretending("cuda"):
            gpu.main()
        return json.loads(out.read_text()), out.with_suffix(".md").read_text()

    return run


QUICK = ("counts", "windows", "memory")
PARTS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in (*gpu.PARTS, "atlas")]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_runs_on_the_device(results, part):
    found, text = results(part)
    assert "error" not in found["parts"][part]
    assert bool(found["parts"][part]["goals"]) == (part != "counts")  # which are counted where there is no card
    assert all(row["measured"] == row["measured"] for row in found["parts"][part]["goals"])
    assert found["circumstances"]["device"] == "pretended cuda"
    assert "| what | goal | measured |" in text


def test_predictions_are_counted(monkeypatch):
    """Of whole maps: on so small a network crops save nothing."""
    monkeypatch.setattr(torchvision.models, "vgg16", narrow_vgg16)
    rows = predicting.whole_maps(Run("cpu", smoke=True, rounds=1))
    assert [row["what"].partition(":")[0] for row in rows] == [
        f"features.21, {name}" for name in ("float32", "TF32, channels_last", "bfloat16, channels_last")
    ]
    assert all(0.5 < row["measured"] < 2 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", exactness.NETWORKS)
def test_each_network_can_be_built_and_its_layers_named(name):
    layers = exactness.some_layers(exactness.network(name), torch.zeros(2, 3, exactness.SIDE, exactness.SIDE))
    assert len(set(layers)) == 4
