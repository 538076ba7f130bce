"""Datasets in files: manifests, arrays and archives; by Python and by command line."""

from __future__ import annotations

import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.data.archives import TarShards
from deconvviz.data.by_name import load_data
from deconvviz.data.datasets import as_dataset
from deconvviz.data.items import label_of
from deconvviz.data.naming import classes_of
from deconvviz.errors import DataError, MissingFileError
from deconvviz.images import Preprocess
from deconvviz.results import TopActivations
from tests.helpers.dataset_files import COUNT, LABELS, PIXELS, WAYS, added, files, order_of, png, shards, strongest


@pytest.fixture
def net():
    torch.manual_seed(0)
    return dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 4, 3)), preprocess=Preprocess(None, (0.0,), (1.0,)))


@pytest.mark.parametrize("way", WAYS)
def test_a_file_is_a_dataset(net, tmp_path, monkeypatch, way):
    monkeypatch.chdir(tmp_path)
    make, classes, labelled = WAYS[way]
    spec, order = make(tmp_path), order_of(way)
    data = load_data(spec)
    assert len(data) == COUNT
    for number, own in enumerate(order):
        item = data[number]
        image = item[0] if isinstance(item, tuple) else item
        pixels = image[0] * 255 if isinstance(image, torch.Tensor) else np.asarray(image)
        assert np.abs(np.asarray(pixels, float) - PIXELS[own]).max() < 1e-4
        assert label_of(item) == (LABELS[own] if labelled else None)
    assert classes_of(data) == classes
    values, images = strongest(net, order)
    state = tmp_path / "state"
    for given in [data, spec] if way != "a factory" else [data]:
        top = dv.scan(net, given, k=1, batch_size=4, progress=False, state=state)
        assert torch.allclose(top.values["0"][:, 0], values, atol=1e-6)
        assert top.images["0"][:, 0].tolist() == images
    pickled = pickle.loads(pickle.dumps(data)) if way != "a factory" else data  # for processes that load images
    assert len(pickled) == COUNT
    assert pickled[1]


@pytest.mark.parametrize("way", ["CSV", "npy", "shards", "a factory"])
def test_a_file_is_a_dataset_on_the_command_line(net, tmp_path, monkeypatch, capsys, way):
    monkeypatch.chdir(tmp_path)
    spec = WAYS[way][0](tmp_path)
    (tmp_path / "nets.py").write_text(
        "import torch, deconvviz\n"
        "def small():\n"
        "    torch.manual_seed(0)\n"
        "    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3))\n"
        "    return model, deconvviz.images.Preprocess(None, (0.0,), (1.0,))\n"
    )
    cli.main(["scan", "nets.py:small", spec, "--k", "1", "--out", "top.safetensors"])
    top = TopActivations.load("top.safetensors")
    values, images = strongest(net, order_of(way))
    assert torch.allclose(top.values["0"][:, 0], values, atol=1e-6)
    assert top.images["0"][:, 0].tolist() == images
    capsys.readouterr()


