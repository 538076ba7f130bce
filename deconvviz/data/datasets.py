"""The dataset for what a user gives: a path, tensors, arrays, lists of files, a torch dataset or loader, an iterable.

>>> as_dataset([Path("a.png"), Path("b.png")]).names
['a.png', 'b.png']
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from deconvviz.data.archives import TarShards, ZipImages
from deconvviz.data.array_files import load_arrays
from deconvviz.data.arrays import Arrays
from deconvviz.data.batches import is_indexed, said
from deconvviz.data.folder import ImageFolder
from deconvviz.data.hugging_face import is_hugging_face, of_hugging_face
from deconvviz.data.loaders import items_of
from deconvviz.data.manifest import MANIFEST_ENDINGS, Manifest
from deconvviz.data.video import CONTAINERS, VideoFrames
from deconvviz.errors import InputError
from deconvviz.images import read_image

OF_FILES = (ImageFolder, Manifest, ZipImages, TarShards, VideoFrames)
_ARRAYS = (Tensor, np.ndarray)


def as_dataset(data: Any) -> Any:
    """The dataset for a user's argument, with items by number wherever that is possible.

    Raises:
        InputError: If it is no dataset, or cannot say how long it is.
        MissingFileError: If a path does not exist.
        DataError: If what lies at a path is no dataset.
    """
    if isinstance(data, (str, os.PathLike)):
        return dataset_at(data)
    if isinstance(data, Mapping) and data and all(map(is_hugging_face, data.values())):
        raise InputError(f"there are several splits; give one of them, such as data[{next(iter(data))!r}]")
    if is_hugging_face(data):
        return of_hugging_face(data)
    if isinstance(data, DataLoader):
        return as_dataset(items_of(data))
    if (pair := _pair(data)) is not None:
        return pair
    if isinstance(data, _ARRAYS) and not data.ndim:
        raise InputError("a dataset of one number has no images; give a tensor (N, C, H, W)")
    if isinstance(data, np.ndarray):
        return Arrays(data)
    if isinstance(data, (tuple, list)) and data and all(isinstance(item, (str, os.PathLike)) for item in data):
        return ImageFiles(data)
    if is_indexed(data):
        try:
            len(data)
        except Exception as error:
            raise InputError(f"the dataset {type(data).__name__} does not say how long it is: {said(error)}") from error
        return data
    if isinstance(data, Iterable) or hasattr(data, "__getitem__"):
        return data
    raise InputError(f"a dataset is a folder, a tensor, a torch dataset or an iterable, not {type(data).__name__}")


def _pair(data: Any) -> TensorDataset | Arrays | None:
    """The dataset for images (N, ...) and labels (N,), where labels may also be a list; None for anything else."""
    if not isinstance(data, (tuple, list)) or len(data) != 2 or not isinstance(data[0], _ARRAYS):
        return None
    images, labels = data
    if isinstance(labels, (tuple, list)) and labels and all(isinstance(label, (str, int)) for label in labels):
        labels = np.array(labels)
        labels = torch.from_numpy(labels) if labels.dtype.kind in "bi" and isinstance(images, Tensor) else labels
    if not isinstance(labels, _ARRAYS) or labels.ndim != 1 or images.ndim < 2:
        return None
    if len(images) != len(labels):
        raise InputError(f"there are {len(images)} images and {len(labels)} labels; give one label for each image")
    if isinstance(images, Tensor) and isinstance(labels, Tensor):
        return TensorDataset(images, labels)
    return Arrays(images, labels)


def dataset_at(path: str | os.PathLike[str]) -> Any:
    """The dataset at a path: a folder of images, or what the ending of a file says."""
    ending = os.path.splitext(path)[1].lower()
    if os.path.isdir(path):
        return ImageFolder(path)
    if ending in MANIFEST_ENDINGS:
        return Manifest(path)
    if ending in (".npy", ".npz"):
        return load_arrays(path)
    if ending == ".zip":
        return ZipImages(path)
    if ending in CONTAINERS:
        return VideoFrames(path)
    return TarShards(path) if ".tar" in os.path.basename(path) or ending == ".tgz" else ImageFolder(path)


class ImageFiles:
    """Image files as a dataset, in the order of a list."""

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        self.names = [os.fspath(path) for path in paths]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image.Image:
        return read_image(Path(self.names[index]), all_levels=True)
