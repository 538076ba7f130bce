"""A dataset from its name on the command line.

>>> len(load_data("mnist"))
10000
"""

from __future__ import annotations

import inspect
import os
from functools import partial
from typing import Any

from PIL import EpsImagePlugin

from deconvviz.data.datasets import as_dataset, dataset_at
from deconvviz.data.hugging_face import load_hugging_face, of_hugging_face
from deconvviz.data.mnist import MnistTest
from deconvviz.errors import DataError, DependencyError, InputError, did_you_mean
from deconvviz.images import read_image
from deconvviz.io.factories import Purpose, factory_of

# Data sets of torchvision that unpickle a file which nothing vouches for: a cache in the current folder. CIFAR10 and
# CIFAR100 unpickle, too, but compare their files with the published MD5 sums first.
UNPICKLE = ("LSUN", "LSUNClass")
DATASET_FORMS = (
    "mnist, a folder of images, a .csv, .json, .npy, .npz, .zip, .tar or video file, torchvision:NAME, hf:NAME, "
    "path/to/file.py:factory or package.module:factory"
)
DATASET = Purpose("a dataset", DATASET_FORMS, DataError)


def load_data(spec: str, root: str | os.PathLike[str] | None = None) -> Any:
    """The dataset that `spec` names.

    It is mnist (the bundled test images), torchvision:NAME, hf:NAME[:SPLIT], a folder of images, a file as for
    `deconvviz.scan`, or path/to/file.py:factory or package.module:factory, whose code is run.

    Args:
        spec: The name.
        root: The folder of a torchvision dataset; nothing is downloaded. If the dataset has several parts, the test
            part is used. Its images are opened by `read_image` if the dataset allows a loader, and never by
            Ghostscript.

    Raises:
        InputError: If the name is unknown, or `root` is missing.
        DataError: If the dataset cannot be read.
        DependencyError: If torchvision cannot be imported.
        MissingFileError: If the folder does not exist.
    """
    kind, _, name = spec.partition(":")
    if root is not None and kind != "torchvision":
        raise InputError(f"--root is the folder of a dataset torchvision:NAME, and {spec!r} is read without it")
    if spec == "mnist":
        return MnistTest()
    if kind == "hf":
        return of_hugging_face(load_hugging_face(name))
    if is_factory(spec):
        home, _, factory = spec.rpartition(":")
        return as_dataset(factory_of(home, factory, DATASET)())
    if kind != "torchvision":
        return dataset_at(spec)
    if root is None:
        raise InputError(f"{spec} needs the folder that holds it: --root DIR")
    try:
        from torchvision import datasets  # noqa: PLC0415  slow to import, and may not fit torch
    except (ImportError, RuntimeError) as error:
        raise DependencyError(f"torchvision is needed for {spec} and cannot be imported ({error})") from error
    known = [each for each in datasets.__all__ if inspect.isclass(getattr(datasets, each))]
    if name not in known:
        raise InputError(f"torchvision has no dataset {name!r}{did_you_mean(name, known)}")
    if name in UNPICKLE:
        raise InputError(
            f"torchvision's {name} unpickles a file of the current folder, which can run any code; "
            f"give its images as a folder"
        )
    dataset = getattr(datasets, name)
    parameters = inspect.signature(dataset).parameters
    if "root" not in parameters:
        raise InputError(f"torchvision's {name} is not read from a folder, so there is nothing to scan")
    options: dict[str, Any] = {"train": False} if "train" in parameters else {}
    if "loader" in parameters:
        options["loader"] = partial(read_image, all_levels=True)
    EpsImagePlugin.gs_binary = False  # Pillow would hand it PostScript in files of any name
    try:
        return dataset(os.fspath(root), **options)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"{spec} cannot be read from {os.fspath(root)!r}: {error}") from error


def is_factory(spec: str) -> bool:
    """Whether a name is that of a function that makes a dataset.

    >>> is_factory("data.py:photos"), is_factory("torchvision:CIFAR10"), is_factory("photos")
    (True, False, False)
    """
    home = spec.rpartition(":")[0]
    return bool(home) and spec.partition(":")[0] not in ("torchvision", "hf") and not os.path.exists(spec)
