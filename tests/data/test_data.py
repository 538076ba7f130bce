"""MNIST and IDX files: the right values, and one clear sentence for every file that is wrong."""

from __future__ import annotations

import gzip
import struct
import sys
import types
from pathlib import Path

import pytest
import torch

from deconvviz.data import load_mnist, mnist_test, parse_idx, read_idx
from deconvviz.errors import DataError, DeconvVizError, DependencyError, MissingFileError

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def idx(values: torch.Tensor) -> bytes:
    header = struct.pack(f">BBBB{values.dim()}I", 0, 0, 8, values.dim(), *values.shape)
    return header + bytes(values.flatten().tolist())


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randint(0, 256, (3, 28, 28), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def folder(tmp_path: Path, pixels: torch.Tensor) -> Path:
    (tmp_path / IMAGES).write_bytes(idx(pixels))
    (tmp_path / LABELS).write_bytes(idx(torch.tensor([4, 0, 9])))
    return tmp_path


def test_the_bundled_test_set_has_the_published_digits():
    images, labels = mnist_test()
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert images.shape == (10000, 1, 28, 28)
    assert (images.min().item(), images.max().item()) == (0.0, 1.0)
    # The mean of MNIST's test pixels, and the first digits of the set, as published.
    assert images.mean().item() == pytest.approx(0.1325, abs=5e-5)
    assert labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    # The first image is a seven: a bar at the top, nothing below it on the left.
    assert images[0, 0, 8, 6:20].gt(0.4).all()
    assert images[0, 0, 12:, :10].sum() == 0


def test_each_call_gives_new_tensors():
    first, _ = mnist_test()
    first.zero_()
    assert mnist_test()[0].max() == 1


def test_the_training_set_is_read_from_a_folder(assets: Path):
    images, labels = load_mnist(assets / "mnist")
    assert images.shape == (60000, 1, 28, 28)
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert images.mean().item() == pytest.approx(0.1307, abs=5e-5)


def test_pixels_become_shares_of_255(folder: Path, pixels: torch.Tensor):
    images, labels = load_mnist(folder)
    assert torch.equal(images, pixels.unsqueeze(1).float() / 255)
    assert labels.tolist() == [4, 0, 9]


def test_gzipped_files_and_the_layout_of_torchvision(tmp_path: Path, folder: Path, pixels: torch.Tensor):
    raw = tmp_path / "elsewhere" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in (IMAGES, LABELS):
        (raw / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
    images, labels = load_mnist(tmp_path / "elsewhere")
    assert torch.equal(images, pixels.unsqueeze(1).float() / 255)
    assert labels.tolist() == [4, 0, 9]


def test_torchvision_reads_the_same(folder: Path, pixels: torch.Tensor):
    datasets = pytest.importorskip("torchvision.datasets")
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in (IMAGES, LABELS, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (raw / name).write_bytes((folder / (IMAGES if "images" in name else LABELS)).read_bytes())
    theirs = datasets.MNIST(folder, train=True)
    images, labels = load_mnist(folder)
    assert torch.equal((images[:, 0] * 255).round().byte(), theirs.data)
    assert torch.equal(labels, theirs.targets)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda b: b[:-1], "is truncated: its header promises 2352 values, it holds 2351"),
        (lambda b: b[:10], "is truncated: its header has 10 of 16 bytes"),
        (lambda b: b + b"\0", "has bytes after its end: its header promises 2352 values, it holds more"),
        (lambda b: b"\x89PNG" + b[4:], "it starts with 89504e47, not with 00000803"),
        (lambda b: b"\0\0\x0d\x03" + b[4:], "it starts with 00000d03, not with 00000803"),
        (lambda b: b"", "it starts with nothing, not with 00000803"),
        (lambda b: b"\0\0", "is truncated: its header has 2 of 16 bytes"),
        (lambda b: gzip.compress(b)[:-20], "is truncated or damaged: gzip says"),
        (lambda b: gzip.compress(b)[:12] + b"garbage" * 9, "is truncated or damaged: gzip says"),
        (lambda b: b[:4] + struct.pack(">III", 0, 28, 28), "is empty: its header gives the sizes 0 x 28 x 28"),
        (lambda b: b[:4] + struct.pack(">III", 2**32 - 1, 2**32 - 1, 9) + b[16:], "is refused: its header promises"),
        (lambda b: b[:4] + struct.pack(">III", 3, 56, 14) + b[16:], "have 56 x 14 pixels, not 28 x 28"),
        (lambda b: b[:4] + struct.pack(">III", 2, 28, 28) + b[16:-784], "has 2 images but 3 labels"),
    ],
)
def test_damaged_images_are_refused_with_what_is_wrong(folder: Path, damage, sentence: str):
    (folder / IMAGES).write_bytes(damage((folder / IMAGES).read_bytes()))
    with pytest.raises(DataError) as caught:
        load_mnist(folder)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert folder.name in str(caught.value)


