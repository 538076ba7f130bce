"""The commands filters, activations and reconstruct."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from deconvviz import cli
from deconvviz.data import mnist_test
from deconvviz.models import mnist_cnn

NETS = """
import torch
from torch import nn

torch.manual_seed(0)


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)

    def forward(self, left, right):
        return self.conv(left) + self.conv(right)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert cli.main([*arguments]) == status
    printed = capsys.readouterr()
    return printed.err if status else printed.out


def test_filters(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "filters", "mnist", "--layer", "conv1") == "conv1: 24 filters, 7 x 7\nfilters-conv1.png\n"
    with Image.open("filters-conv1.png") as picture:
        assert picture.width > 300
    options = ("--planes", "4", "--channel", "1", "2", "--order", "strength", "--scale", "each", "--out", "a.png")
    facts = json.loads(run(capsys, "filters", "mnist", "--layer", "conv2", "--json", *options))
    weight = mnist_cnn().conv2.weight.detach()
    assert [row["strength"] for row in facts["table"]] == pytest.approx(weight.flatten(1).norm(dim=1).tolist())
    assert facts["files"] == ["a.png"]


def test_filters_that_only_a_run_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "filters", "mnist", "--layer", "fc1").startswith("fc1: 64 of 128 filters, 7 x 7\n")


def test_filters_of_a_model_with_several_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "filters", "nets.py:Pair", "--layer", "conv").startswith("conv: 4 filters, 3 x 3\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--layer", "pool1"), "layer 'pool1' has no filters; the nearest layer that has some is 'conv1'"),
        (("--layer", "conv9"), "there is no layer 'conv9' in MnistCNN; did you mean 'conv2' or 'conv1'?"),
        (("--layer", "conv1", "--channel", "24"), "layer 'conv1' has channels 0 to 23, not 24"),
        (("--layer", "conv1", "--out", "a.txt"), "a picture cannot be written as 'a.txt'"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str) -> None:
    assert run(capsys, "filters", "mnist", *arguments, status=2).startswith(f"deconvviz: {said}")


def test_activations(capsys: pytest.CaptureFixture[str]) -> None:
    printed = run(capsys, "activations", "mnist", "mnist:0", "mnist:1", "--layer", "relu1").splitlines()
    said = "relu1: 24 feature maps, 28 x 28"
    assert printed == ["mnist:0", said, "mnist-0-relu1-maps.png", "mnist:1", said, "mnist-1-relu1-maps.png"]
    arguments = ("mnist:0", "--layer", "conv2", "--order", "strength", "--most", "3", "--json", "--out", "b.png")
    facts = json.loads(run(capsys, "activations", "mnist", *arguments))
    model = mnist_cnn()
    with torch.no_grad():
        maps = model.conv2(model.pool1(model.relu1(model.conv1(mnist_test()[0][:1]))))[0]
    assert [row["maximum"] for row in facts["table"]] == pytest.approx(maps.amax((1, 2)).tolist(), rel=1e-5)
    assert Path("b.png").is_file()


def test_reconstruct(capsys: pytest.CaptureFixture[str]) -> None:
    printed = run(capsys, "reconstruct", "mnist", "mnist:0", "--layers", "conv1", "conv2")
    assert printed == "mnist-0-conv1-conv2-reconstructed.png\n"
    with Image.open("mnist-0-conv1-conv2-reconstructed.png") as picture:
        assert picture.width > 2 * picture.height, "the image and its two reconstructions stand in a row"
    arguments = ("mnist:0", "mnist:1", "--layer", "fc1", "--style", "guided", "--json")
    facts = json.loads(run(capsys, "reconstruct", "mnist", *arguments))
    assert [one["files"] for one in facts["images"]] == [
        ["mnist-0-fc1-reconstructed.png"],
        ["mnist-1-fc1-reconstructed.png"],
    ]
    assert run(capsys, "reconstruct", "mnist", "mnist:0", "--layers", "x", status=2).startswith(
        "deconvviz: there is no layer 'x' in MnistCNN"
    )
