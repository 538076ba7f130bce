"""Datasets of Hugging Face, and videos.

What is not installed is stood in for by classes of the same interface.
"""

from __future__ import annotations

import pickle
import sys
import types
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz.data.by_name import load_data
from deconvviz.data.datasets import as_dataset
from deconvviz.data.items import label_of
from deconvviz.data.naming import classes_of, name_of_item, short_name
from deconvviz.errors import DataError, DependencyError, InputError
from deconvviz.images import Preprocess
from tests.helpers.dataset_files import CLASSES, COUNT, LABELS, PIXELS, png, strongest


@pytest.fixture
def net():
    torch.manual_seed(0)
    return dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 4, 3)), preprocess=Preprocess(None, (0.0,), (1.0,)))


class Feature:
    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


def feature(kind: str, **attributes: Any) -> Any:
    return type(kind, (Feature,), {})(**attributes)


class Columns:
    """What `datasets.Dataset` looks like."""

    def __init__(self, decoded: bool = True, split: str = "test") -> None:
        self.features = {
            "id": feature("Value"),
            "photo": feature("Image", decode=decoded),
            "species": feature("ClassLabel", names=CLASSES),
        }
        self.column_names = list(self.features)
        self.info, self.split, self.decoded = Feature(dataset_name="pets"), split, decoded

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < COUNT:
            raise IndexError(index)
        photo = Image.fromarray(PIXELS[index]) if self.decoded else {"bytes": png(index), "path": f"{index}.png"}
        return {"id": index, "photo": photo, "species": LABELS[index]}

    def cast_column(self, name: str, wanted: Any) -> Columns:
        assert name == "photo"
        return Columns(wanted.decode, self.split)


def check_columns(net: dv.DeconvNet, data: Any) -> None:
    values, images = strongest(net, list(range(COUNT)))
    top = dv.scan(net, data, k=1, batch_size=4, progress=False)
    assert torch.allclose(top.values["0"][:, 0], values, atol=1e-6)
    assert top.images["0"][:, 0].tolist() == images
    found = as_dataset(data)
    assert classes_of(found) == CLASSES
    assert [label_of(found[n]) for n in range(COUNT)] == LABELS


def test_datasets_of_hugging_face(net):
    check_columns(net, Columns())
    assert short_name(as_dataset(Columns())) == "pets test"
    with pytest.raises(InputError, match=r"^there are several splits; give one of them, such as data\['train'\]$"):
        dv.scan(net, {"train": Columns(), "test": Columns()}, progress=False)


def test_datasets_of_hugging_face_by_name(net, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    library = types.ModuleType("datasets")
    vars(library).update(load_dataset=lambda name: {"train": Columns(split="train"), "test": Columns()})
    monkeypatch.setitem(sys.modules, "datasets", library)
    for spec, split in (("hf:pets", "test"), ("hf:pets:train", "train")):
        data = load_data(spec)
        assert short_name(data) == f"pets {split}"
        assert not data.data.decoded  # its files are read by the library's own reader
        check_columns(net, data)
    with pytest.raises(InputError, match=r"^hf:pets has no split 'tst'; did you mean 'test'"):
        load_data("hf:pets:tst")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DependencyError, match=r"^datasets is needed to read hf:pets; pip install datasets$"):
        load_data("hf:pets")


def test_real_datasets_of_hugging_face(net, tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = {"photo": [{"bytes": png(n), "path": None} for n in range(COUNT)], "species": LABELS}
    features = datasets.Features({"photo": datasets.Image(), "species": datasets.ClassLabel(names=CLASSES)})
    data = datasets.Dataset.from_dict(rows, features=features)
    check_columns(net, data)
    data.save_to_disk(tmp_path / "pets")
    check_columns(net, load_data(f"hf:{tmp_path / 'pets'}"))


def test_videos_by_frame(tmp_path):
    av = pytest.importorskip("av")
    shades = [0, 40, 80, 120, 160, 200, 240, 20, 60, 100, 140, 180]
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.gop_size = 4
        for shade in shades:
            frame = av.VideoFrame.from_image(Image.new("RGB", (32, 32), (shade,) * 3))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = as_dataset(tmp_path / "a.mp4")
    assert len(data) == len(shades)
    for number in (*range(12), 7, 3, 11, 0, 5):
        assert abs(np.asarray(data[number]).mean() - shades[number]) < 6
    assert name_of_item(data, 3) == "a.mp4 0.300 s"
    assert len(pickle.loads(pickle.dumps(data))) == 12
    (tmp_path / "b.mp4").write_text("#EXTM3U\nhttp://example.org/a.ts\n")  # a list of addresses is no video
    with pytest.raises(DataError, match="cannot be read as a video"):
        as_dataset(tmp_path / "b.mp4")


def test_without_pyav_it_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"junk")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DependencyError, match=r"^PyAV is needed to read videos; pip install av$"):
        as_dataset(tmp_path / "a.mp4")
