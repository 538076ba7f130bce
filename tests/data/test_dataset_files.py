"""Datasets in files: manifests, arrays, archives, videos, Hugging Face; by Python and by command line.

What is not installed is stood in for by classes of the same interface.
"""

from __future__ import annotations

import io
import json
import pickle
import sys
import tarfile
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.data.archives import TarShards
from deconvviz.data.by_name import load_data
from deconvviz.data.datasets import as_dataset
from deconvviz.data.items import label_of
from deconvviz.data.naming import classes_of, name_of_item, short_name
from deconvviz.errors import DataError, DependencyError, InputError, MissingFileError
from deconvviz.images import Preprocess
from deconvviz.results import TopActivations

COUNT = 6
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8), dtype=np.uint8)
LABELS = [0, 1, 1, 0, 1, 0]
CLASSES = ["cat", "dog"]


def png(number: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(PIXELS[number]).save(content, "PNG")
    return content.getvalue()


def files(folder: Path) -> list[str]:
    names = [f"{CLASSES[label]}/{number}.png" for number, label in enumerate(LABELS)]
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(number))
    return names


def csv_of(folder: Path) -> str:
    rows = [f"{name},{CLASSES[label]}" for name, label in zip(files(folder), LABELS, strict=True)]
    (folder / "list.csv").write_text("\n".join(["path,label", *rows]))
    return "list.csv"


def json_of(folder: Path) -> str:
    rows = [{"file_name": name, "class": CLASSES[label]} for name, label in zip(files(folder), LABELS, strict=True)]
    (folder / "list.json").write_text(json.dumps(rows))
    (folder / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return "list.json"


def json_lines_of(folder: Path) -> str:
    json_of(folder)
    return "list.jsonl"


def npy(folder: Path) -> str:
    np.save(folder / "x.npy", PIXELS)
    return "x.npy"


def npz(folder: Path) -> str:
    np.savez_compressed(folder / "x.npz", x_test=PIXELS, y_test=np.array(LABELS))
    return "x.npz"


def zipped(folder: Path) -> str:
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, label in enumerate(LABELS):
            archive.writestr(f"photos/{CLASSES[label]}/{number}.png", png(number))
        archive.writestr("__MACOSX/photos/cat/._0.png", b"no image")
        archive.writestr("photos/read.me", b"no image")
    return "x.zip"


def added(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def shards(folder: Path) -> str:
    """Two shards in WebDataset's layout; labels as numbers, or in JSON."""
    for shard in range(2):
        with tarfile.open(folder / f"s-{shard:03}.tar", "w") as archive:
            for number in range(3 * shard, 3 * shard + 3):
                added(archive, f"{number:04}.png", png(number))
                added(archive, f"{number:04}.mask.png", b"no image")
                if shard:
                    added(archive, f"{number:04}.json", json.dumps({"label": LABELS[number]}).encode())
                else:
                    added(archive, f"{number:04}.cls", str(LABELS[number]).encode())
    return "s-{000..001}.tar"


def tar_of_folders(folder: Path) -> str:
    with tarfile.open(folder / "x.tar", "w") as archive:
        for number, label in enumerate(LABELS):
            added(archive, f"{CLASSES[label]}/{number}.png", png(number))
    return "x.tar"


def factory(folder: Path) -> str:
    np.save(folder / "numbers.npy", PIXELS)
    (folder / "mine.py").write_text(
        "import numpy, torch\n"
        "def photos():\n"
        "    pixels = torch.from_numpy(numpy.load('numbers.npy'))[:, None] / 255\n"
        f"    return torch.utils.data.TensorDataset(pixels, torch.tensor({LABELS}))\n"
    )
    return "mine.py:photos"


WAYS: dict[str, tuple[Callable[[Path], str], list[str], bool]] = {  # the spec, the classes, and whether it has labels
    "CSV": (csv_of, CLASSES, True),
    "JSON": (json_of, CLASSES, True),
    "JSON lines": (json_lines_of, CLASSES, True),
    "npy": (npy, [], False),
    "npz": (npz, [], True),
    "zip": (zipped, CLASSES, True),
    "shards": (shards, [], True),
    "tar": (tar_of_folders, CLASSES, True),
    "a factory": (factory, [], True),
}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 4, 3)), preprocess=Preprocess(None, (0.0,), (1.0,)))


def strongest(net: dv.DeconvNet, order: list[int]) -> tuple[torch.Tensor, list[int]]:
    """Each channel's strongest value, and its image, from one plain call of the model."""
    with torch.no_grad():
        values = net.model(torch.from_numpy(PIXELS[order])[:, None] / 255).flatten(2).amax(2).max(0)
    return values.values.double(), values.indices.tolist()


def order_of(way: str) -> list[int]:
    """The images in the order of the dataset: zip archives are sorted by name."""
    return sorted(range(COUNT), key=lambda n: (CLASSES[LABELS[n]], n)) if way == "zip" else list(range(COUNT))


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


# Hugging Face


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
    with pytest.raises(DependencyError, match=r"^datasets is needed to read hf:pets; pip install 'deconv"):
        load_data("hf:pets")


def test_real_datasets_of_hugging_face(net, tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = {"photo": [{"bytes": png(n), "path": None} for n in range(COUNT)], "species": LABELS}
    features = datasets.Features({"photo": datasets.Image(), "species": datasets.ClassLabel(names=CLASSES)})
    data = datasets.Dataset.from_dict(rows, features=features)
    check_columns(net, data)
    data.save_to_disk(tmp_path / "pets")
    check_columns(net, load_data(f"hf:{tmp_path / 'pets'}"))


# Videos


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
    with pytest.raises(DependencyError, match=r"^PyAV is needed to read videos; pip install 'deconvviz\[video\]'$"):
        as_dataset(tmp_path / "a.mp4")
