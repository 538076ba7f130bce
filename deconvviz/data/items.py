"""What the items of a dataset are: images in many forms, with or without labels."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from deconvviz.errors import InputError
from deconvviz.images import read_image, with_all_levels
from deconvviz.levels import without_preprocess

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


def label_of(item: Any) -> int | None:
    """The number of an item's class, from 0, if it has one.

    Floating-point numbers are none: they are values to be predicted. Labels of a dataset may be anything.
    """
    try:
        label = _given_label(item)
        if isinstance(label, str):
            label = int(label)
        elif isinstance(label, (Tensor, np.ndarray)):
            label = label.item()
        number = operator.index(label)
        return number if number >= 0 else None
    except Exception:
        return None


def _given_label(item: Any) -> Any:
    if isinstance(item, Mapping):
        return next((item[key] for key in LABEL_KEYS if key in item), None)
    return item[1] if isinstance(item, (tuple, list)) and len(item) > 1 else None


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