def test_a_scan_never_writes_over_what_it_reads(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    spec = shards(tmp_path)
    before = (tmp_path / "s-001.tar").read_bytes()
    assert cli.main(["scan", "mnist", spec, "--out", "s-001.tar", "--force"]) == 2
    assert "'s-001.tar' is read by this command" in capsys.readouterr().err
    assert (tmp_path / "s-001.tar").read_bytes() == before


def test_a_scan_of_shards_goes_on(net, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = TarShards(shards(tmp_path))
    read: list[int] = []
    original = TarShards.__getitem__

    def failing(self, index):
        read.append(index)
        if index == 5 and not (tmp_path / "again").exists():
            raise KeyboardInterrupt
        return original(self, index)

    monkeypatch.setattr(TarShards, "__getitem__", failing)
    options = {"k": 1, "batch_size": 2, "progress": False, "state": tmp_path / "state"}
    with pytest.raises(KeyboardInterrupt):
        dv.scan(net, data, **options)
    (tmp_path / "again").touch()
    top = dv.scan(net, data, **options)
    _, images = strongest(net, list(range(COUNT)))
    assert top.images["0"][:, 0].tolist() == images
    page = dv.build_atlas(net, data, top, out=tmp_path / "atlas", progress=False, evidence=False)
    text = "".join(path.read_text("utf-8") for path in page.parent.rglob("*.js*"))
    assert any(data.names[image] in text for image in images)


# What a manifest says


def test_boxes_are_cut_out(tmp_path):
    files(tmp_path)
    (tmp_path / "a.csv").write_text(
        "image,top,left,bottom,right\ncat/0.png,1,2,5,8\ncat/0.png,0,0,9,9\ndog/1.png,,,,\n"
    )
    (tmp_path / "a.json").write_text(json.dumps([{"path": "cat/0.png", "box": [1, 2, 5, 8]}, {"path": "dog/1.png"}]))
    for data, whole in ((as_dataset(tmp_path / "a.csv"), 2), (as_dataset(tmp_path / "a.json"), 1)):
        assert np.array_equal(np.asarray(data[0][0]), PIXELS[0][1:5, 2:8])
        assert np.array_equal(np.asarray(data[whole][0]), PIXELS[1])
    with pytest.raises(ValueError, match=r"the box \(0, 0, 9, 9\) of 'cat/0.png' does not lie in its 8 x 8 pixels"):
        as_dataset(tmp_path / "a.csv")[1]


@pytest.mark.parametrize(("labels", "expected"), [(["34.7", "2.5"], [None, None]), (["7", "3"], [7, 3])])
def test_labels_that_are_numbers_stay_numbers(tmp_path, labels, expected):
    files(tmp_path)
    (tmp_path / "a.csv").write_text("path,label\ncat/0.png,{}\ndog/1.png,{}\n".format(*labels))
    data = as_dataset(tmp_path / "a.csv")
    assert [label_of(data[n]) for n in (0, 1)] == expected
    assert classes_of(data) == []


# What is refused


def written(name: str, content: bytes | str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    return write


def objects(folder: Path) -> str:
    np.save(folder / "x.npy", np.array([Path("a"), {}], dtype=object), allow_pickle=True)
    return "x.npy"


def strangers(folder: Path) -> str:
    np.savez(folder / "x.npz", weights=np.zeros(3), biases=np.zeros(2))
    return "x.npz"


REFUSED: dict[str, tuple[Callable[[Path], str], type[Exception], str]] = {
    "no file": (lambda _: "nowhere.csv", MissingFileError, "there is no file 'nowhere.csv' that lists images"),
    "no arrays": (lambda _: "nowhere.npy", MissingFileError, "there is no file 'nowhere.npy' of arrays"),
    "no shard": (lambda _: "s-{0..1}.tar", MissingFileError, "there is no archive 's-0.tar'"),
    "no archive": (lambda _: "nowhere.zip", MissingFileError, "there is no archive 'nowhere.zip'"),
    "no video": (lambda _: "nowhere.mp4", MissingFileError, "there is no video 'nowhere.mp4'"),
    "no path": (written("a.csv", "label,x\n1,2\n"), DataError, "'a.csv' has the columns label, x; one of the"),
    "no rows": (written("a.csv", "path\n"), DataError, "'a.csv' lists no images"),
    "long rows": (written("a.csv", "path\na,b\n"), DataError, "row 1 of 'a.csv' has more values than there are"),
    "no name": (written("a.csv", "path,x\n,2\n"), DataError, "row 1 of 'a.csv' names no image; its path must stand "),
    "half a box": (written("a.csv", "path,top\na.png,2\n"), DataError, "row 1 of 'a.csv': a box is four whole numbers"),
    "no JSON": (written("a.json", "[{"), DataError, "'a.json' is not a JSON file ("),
    "no list": (written("a.json", "3"), DataError, "'a.json' must hold [{"),
    "objects": (objects, DataError, "'x.npy' cannot be read as arrays of NumPy: Array can't be memory-mapped: Python "),
    "strangers": (strangers, DataError, "'x.npz' holds no images: "),
    "no npz": (written("x.npz", b"PK\x03\x04junk"), DataError, "'x.npz' cannot be read as arrays of NumPy: "),
    "no zip": (written("x.zip", b"PK\x03\x04junk"), DataError, "'x.zip' cannot be read as a zip archive: "),
    "no tar": (written("x.tar", b"junk" * 300), DataError, "'x.tar' cannot be read as a plain tar file: "),
    "compressed": (written("x.tar.gz", b"junk" * 300), DataError, "'x.tar.gz' cannot be read as a plain tar file ("),
    "no module": (lambda _: "no.such:photos", DataError, "there is no module 'no.such' to take a dataset from ("),
    "no factory": (written("m.py", "x = 3"), MissingFileError, "there is no folder 'm.py' of images"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_dataset_is_named(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    make, error, sentence = REFUSED[case]
    with pytest.raises(error) as raised:
        load_data(make(tmp_path))
    assert str(raised.value).startswith(sentence)


def test_members_of_archives_are_bounded_and_of_known_formats(tmp_path, monkeypatch):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n"
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.png", png(0))
        archive.writestr("1.png", bytes(2**20))
        archive.writestr("2.png", eps)
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        added(archive, "0.png", png(0))
        added(archive, "1.png", bytes(2**20))
        added(archive, "2.png", eps)
        link = tarfile.TarInfo("3.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    monkeypatch.setattr("deconvviz.data.archives.LARGEST_MEMBER", 2**19)
    for name in ("x.zip", "x.tar"):
        data = as_dataset(tmp_path / name)
        assert sorted(data.names) == ["0.png", "1.png", "2.png"]
        said = {}
        for number, own in enumerate(data.names):
            try:
                data[number]
            except ValueError as error:
                said[own] = str(error)
        assert said == {
            "1.png": "'1.png' would unpack to 1048576 bytes, more than 524288",
            "2.png": "'2.png' is not an image file that Pillow can read",
        }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.tar", "x.zip"]


def test_arrays_are_bounded(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((100, 50, 50), np.uint8))
    monkeypatch.setattr("deconvviz.data.array_files.LARGEST_ARRAYS", 2**17)
    with pytest.raises(DataError, match=r"would unpack to more than 131072 bytes; save the images as an .npy file"):
        as_dataset(tmp_path / "x.npz")
