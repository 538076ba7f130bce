"""Pixel values: images of 16 and 32 bits as Pillow has them, and NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from deconvviz.errors import InputError

PICTURE_CHANNELS = (1, 3, 4)
STRIP = 2**20  # pixels of a deep image that are scaled at once


def is_deep(image: Image.Image) -> bool:
    """Whether an image has more than 8 bits for a number."""
    return image.mode.startswith(("I", "F"))  # 16 and 32 bits, whole numbers and floating point


def scaled(image: Image.Image, mode: str) -> Image.Image:
    """A 16- or 32-bit image from 0 to 255, in mode L (rounded) or F.

    It is scaled strip by strip, because the numbers need more memory than the image.
    """
    image.load()
    rows = max(1, STRIP // image.width)
    boxes = [(0, top, image.width, min(top + rows, image.height)) for top in range(0, image.height, rows)]
    highest = 65535.0 if image.mode.startswith("I") else 1.0
    for box in boxes:
        values = np.asarray(image.crop(box))
        if not np.isfinite(values).all():
            raise ValueError("it holds values that are NaN or infinite")
        highest = max(highest, float(values.max()))
    scaled = Image.new(mode, image.size)
    for box in boxes:
        levels = (np.asarray(image.crop(box), dtype=np.float64) / highest * 255).clip(0, 255)
        strip = levels.round().astype(np.uint8) if mode == "L" else levels.astype(np.float32)
        scaled.paste(Image.fromarray(strip), box[:2])
    return scaled


def picture_in(array: NDArray[Any]) -> Image.Image | None:
    """The picture (H, W), (H, W, C) or (C, H, W) in an array of bytes with 1, 3 or 4 channels; None if it is none."""
    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        return None
    if array.ndim == 3 and array.shape[2] not in PICTURE_CHANNELS:
        array = np.moveaxis(array, 0, 2)
    if array.shape[2:] == (1,):
        array = array[..., 0]
    is_picture = array.ndim == 2 or array.shape[2] in PICTURE_CHANNELS
    return Image.fromarray(np.ascontiguousarray(array)) if is_picture and array.size else None


def without_preprocess(image: Any) -> Tensor:
    """A tensor from an array of floating-point numbers, for a network without preprocess.

    Raises InputError for anything else.
    """
    if isinstance(image, np.ndarray) and image.dtype.kind == "f":
        return torch.from_numpy(np.array(image, dtype=image.dtype.newbyteorder("=")))
    raise InputError(
        f"the dataset gives a {type(image).__name__}, and the network has no preprocess to convert it to a tensor"
    )
