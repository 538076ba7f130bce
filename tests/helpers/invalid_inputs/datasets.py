"""Datasets that are missing, empty, damaged or no datasets, and scans with invalid options."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

import deconvviz as dv
from deconvviz.data import ImageFolder
from deconvviz.errors import DataError, InputError, MissingFileError, UnknownLayerError
from deconvviz.results import TopActivations
from tests.helpers.invalid_inputs.case import Case, gives, grey, net, refused

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(3))
NAN = float("nan")


class Listed:
    """A dataset of the given items; an item that is an error is raised."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        if isinstance(self.items[index], BaseException):
            raise self.items[index]
        return self.items[index]


class Dying(Listed):
    """A dataset that ends the process that loads an item."""

    def __getitem__(self, index: int) -> Any:
        if torch.utils.data.get_worker_info():
            os._exit(3)
        return super().__getitem__(index)


class Endless(Listed):
    """A dataset that cannot say how long it is."""

    def __len__(self) -> int:
        raise NotImplementedError("who knows")


def failing() -> Iterator[torch.Tensor]:
    """An iterable that raises an error after its second image."""
    yield from IMAGES[:2]
    raise OSError("bad")


def scan(data: Any = IMAGES, **options: Any) -> TopActivations:
    return dv.scan(grey(), data, progress=False, **options)


class Random(Listed):
    """One image, another one each time."""

    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(index) + torch.rand(1)


def changing(folder: Path) -> Any:
    top = scan(Random(IMAGES[0]), k=1)
    return dv.build_atlas(grey(), Random(IMAGES[0]), top, out=folder / "atlas", evidence=False, progress=False)


def scanned(data: Any, **options: Any) -> Callable[[Path], Any]:
    """A scan, from which the number of images read and the reasons for skipped ones are returned."""

    def how(_: Path) -> Any:
        top = scan(data, **options)
        return top.count, [(one.image, one.reason) for one in top.broken]

    return how


NO_NUMBER = "{} must be a whole number of at least {}, not {!r}"
ALIKE = (
    "which cannot form one batch; give the network a preprocess that makes them alike, such as "
    "deconvviz.images.Preprocess(size=224), or batch_size=1"
)
NONE_READ = "it holds values that are NaN or infinite"


def unlisted(_: Path) -> Any:
    """A folder that may not be listed, simulated because root may list every folder."""
    Path("photos/cats").mkdir(parents=True)
    with mock.patch("os.scandir", side_effect=PermissionError(13, "Permission denied")):
        return ImageFolder("photos")


def at(name: str, content: bytes | str = b"") -> Callable[[Path], Any]:
    """A scan of a file, which is not there without content."""

    def how(_: Path) -> Any:
        if content:
            Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return scan(name)

    return how


class Columns(Listed):
    """What a dataset of Hugging Face looks like."""

    features, column_names = {"text": 3}, ["text"]


