"""MNIST as tensors: the bundled test set, and the training set from a folder.

Images are float32 in [0, 1], ink bright on black, shape (N, 1, 28, 28); labels are int64 in 0..9, shape (N,).
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

import torch
from torch.utils.data import TensorDataset

from deconvviz.arguments import FLAG, PATH, takes
from deconvviz.data.idx import parse_idx, read_idx
from deconvviz.errors import DataError, DependencyError, MissingFileError

TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def mnist_test() -> tuple[torch.Tensor, torch.Tensor]:
    """The 10,000 test images and labels that come with the package.

    Returns:
        Images float32 (10000, 1, 28, 28) in [0, 1] and labels int64 (10000,); new tensors at every call.

    Example:
        >>> images, labels = mnist_test()
        >>> images.min().item(), images.max().item(), labels.bincount().tolist()
        (0.0, 1.0, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])
    """
    bundled = resources.files("deconvviz.data")
    images = parse_idx((bundled / TEST_IMAGES).read_bytes(), dimensions=3, name=TEST_IMAGES)
    labels = parse_idx((bundled / TEST_LABELS).read_bytes(), dimensions=1, name=TEST_LABELS)
    return _as_dataset(images, labels, "the package")


class MnistTest(TensorDataset):
    """The bundled test images and labels as a dataset, with a name and class names.

    Example:
        >>> data = MnistTest()
        >>> len(data), data[0][0].shape, data.classes[int(data[0][1])]
        (10000, torch.Size([1, 28, 28]), '7')
    """

    name = "the MNIST test set"
    classes = tuple("0123456789")

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        """Read the images and labels; the images as `dtype`, by default float32."""
        images, labels = mnist_test()
        super().__init__(images.to(dtype or images.dtype), labels)

    def __repr__(self) -> str:
        return f"MnistTest({len(self)} images)"


@takes(root=PATH, download=FLAG)
def load_mnist(root: str | os.PathLike[str], download: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Load MNIST's training images and labels from the folder `root`.

    The files ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``, each gzipped (``.gz``) or not, may be in
    `root` or in ``root/MNIST/raw``, where torchvision puts them. With `download`, torchvision downloads missing files
    into `root` first.

    Returns:
        Images float32 (N, 1, 28, 28) in [0, 1] and labels int64 (N,); N is 60,000 for the published files.

    Raises:
        MissingFileError: If `root` does not exist.
        DataError: If a file is missing, truncated, in another format or inconsistent with the other, or the download
            fails.
        DependencyError: If torchvision, which is needed only to download, is missing or broken.
    """
    folder = Path(root)
    if download and not _find(folder, TRAIN_IMAGES):
        _download(folder)
    if not os.path.isdir(root):
        raise MissingFileError(f"there is no folder {os.fspath(root)!r} to read MNIST from")
    images, labels = _find(folder, TRAIN_IMAGES), _find(folder, TRAIN_LABELS)
    if not images:
        raise DataError(
            f"{os.fspath(root)!r} holds no MNIST images: neither {TRAIN_IMAGES} nor {TRAIN_IMAGES}.gz, "
            f"there or in MNIST/raw"
        )
    if not labels:
        raise DataError(
            f"{os.fspath(root)!r} holds MNIST images without labels: neither {TRAIN_LABELS} nor "
            f"{TRAIN_LABELS}.gz, there or in MNIST/raw"
        )
    return _as_dataset(read_idx(images, dimensions=3), read_idx(labels, dimensions=1), repr(os.fspath(root)))


def _find(folder: Path, name: str) -> Path | None:
    candidates = (place / f"{name}{end}" for place in (folder, folder / "MNIST" / "raw") for end in ("", ".gz"))
    return next((path for path in candidates if os.path.isfile(path)), None)


def _as_dataset(images: torch.Tensor, labels: torch.Tensor, source: str) -> tuple[torch.Tensor, torch.Tensor]:
    if len(images) != len(labels):
        raise DataError(f"{source} has {len(images)} images but {len(labels)} labels")
    if images.shape[1:] != (28, 28):
        raise DataError(f"the images of {source} have {images.shape[1]} x {images.shape[2]} pixels, not 28 x 28")
    if labels.max() > 9:
        where = int(labels.gt(9).nonzero()[0])
        raise DataError(f"label {where} of {source} is {int(labels[where])}; MNIST's labels are 0 to 9")
    return images.unsqueeze(1).float().div_(255), labels.long()


def _download(folder: Path) -> None:
    try:
        from torchvision.datasets import MNIST  # noqa: PLC0415  only a download needs torchvision
    except (ImportError, RuntimeError) as error:  # a build for another torch fails with a RuntimeError
        raise DependencyError(f"torchvision is needed to download MNIST and cannot be imported ({error})") from error
    try:
        MNIST(os.fspath(folder), train=True, download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"MNIST could not be downloaded to {os.fspath(folder)!r} ({error})") from error
