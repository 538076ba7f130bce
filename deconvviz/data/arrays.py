"""NumPy arrays as a dataset: pictures, or inputs of a network."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from deconvviz.data.items import numbers_of_text
from deconvviz.levels import PICTURE_CHANNELS, picture_in

CHANNELS_LAST = "(N, H, W, C)"


class ArrayLayoutWarning(UserWarning):
    """An array was taken for pictures with their channels along the last axis."""


class Arrays(Dataset[Any]):
    """Images (N, ...), and labels (N,) if there are any; at least one of the two is an array.

    Labels that are text are names of classes.

    Arrays of 8-bit numbers of the shape (N, H, W), (N, H, W, C) or (N, C, H, W), with 1, 3 or 4 channels, are pictures,
    and come as PIL images, as files would. If both the second and the last axis could be channels, the last one is; a
    warning says that it was. All other arrays come as they are.

    Attributes:
        name: What the arrays were taken for.
        classes: The names of the classes, sorted; empty if labels are numbers.

    Example:
        >>> pictures = Arrays(np.zeros((5, 3, 8, 6), np.uint8))
        >>> pictures[0].size, pictures.name
        ((6, 8), 'array of 5 pictures (N, C, H, W)')
    """

    def __init__(self, images: Any, labels: Any = None) -> None:
        self.images, self.labels = images, labels
        self.classes: list[str] = []
        if isinstance(labels, np.ndarray) and labels.dtype.kind == "U" and not np.char.isdecimal(labels).all():
            self.classes, self.labels = numbers_of_text(labels.tolist())
        self.layout = _layout_of_pictures(images)
        if self.layout == CHANNELS_LAST:
            message = f"the array of bytes of shape {images.shape} is taken for {len(images)} pictures {self.layout}"
            warnings.warn(message, ArrayLayoutWarning, stacklevel=2)
        self.name = f"array of {len(images)} {f'pictures {self.layout}' if self.layout else 'inputs'}"

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image = self.images[index]
        if self.layout:
            image = picture_in(image)
        return image if self.labels is None else (image, self.labels[index])


class Rows(Dataset[Any]):
    """Inputs of a network that takes several: an item is a mapping with one row of each array.

    Example:
        >>> float(Rows({"left": np.zeros((5, 3, 8, 8)), "age": np.arange(5.0)})[2]["age"])
        2.0
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.arrays = dict(arrays)
        self.name = f"arrays of {', '.join(self.arrays)}"

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index >= len(self):
            raise IndexError(f"there is no item {index}; there are {len(self)}")
        return {name: array[index] for name, array in self.arrays.items()}


def _layout_of_pictures(images: Any) -> str:
    """How the pictures of an array lie, or ''."""
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        return ""
    if images.ndim == 3:
        return "(N, H, W)"
    if images.ndim != 4:
        return ""
    return (
        CHANNELS_LAST
        if images.shape[3] in PICTURE_CHANNELS
        else "(N, C, H, W)"
        if images.shape[1] in PICTURE_CHANNELS
        else ""
    )
