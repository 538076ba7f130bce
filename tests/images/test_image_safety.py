"""Files that only say they are images: what is opened, by whom, and how much memory it may take."""

from __future__ import annotations

import inspect
import multiprocessing
import os
import pickle
import re
import shlex
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image
from torchvision import datasets

from deconvviz.data.batches import batches
from deconvviz.data.by_name import UNPICKLE, load_data
from deconvviz.data.folder import ImageFolder
from deconvviz.errors import DataError, ImageFileError, InputError
from deconvviz.images import FORMATS, LARGEST_IMAGE, read_image

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(touched) (w) file closefile\n%%EOF\n"


@pytest.fixture
def ghostscript(monkeypatch):
    """What is handed to Ghostscript, which need not be installed."""
    handed = []

    def instead(*arguments, **options):
        if EpsImagePlugin.gs_binary is False:
            raise OSError("Unable to locate Ghostscript on paths")
        handed.append(arguments)
        return Image.new("RGB", (9, 9)).im

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", instead)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")
    return handed


def test_postscript_called_png_is_not_run(tmp_path, ghostscript):
    path = tmp_path / "x.png"
    path.write_bytes(POSTSCRIPT)
    with Image.open(path) as opened:  # what Pillow does by itself
        opened.load()
    assert ghostscript
    ghostscript.clear()
    with pytest.raises(ImageFileError, match=r"x\.png' is not an image file that Pillow can read$"):
        read_image(path)
    with pytest.raises(ImageFileError):
        ImageFolder(tmp_path)[0]
    assert not ghostscript


def test_postscript_in_a_dataset_of_torchvision_is_not_run(tmp_path, ghostscript):
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "x.png").write_bytes(POSTSCRIPT)
    data = load_data("torchvision:ImageFolder", tmp_path)
    with pytest.raises(ImageFileError):
        data[0]
    with Image.open(tmp_path / "cats" / "x.png") as opened, pytest.raises(OSError, match="Ghostscript"):
        opened.load()  # as data sets do that open their files themselves
    assert not ghostscript


class OpensItself:
    """As data sets of torchvision that take no loader."""

    def __init__(self, path):
        self.path = path

    def __len__(self):
        return 1

    def __getitem__(self, index):
        with Image.open(self.path) as opened:
            return np.asarray(opened.convert("L"))


@pytest.mark.skipif(os.name == "nt", reason="a script stands for Ghostscript")
def test_no_process_that_loads_images_runs_postscript_that_this_one_would_not(tmp_path, monkeypatch):
    """A process that was spawned imports Pillow anew."""
    (tmp_path / "x.png").write_bytes(POSTSCRIPT)
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {shlex.quote(str(tmp_path / 'run'))}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    data = OpensItself(tmp_path / "x.png")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # so that Pillow runs what it finds
    with pytest.raises(OSError, match="cannot identify"):
        data[0]
    (tmp_path / "run").unlink()
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", False)
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        with batches(data, None, 1, lambda number: True, workers=1) as loaded:
            (batch,) = loaded
    finally:
        multiprocessing.set_start_method(before, force=True)
    assert [number for number, _ in batch.broken] == [0]
    assert not (tmp_path / "run").exists()


def test_only_the_formats_that_are_meant_are_opened(tmp_path):
    for name in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "TGA", "ICO", "JPEG2000"):
        assert name in FORMATS
        path = tmp_path / "picture.any"
        Image.new("RGB", (16, 16), "red").save(path, name)
        assert read_image(path).size == (16, 16)
    for name in ("EPS", "PCX", "SGI"):
        Image.new("RGB", (16, 16), "red").save(path, name)
        with pytest.raises(ImageFileError):
            read_image(path)


def test_sixteen_bits_take_little_more_memory_than_they_have(tmp_path):
    side = 3000
    Image.fromarray(np.full((side, side), 40_000, np.uint16)).save(tmp_path / "deep.png")
    tracemalloc.start()
    found = read_image(tmp_path / "deep.png")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.size, found.getpixel((7, 7))) == ((side, side), round(40_000 / 65535 * 255))
    assert most < 5 * side**2, "bytes for a pixel, beside what Pillow decodes to"  # were 24


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1), ("I;16", 1)])
def test_pixels_times_bytes_are_bounded_before_they_are_decoded(tmp_path, monkeypatch, mode, channels):
    Image.new(mode, (50, 20)).save(tmp_path / "a.png")
    monkeypatch.setattr("deconvviz.images.LARGEST_IMAGE", 4 * channels * 1000)
    assert read_image(tmp_path / "a.png").size == (50, 20)
    monkeypatch.setattr("deconvviz.images.LARGEST_IMAGE", 4 * channels * 999)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    with pytest.raises(ImageFileError, match=r"bomb: Image size \(1000 pixels\) exceeds limit of 999 pixels$"):
        read_image(tmp_path / "a.png")


def test_the_bound_is_a_gigabyte():
    assert LARGEST_IMAGE == 2**30


@pytest.mark.parametrize("name", UNPICKLE)
def test_data_sets_that_unpickle_are_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "_cache_").write_bytes(pickle.dumps(Path("there")))
    with pytest.raises(InputError, match=rf"^torchvision's {name} unpickles a file of the current folder, .+"):
        load_data(f"torchvision:{name}", tmp_path)


def test_no_other_data_set_of_torchvision_unpickles_what_nothing_vouches_for(tmp_path):
    unpickling = set()
    for path in Path(inspect.getfile(datasets)).parent.glob("*.py"):
        source = path.read_text("utf-8")
        if re.search(r"pickle\.load|allow_pickle=True|weights_only=False|torch\.load\((?!.*weights_only=True)", source):
            unpickling.add(path.stem)
    assert unpickling == {"lsun", "cifar"}
    batches = tmp_path / "cifar-10-batches-py"
    batches.mkdir()
    for name in ("test_batch", "batches.meta"):
        (batches / name).write_bytes(b"cos\nsystem\n(S'touch run'\ntR.")
    with pytest.raises(DataError, match="not found or corrupted"):  # by its MD5 sum, before it is unpickled
        load_data("torchvision:CIFAR10", tmp_path)
    assert not Path("run").exists()