def test_labels_out_of_range_are_refused(folder: Path):
    (folder / LABELS).write_bytes(idx(torch.tensor([4, 10, 9])))
    with pytest.raises(DataError, match=r"label 1 of .* is 10; MNIST's labels are 0 to 9"):
        load_mnist(folder)


def test_images_without_labels_are_refused(folder: Path):
    (folder / LABELS).unlink()
    with pytest.raises(DataError, match="holds MNIST images without labels"):
        load_mnist(folder)


def test_an_empty_folder_is_no_mnist(tmp_path: Path):
    with pytest.raises(DataError, match="holds no MNIST images: neither train-images-idx3-ubyte nor"):
        load_mnist(tmp_path)


def test_what_does_not_exist_is_missing(tmp_path: Path):
    with pytest.raises(MissingFileError, match=r"there is no folder .*nowhere"):
        load_mnist(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_idx(tmp_path / "nowhere", dimensions=1)


def test_an_idx_file_keeps_the_order_of_its_values():
    assert parse_idx(idx(torch.arange(6).reshape(2, 3)), dimensions=2).tolist() == [[0, 1, 2], [3, 4, 5]]


def fake_torchvision(monkeypatch: pytest.MonkeyPatch, mnist: object) -> None:
    datasets = types.ModuleType("torchvision.datasets")
    datasets.MNIST = mnist
    monkeypatch.setitem(sys.modules, "torchvision.datasets", datasets)


def test_a_download_is_left_to_torchvision(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
    calls = []

    def mnist(root: str, train: bool, download: bool) -> None:
        calls.append((root, train, download))
        raw = Path(root) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for name in (IMAGES, LABELS):
            (raw / name).write_bytes((folder / name).read_bytes())

    fake_torchvision(monkeypatch, mnist)
    for _ in range(2):  # what is there is not fetched again
        _, labels = load_mnist(tmp_path / "new", download=True)
        assert labels.tolist() == [4, 0, 9]
    assert calls == [(str(tmp_path / "new"), True, True)]


def test_a_failed_download_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def mnist(root: str, train: bool, download: bool) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    fake_torchvision(monkeypatch, mnist)
    with pytest.raises(DataError, match=r"MNIST could not be downloaded to '.*' \(Error downloading train-"):
        load_mnist(tmp_path, download=True)


def test_a_broken_torchvision_matters_to_a_download_only(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(name: str, *rest: object, **options: object) -> object:
        if name.startswith("torchvision"):
            raise RuntimeError("operator torchvision::nms does not exist")
        return real_import(name, *rest, **options)

    real_import = __import__
    monkeypatch.delitem(sys.modules, "torchvision.datasets", raising=False)
    monkeypatch.setattr("builtins.__import__", broken)
    assert load_mnist(folder)[1].tolist() == [4, 0, 9]
    assert load_mnist(folder, download=True)[1].tolist() == [4, 0, 9]  # nothing to fetch
    with pytest.raises(DependencyError, match=r"torchvision is needed to download MNIST .*nms does not exist"):
        load_mnist(folder / "new", download=True)


def test_every_error_is_the_librarys_own(tmp_path: Path):
    for call in (lambda: load_mnist(tmp_path), lambda: load_mnist(tmp_path / "x"), lambda: parse_idx(b"", 1)):
        with pytest.raises(DeconvVizError):
            call()
