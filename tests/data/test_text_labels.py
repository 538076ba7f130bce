"""Labels that are text: names of classes where all are known at once, and otherwise said to be left out."""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.data.by_name import load_data
from deconvviz.data.hugging_face import HuggingFaceImages
from deconvviz.errors import InputError
from deconvviz.mining.scan import TextLabelsWarning

NAMES = ["dog", "cat"] * 20


@pytest.fixture(scope="module")
def net() -> dv.DeconvNet:
    torch.manual_seed(0)
    return dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 3, 3)))


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Dogs are brighter than cats."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(40, 1, 6, 6, generator=generator) + torch.tensor([3.0, 0.0] * 20).view(-1, 1, 1, 1)


class OfColumns:
    """What a dataset of Hugging Face with labels of text looks like."""

    def __init__(self, images: Tensor) -> None:
        self.columns = {"image": images.numpy(), "label": NAMES}
        self.features = {"image": argparse.Namespace(dtype="float32"), "label": argparse.Namespace(dtype="string")}
        self.column_names = list(self.columns)

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: column[index] for name, column in self.columns.items()}

    def unique(self, name: str) -> list[Any]:
        return list(dict.fromkeys(self.columns[name]))


def labelled(kind: str, images: Tensor, folder: Any) -> Any:
    if kind == "npz":
        np.savez(folder / "a.npz", images=images.numpy(), labels=np.array(NAMES))
        return load_data(str(folder / "a.npz"))
    if kind == "hugging face":
        return OfColumns(images)
    return {
        "tensor and list": (images, NAMES),
        "array and tuple": [images.numpy(), tuple(NAMES)],
        "tensor and array": (images, np.array(NAMES)),
    }[kind]


@pytest.mark.parametrize("kind", ["tensor and list", "array and tuple", "tensor and array", "npz", "hugging face"])
def test_text_names_classes(net: dv.DeconvNet, images: Tensor, tmp_path: Any, kind: str) -> None:
    expected = dv.scan(net, (images, [1, 0] * 20), layers="0", classes=["cat", "dog"], progress=False)
    found = dv.scan(net, labelled(kind, images, tmp_path), layers="0", progress=False)
    assert found.classes == ("cat", "dog")
    assert found.labels["0"].table() == expected.labels["0"].table()
    assert found.labels["0"].auc.max() == 1
    top = dv.project_top(net, labelled(kind, images, tmp_path), found, channel=1, progress=False)
    assert list(top[0].labels) == [NAMES[number] for number in top[0].images]


def test_classes_of_a_dataset_of_text_are_sorted(images: Tensor) -> None:
    data = HuggingFaceImages(OfColumns(images))
    assert (data.classes, data[0][1], data[1][1]) == (["cat", "dog"], 1, 0)


def test_text_that_comes_item_by_item_is_said_to_be_left_out(net: dv.DeconvNet, images: Tensor) -> None:
    data = [(image, name) for image, name in zip(images, NAMES, strict=True)]
    with pytest.warns(TextLabelsWarning, match="the labels are text, such as 'dog', and are not used; give numbers"):
        assert not dv.scan(net, data, layers="0", progress=False).labels
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dv.scan(net, data, layers="0", labels=False, progress=False)
        dv.scan(net, [(image, str(n % 2)) for n, image in enumerate(images)], layers="0", progress=False)
        dv.scan(net, images, layers="0", progress=False)


def test_the_command_says_it_too(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    made = "import torch\ndef data():\n    return [(torch.rand(1, 28, 28), 'dog') for _ in range(3)]\n"
    (tmp_path / "own.py").write_text(made)
    assert cli.main(["labels", "mnist", "own.py:data", "--layer", "conv1"]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("scan")]
    assert said[0].startswith("note: the labels are text, such as 'dog', and are not used; give numbers of classes")
    assert said[1].startswith("deconvviz: the images of 'own.py:data' have no labels, or text that is not used; give")


@pytest.mark.parametrize("labels", [NAMES[:39], torch.zeros(39)])
def test_a_label_for_each_image(net: dv.DeconvNet, images: Tensor, labels: Any) -> None:
    with pytest.raises(InputError, match="there are 40 images and 39 labels; give one label for each image"):
        dv.scan(net, (images, labels), layers="0", progress=False)
