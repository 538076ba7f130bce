"""What the items of a dataset are: images in many forms, with or without labels."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from deconvviz.errors import InputError
from deconvviz.images import read_image, with_all_levels
from deconvviz.levels import picture_in, without_preprocess

_NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
IMAGE_KEYS = ("image", "images", "pixel_values", "img", "x", "input")
LABEL_KEYS = ("label", "labels", "target", "y")


def image_of(item: Any) -> Any:
    """The image of an item: the item itself, a tuple's first element, or a mapping's entry with a known key."""
    if isinstance(item, Mapping):
        for key in IMAGE_KEYS:
            if key in item:
                return item[key]
        raise InputError(f"an item has the entries {sorted(map(str, item))}; the image must be one of {IMAGE_KEYS}")
    return item[0] if isinstance(item, (tuple, list)) else item


def gives_inputs(dataset: Any) -> bool:
    """Whether the first item of a dataset is an input as it is: floating-point numbers in place of a picture.

    False where there are no items by number, or the first one cannot be read, which is said when it is needed.

    >>> gives_inputs(torch.zeros(2, 3, 8, 8)), gives_inputs([np.zeros((8, 8), np.uint8)]), gives_inputs(iter([]))
    (True, False, False)
    """
    try:
        item = dataset[0]
        first = item[0] if isinstance(item, (tuple, list)) else item
        parts = list(first.values()) if isinstance(first, Mapping) else [first]
        return any(_are_floats(part) for part in parts)
    except Exception:
        return False


def _are_floats(part: Any) -> bool:
    if isinstance(part, Tensor):
        return part.is_floating_point()
    return isinstance(part, np.ndarray) and part.dtype.kind == "f"


def label_of(item: Any) -> int | None:
    """The number of an item's class, from 0, if it has one.

    Floating-point numbers are none: they are values to be predicted. Labels of a dataset may be anything.
    """
    try:
        label = given_label(item)
        if isinstance(label, str):
            label = int(label)
        elif isinstance(label, (Tensor, np.ndarray)):
            label = label.item()
        number = operator.index(label)
        return number if number >= 0 else None
    except Exception:
        return None


def given_label(item: Any) -> Any:
    """What an item has as its label, whatever it is; None if it has none."""
    if isinstance(item, Mapping):
        return next((item[key] for key in LABEL_KEYS if key in item), None)
    return item[1] if isinstance(item, (tuple, list)) and len(item) > 1 else None


def text_label(item: Any) -> str:
    """The label of an item if it is text and no number of a class; otherwise ''."""
    label = given_label(item)
    is_text = issubclass(type(label), str)  # not isinstance: a label may be any object, and say anything
    return str(label) if is_text and label_of(item) is None else ""


def numbers_of_text(labels: Iterable[str | None]) -> tuple[list[str], list[int]]:
    """The names of classes, sorted, and the number of each label; -1 for None.

    >>> numbers_of_text(["dog", "cat", None, "dog"])
    (['cat', 'dog'], [1, 0, -1, 1])
    """
    given = list(labels)
    classes = sorted({label for label in given if label is not None})
    numbers = {name: number for number, name in enumerate(classes)}
    return classes, [-1 if label is None else numbers[label] for label in given]


def prepared_inputs(item: Any, preprocess: Callable[[Any], Tensor] | None) -> Any:
    """The network's input (C, ...) for an item of a dataset; a tuple of them if the network takes several.

    preprocess: as `Placement.preprocess` gives it; its `arguments` say what the network takes. Items are mappings with
    these names, tuples that begin with the inputs, or pairs of one of these and a label. Numbers become tensors.

    Raises InputError if the item has no such inputs.
    """
    names: tuple[str, ...] = getattr(preprocess, "arguments", ())
    if len(names) < 2:
        return prepared_image(item, preprocess)
    return tuple(_prepared_part(part, preprocess) for part in _parts_of(item, names))


def _parts_of(item: Any, names: Sequence[str]) -> Sequence[Any]:
    first = item[0] if isinstance(item, (tuple, list)) and item else item
    if isinstance(first, Mapping) and set(names) <= set(first):
        return [first[name] for name in names]
    if isinstance(first, (tuple, list)) and len(first) == len(names):
        return first
    if isinstance(item, (tuple, list)) and len(item) >= len(names):
        return item[: len(names)]
    has = f"the entries {sorted(map(str, first))}" if isinstance(first, Mapping) else f"a {type(first).__name__}"
    raise InputError(
        f"the model takes {', '.join(names)}, and an item has {has}; give items that are mappings with these names, or "
        f"tuples of these inputs"
    )


def _prepared_part(part: Any, preprocess: Callable[[Any], Tensor] | None) -> Tensor:
    """One of several inputs: a tensor of any type, a number, or an image."""
    if isinstance(part, (bool, int, float, np.number)):
        part = torch.tensor(part, dtype=torch.get_default_dtype() if isinstance(part, (float, np.floating)) else None)
    if isinstance(part, np.ndarray) and part.dtype.kind in "fiub" and picture_in(part) is None:
        part = torch.from_numpy(part.copy())
    if not isinstance(part, Tensor):
        return prepared_image(part, preprocess)
    if unfit := unfit_for_networks(part.to(torch.float32) if not part.is_floating_point() else part):
        raise InputError(f"an input must come as a dense tensor of numbers, not {unfit}")
    typed = getattr(getattr(preprocess, "placement", None), "typed", None)
    return typed(part) if typed and part.ndim == 0 else part


def prepared_image(item: Any, preprocess: Callable[[Any], Tensor] | None) -> Tensor:
    """The network's input (C, ...) for an item of a dataset. Raises InputError if it has none.

    Paths are read as image files. Arrays of floating-point numbers are taken as tensors if there is no preprocess.
    """
    image = image_of(item)
    if isinstance(image, (str, os.PathLike)):
        image = read_image(image, all_levels=True)
    if not isinstance(image, Tensor):
        image = (preprocess or without_preprocess)(with_all_levels(image) if isinstance(image, Image.Image) else image)
    if unfit := unfit_for_networks(image):
        raise InputError(f"an image must come as a floating-point tensor (C, H, W), not {unfit}")
    return image


def unfit_for_networks(image: Any) -> str:
    """Why an image cannot be a network's input, or ''."""
    if not isinstance(image, Tensor):
        return type(image).__name__
    if image.is_nested or image.layout != torch.strided:
        return "a nested tensor" if image.is_nested else f"a tensor of layout {image.layout}"
    return "a tensor without numbers, on the device meta" if image.is_meta else _wrong_type(image.dtype)


def _wrong_type(dtype: torch.dtype) -> str:
    return "" if dtype in _NUMBERS else str(dtype)
