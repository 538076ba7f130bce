"""Arrays in files of NumPy, ``.npy`` and ``.npz``, as datasets; nothing in them is unpickled."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from deconvviz.data.arrays import Arrays, Rows
from deconvviz.errors import DataError, MissingFileError
from deconvviz.io.atomic import may_hang

T = TypeVar("T")

IMAGE_ARRAYS = ("images", "image", "x", "x_test", "x_train", "data", "arr_0")
LABEL_ARRAYS = ("labels", "label", "y", "y_test", "y_train", "targets", "arr_1")
LARGEST_ARRAYS = 2**34  # bytes that the arrays of an .npz file may take in memory


def load_arrays(path: str | os.PathLike[str]) -> Arrays | Rows:
    """The images of a file of NumPy, and the labels if an ``.npz`` file has them; an ``.npy`` file stays on the disk.

    Several arrays of one length, none of them under a name of images, are the inputs of a network by their names: an
    item is a mapping with one row of each.

    Raises:
        MissingFileError: If the file does not exist.
        DataError: If it cannot be read, holds Python objects, or too much, or no array of images.
    """
    shown = os.fspath(path)
    arrays = {"images": load_array(path)} if shown.lower().endswith(".npy") else _read(path, _of_npz)
    images = next((arrays[name] for name in IMAGE_ARRAYS if name in arrays), None)
    others = [array for name, array in arrays.items() if name not in LABEL_ARRAYS]
    if images is None and len(others) == 1:
        images = others[0]
    if images is None and len(others) > 1 and len({array.shape[:1] for array in arrays.values()} - {(0,)}) == 1:
        return Rows(arrays)
    if images is None or images.ndim < 2 or not len(images):
        held = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise DataError(
            f"{shown!r} holds no images: {held}; they must stand under {', '.join(IMAGE_ARRAYS)}, as (N, ...)"
        )
    labels = next((arrays[name] for name in LABEL_ARRAYS if name in arrays), None)
    return Arrays(images, labels if labels is not None and labels.shape[:1] == images.shape[:1] else None)


def load_array(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array of an ``.npy`` file, which stays on the disk. Raises as `load_arrays`."""
    return _read(path, lambda shown: np.load(shown, mmap_mode="r", allow_pickle=False))


def holds_inputs(path: str) -> bool:
    """Whether a path is of a file of NumPy with floating-point numbers in place of pictures, from its head."""
    if not path.lower().endswith((".npy", ".npz")) or not os.path.isfile(path) or may_hang(path):
        return False
    try:
        if path.lower().endswith(".npy"):
            return bool(np.load(path, mmap_mode="r", allow_pickle=False).dtype.kind == "f")
        with zipfile.ZipFile(path) as archive:
            types = [_type_of(archive, name) for name in archive.namelist() if _is_of_images(name)]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return False  # which is said when the file is read
    return bool(types) and all(kind == "f" for kind in types)


def _is_of_images(name: str) -> bool:
    return name.removesuffix(".npy") not in LABEL_ARRAYS


def _type_of(archive: zipfile.ZipFile, name: str) -> str:
    """The kind of number of an array in an ``.npz`` file."""
    with archive.open(name) as array:
        version = np.lib.format.read_magic(array)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(array)[2].kind


def _read(path: str | os.PathLike[str], reader: Callable[[str], T]) -> T:
    shown = os.fspath(path)
    if not os.path.isfile(path) or may_hang(path):
        raise MissingFileError(f"there is no file {shown!r} of arrays")
    try:
        return reader(shown)
    except DataError:
        raise
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise DataError(f"{shown!r} cannot be read as arrays of NumPy: {error}") from error


def _of_npz(path: str) -> dict[str, Any]:
    """The arrays of images and labels by name. Raises DataError if they would take too much memory."""
    with zipfile.ZipFile(path) as archive:
        sizes = {member.filename.removesuffix(".npy"): member.file_size for member in archive.infolist()}
    known = [name for name in sizes if name in (*IMAGE_ARRAYS, *LABEL_ARRAYS)]
    wanted = known if any(name in IMAGE_ARRAYS for name in known) else list(sizes)
    if sum(sizes[name] for name in wanted) > LARGEST_ARRAYS:
        raise DataError(f"{path!r} would unpack to more than {LARGEST_ARRAYS} bytes; save the images as an .npy file")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in wanted}