CASES: list[Case] = [
    refused(
        "fewer labels than images",
        lambda _: dv.scan(net(), (IMAGES, [0, 1]), progress=False),
        InputError,
        "there are 6 images and 2 labels; give one label for each image",
    ),
    *(
        refused(f"no file {name}", at(name), MissingFileError, sentence)
        for name, sentence in (
            ("a.csv", "there is no file 'a.csv' that lists images"),
            ("a.npy", "there is no file 'a.npy' of arrays"),
            ("a-{0..1}.tar", "there is no archive 'a-0.tar'"),
            ("a.mp4", "there is no video 'a.mp4'"),
        )
    ),
    *(
        refused(f"a file {name} that is none", at(name, content), DataError, sentence)
        for name, content, sentence in (
            (
                "a.csv",
                "label\n1\n",
                "'a.csv' has the columns label; one of them must be the path, under one of the names path, file, "
                "filename, file_name, image",
            ),
            ("b.csv", "path\n", "'b.csv' lists no images"),
            ("c.csv", "path\na,b\n", "row 1 of 'c.csv' has more values than there are columns"),
            (
                "a.jsonl",
                '{"x": 3}',
                "row 1 of 'a.jsonl' names no image; its path must stand under one of path, file, filename, file_name, "
                "image",
            ),
            (
                "b.jsonl",
                '{"path": "a.png", "box": [1, 2]}',
                "row 1 of 'b.jsonl': a box is four whole numbers, top, left, bottom, right, not [1, 2]",
            ),
            ("a.json", "[", "'a.json' is not a JSON file (…"),
            ("b.json", "3", """'b.json' must hold [{"path": "a.png", "label": "cat"}]"""),
            ("a.npy", b"junk", "'a.npy' cannot be read as arrays of NumPy: …"),
            ("a.zip", b"junk", "'a.zip' cannot be read as a zip archive: …"),
            ("a.tar", b"junk" * 300, "'a.tar' cannot be read as a plain tar file: …"),
        )
    ),
    refused(
        "one image for a network of two",
        lambda _: dv.scan(dv.DeconvNet(nn.Bilinear(8, 8, 2)), IMAGES, progress=False),
        InputError,
        "the model takes input1, input2, and an item has a Tensor; give items that are mappings with these names, or "
        "tuples of these inputs",
    ),
    refused(
        "an atlas of a network of two inputs",
        lambda folder: dv.build_atlas(
            dv.DeconvNet(nn.Bilinear(8, 8, 2)), IMAGES, scan(), out=folder / "atlas", evidence=False
        ),
        InputError,
        "the strongest units are shown for networks of one input, and this one takes input1, input2; project "
        "the units that the scan found with `project_units`",
    ),
    refused(
        "several splits of a dataset of Hugging Face",
        lambda _: scan({"train": Columns()}),
        InputError,
        "there are several splits; give one of them, such as data['train']",
    ),
    refused(
        "a dataset of Hugging Face without images",
        lambda _: scan(Columns()),
        InputError,
        "the dataset has the columns text, and none of them is of type Image",
    ),
    refused(
        "an atlas of a dataset that gives other images each time",
        changing,
        InputError,
        "item 0 is another image each time it is read, as with random crops or flips, so what the scan found in it is "
        "not there any more; leave random transforms out of the dataset and of preprocess, and scan again",
    ),
    refused(
        "a folder of images without permission",
        unlisted,
        DataError,
        "the folder 'photos', which belongs to a folder of images, cannot be listed: Permission denied; "
        "make it readable, "
        "or move it away",
    ),
    *(
        refused(
            f"a dataset that is {type(data).__name__}",
            lambda _, d=data: scan(d),
            InputError,
            f"a dataset is a folder, a tensor, a torch dataset or an iterable, not {type(data).__name__}",
        )
        for data in (None, 3, object())
    ),
    *(
        refused(
            f"an empty dataset, {type(data).__name__}", lambda _, d=data: scan(d), DataError, "the dataset is empty"
        )
        for data in ([], IMAGES[:0])
    ),
    refused("an empty generator", lambda _: scan(i for i in ()), DataError, "the dataset is empty"),
    refused(
        "a dataset of one number",
        lambda _: scan(torch.tensor(1.0)),
        InputError,
        "a dataset of one number has no images; give a tensor (N, C, H, W)",
    ),
    refused(
        "a folder that is not there",
        lambda _: scan("nowhere"),
        MissingFileError,
        "there is no folder 'nowhere' of images",
    ),
    refused(
        "a folder of a very long name",
        lambda _: ImageFolder("x" * 5000),
        MissingFileError,
        f"there is no folder '{'x' * 5000}' of images",
    ),
    refused(
        "a folder that is a file",
        lambda _: (Path("f").touch(), ImageFolder("f")),
        MissingFileError,
        "there is no folder 'f' of images",
    ),
    refused(
        "a folder without images", lambda folder: ImageFolder(folder), DataError, "the folder '…' holds no image files"
    ),
    refused(
        "numbers in place of images",
        lambda _: scan([1, 2]),
        InputError,
        "the dataset gives a int, and the network has no preprocess to convert it to a tensor",
    ),
    refused(
        "PIL images without preprocess",
        lambda _: scan([Image.new("L", (8, 8))]),
        InputError,
        "the dataset gives a Image, and the network has no preprocess to convert it to a tensor",
    ),
    refused(
        "images of bytes",
        lambda _: scan((IMAGES * 255).to(torch.uint8)),
        InputError,
        "an image must come as a floating-point tensor (C, H, W), not torch.uint8",
    ),
    refused(
        "a mapping without an image",
        lambda _: scan([{"foo": 1}]),
        InputError,
        "an item has the entries ['foo']; the image must be one of ('image', 'images', 'pixel_values', "
        "'img', 'x', 'input')",
    ),
    refused(
        "images of two sizes",
        lambda _: scan(Listed(IMAGES[0], IMAGES[0, :, :7])),
        InputError,
        f"images 0 and 1 have shapes (1, 8, 8) and (1, 7, 8), {ALIKE}",
    ),
    refused(
        "images of two types",
        lambda _: scan(Listed(IMAGES[0], IMAGES[1].half())),
        InputError,
        "images 0 and 1 are torch.float32 on cpu and torch.float16 on cpu, which cannot form one batch; make them "
        "alike",
    ),
    refused(
        "an image without numbers",
        lambda _: scan([IMAGES[0].to("meta")]),
        InputError,
        "an image must come as a floating-point tensor (C, H, W), not a tensor without numbers, on the device meta",
    ),
    refused(
        "a dataset without a length",
        lambda _: scan(Endless()),
        InputError,
        "the dataset Endless does not say how long it is: NotImplementedError: who knows",
    ),
    refused(
        "a loader whose collate_fn makes no batch of one",
        lambda _: scan(DataLoader(IMAGES, collate_fn=lambda batch: torch.zeros(7, 1, 8, 8))),
        InputError,
        "the loader's collate_fn makes no batch of one from one item, but something of shape (7, 1, 8, 8); give its "
        "dataset",
    ),
    refused(
        "an iterable that fails",
        lambda _: scan(failing()),
        DataError,
        "the dataset cannot be read behind its first 2 items: OSError: bad",
    ),
    refused(
        "images with other channels",
        lambda _: scan(torch.zeros(2, 2, 8, 8)),
        InputError,
        "the input has shape (2, 2, 8, 8); the first convolution, '0', takes (N, 1, H, W)",
    ),
    refused(
        "images that are too small",
        lambda _: scan(IMAGES[..., :2, :2]),
        InputError,
        "the model does not take an input of shape (2, 1, 2, 2): …",
    ),
    refused(
        "images of float64",
        lambda _: scan(IMAGES.double()),
        InputError,
        "the input is torch.float64 and the model torch.float32; convert one of them",
    ),
    refused(
        "no item that can be read",
        lambda _: scan(Listed(*[OSError("bad\nluck")] * 4)),
        DataError,
        "none of the 4 items could be read: 0: OSError: bad; 1: OSError: bad; 2: OSError: bad",
    ),
    refused(
        "nothing but NaN",
        lambda _: scan(IMAGES * NAN),
        DataError,
        f"none of the 6 items could be read: 0: {NONE_READ}; 1: {NONE_READ}; 2: {NONE_READ}",
    ),
    refused(
        "an item that cannot be read, under strict",
        lambda _: scan(Listed(IMAGES[0], OSError("bad")), on_error="raise"),
        DataError,
        "item 1 cannot be read: OSError: bad",
    ),
    refused(
        "a process that dies while it loads images",
        lambda _: scan(Dying(*IMAGES), batch_size=1, workers=2),
        DataError,
        "one of the 2 processes that load images ended with exit status 3; use fewer, or none to see the error",
    ),
    refused("Ctrl-C while an item is read", lambda _: scan(Listed(KeyboardInterrupt())), KeyboardInterrupt, ""),
    gives(
        "an item that cannot be read",
        scanned(Listed(IMAGES[0], OSError("bad\nluck"), IMAGES[1])),
        (2, [(1, "OSError: bad")]),
    ),
    gives("an item of NaN", scanned(Listed(IMAGES[0], IMAGES[0] * NAN)), (1, [(1, NONE_READ)])),
    gives("one image", scanned(IMAGES[:1]), (1, [])),
    gives("a generator", scanned(image for image in IMAGES), (6, [])),
    gives("constant images", scanned(torch.zeros(3, 1, 8, 8)), (3, [])),
    gives("more wanted than there are images", lambda _: int((scan(k=100).images["0"] >= 0).sum()), 18),
    *(
        refused(
            f"{name} of {number!r}",
            lambda _, name=name, number=number: scan(**{name: number}),
            InputError,
            NO_NUMBER.format(name, least, number),
        )
        for name, least in (("k", 1), ("batch_size", 1), ("per_image", 1), ("workers", 0))
        for number in (least - 1, 1.5, "3", *((None,) if name != "workers" else ()))
    ),
    refused(
        "no layers",
        lambda _: scan(layers=[]),
        InputError,
        "there is no layer to look at; name at least one, or give layers=None for the default ones",
    ),
    refused(
        "a layer to scan that is not there",
        lambda _: scan(layers="nope"),
        UnknownLayerError,
        "there is no layer 'nope' in Sequential; the layers are '0'…",
    ),
    refused(
        "a layer to scan that is a number",
        lambda _: scan(layers=3),
        InputError,
        "a layer is given by its name, as `DeconvNet.layers` lists it, or as a module of the model, not as 3",
    ),
]
