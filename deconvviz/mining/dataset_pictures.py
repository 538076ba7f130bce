"""The images of a dataset, as inputs of the network and for display."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deconvviz import images
from deconvviz.data.batches import Item, none_readable, numbered
from deconvviz.data.naming import classes_of, name_of_item, short_name
from deconvviz.data.steadiness import changed, changes
from deconvviz.errors import DataError, InputError
from deconvviz.net import DeconvNet
from deconvviz.recording.placement import Placement, required_arguments
from deconvviz.recording.tape import tensors_in
from deconvviz.results import Broken

Picture = NDArray[np.uint8]  # (H, W, 3), RGB


class DatasetPictures:
    """The images of a dataset with items by number."""

    def __init__(self, net: DeconvNet, data: Any, classes: Sequence[str] = ()) -> None:
        self._net, self._data = net, data
        self._classes = list(classes) or classes_of(data)
        self.placement = Placement.of(net.model)
        self._arguments = required_arguments(net.model)
        self._first: tuple[int, tuple[Any, ...]] | None = None  # number and shape of the first image

    def load(self, number: int) -> tuple[Tensor, str]:
        """An image as the network's input, (C, H, W), and its label, "" if there is none.

        Raises:
            DataError: If the item cannot be read.
            InputError: If it has another size than the first image that was loaded.
        """
        image, label = self.load_alone(number)
        self._check_size(number, tuple(image.shape))
        return image, label

    def inputs(self, number: int) -> tuple[Any, str]:
        """As `load`, with all inputs of the network in a tuple if it takes several."""
        inputs, label = self._loaded(number, self._arguments)
        shapes = [tuple(part.shape) for part in tensors_in(inputs)]
        self._check_size(number, tuple(shapes) if len(shapes) > 1 else shapes[0])
        return inputs, label

    def _check_size(self, number: int, shape: tuple[Any, ...]) -> None:
        self._first = self._first or (number, shape)
        if shape != self._first[1]:
            raise InputError(
                f"images {self._first[0]} and {number} have shapes {self._first[1]} and {shape}, but the pictures "
                f"need one size; give the network a preprocess that makes them alike and scan again"
            )

    def load_alone(self, number: int) -> tuple[Tensor, str]:
        """As `load`, for an image that may have another size than the others."""
        image, label = self._loaded(number)
        return cast(Tensor, image), label

    def readable(self, numbers: Iterable[int], most: int) -> tuple[list[Tensor], tuple[Broken, ...]]:
        """The first images that can be read, at most so many, as for `load`, and the items before them that cannot."""
        found, broken = list[Tensor](), list[Broken]()
        for number in numbers:
            if len(found) == most:
                break
            item = self._item(number)
            if item.image is None:
                broken.append(Broken(number, self.name(number), str(item.error)))
            else:
                self._check_size(number, tuple(item.image.shape))
                found.append(cast(Tensor, self.placement.moved(item.image)))
        return found, tuple(sorted(broken, key=lambda one: one.image))

    def first(self) -> Tensor:
        """The first image that can be read, as for `load`. Raises DataError if there is none."""
        found, broken = self.readable(range(len(self._data)), 1)
        if not found:
            raise none_readable(broken)
        return found[0]

    def _loaded(self, number: int, arguments: tuple[str, ...] = ()) -> tuple[Any, str]:
        item = self._item(number, arguments)
        if item.image is None:
            raise DataError(f"item {self.name(number)} cannot be read: {item.error}")
        return self.placement.moved(item.image), self._label(item.label)

    def _item(self, number: int, arguments: tuple[str, ...] = ()) -> Item:
        """An item as it is read; arguments: those of a network that takes several inputs.

        Raises InputError if the dataset is used wrongly, or the network takes several inputs and one is asked for.
        """
        if len(self._arguments) > 1 and not arguments:
            raise InputError(
                f"this is for networks of one input, and {type(self._net.model).__name__} takes "
                f"{', '.join(self._arguments)}"
            )
        preprocess = self.placement.preprocess(self._net.preprocess, arguments)
        item = numbered(number, lambda: self._data[number], preprocess)
        if isinstance(item.error, InputError):
            raise item.error
        return item

    def check_steady(self, number: int) -> None:
        """Raise InputError if an image is another one each time it is read."""
        if changes(lambda: tensors_in(self.inputs(number)[0])[0]):
            raise changed(self.name(number))

    @property
    def dtype(self) -> torch.dtype:
        """The type in which the network computes."""
        return self.placement.dtype or torch.float32

    def _label(self, label: int | None) -> str:
        if label is None:
            return ""
        return self._classes[label] if label < len(self._classes) else str(label)

    @property
    def dataset(self) -> str:
        """The name of the dataset."""
        return short_name(self._data)

    def name(self, number: int) -> str:
        """The name of an image."""
        return name_of_item(self._data, number)

    def picture(self, number: int) -> Picture:
        """An image for display."""
        return self.pictures(self.load(number)[0][None])[0]

    def pictures(self, x: Tensor) -> list[Picture]:
        """Inputs of the network, (N, C, H, W), for display."""
        return [as_bytes(images.as_rgb(image)) for image in images.displayed(x, self._net.preprocess)]


def as_bytes(picture: Tensor) -> Picture:
    """A picture (H, W, 3) in [0, 1] as bytes, rounded."""
    return np.asarray((picture.clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy())
