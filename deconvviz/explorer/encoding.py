"""Pictures as data addresses for the page: sprites of feature maps, patches, projections."""

from __future__ import annotations

import base64
import functools
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from deconvviz.images import as_rgb, signed_as_rgb, to_pil

LARGEST_MAP = 64  # pixels of the larger side of a map in a sprite
BAND = 4  # times as wide as high are signals


def as_address(image: Image.Image) -> str:
    """A picture as a PNG in a data address."""
    return f"data:image/png;base64,{base64.b64encode(as_png(image)).decode()}"


def as_png(image: Image.Image) -> bytes:
    image.save(content := io.BytesIO(), "PNG", compress_level=1)
    return content.getvalue()


def shown_image(picture: Tensor) -> str:
    """An image (C, H, W) for display."""
    return as_address(to_pil(as_rgb(planar(picture))))


def shown_signed(picture: Tensor) -> str:
    """A signed map (C, H, W), on its own scale; see `deconvviz.images.signed_as_rgb`."""
    return as_address(to_pil(signed_as_rgb(planar(picture))))


def planar(picture: Tensor) -> Tensor:
    """A picture (C, ...) as one with two spatial axes: a sequence is one row, of a volume the middle slice is shown."""
    if picture.ndim == 1:
        picture = picture[:, None]
    if picture.ndim == 2:
        return picture[:, None]
    while picture.ndim > 3:
        picture = picture[:, picture.shape[1] // 2]
    return picture


def sprite_of(maps: Tensor) -> dict[str, Any]:
    """Feature maps (channels, H, W) in one picture, each on its own scale from zero; negative values are black.

    Returns:
        The picture's address, the size of a cell, and how many cells are in a row.
    """
    channels, height, width = maps.shape
    shrink = max(1, math.ceil(max(height, width) / LARGEST_MAP))
    if shrink > 1:
        maps = torch.nn.functional.max_pool2d(maps[None], shrink, ceil_mode=True)[0]
    height, width = maps.shape[1:]
    if height == 1:  # a signal, of which one row of pixels could not be seen
        height = max(1, width // BAND)
        maps = maps.expand(-1, height, -1)
    columns = max(1, math.ceil(math.sqrt(channels * height / width)))
    rows = -(-channels // columns)
    positive = maps.detach().float().cpu().clamp(min=0)
    scaled = (positive / positive.amax((1, 2), keepdim=True).clamp(min=1e-30) * 255).round().to(torch.uint8)
    sheet = torch.zeros(rows * columns, height, width, dtype=torch.uint8)
    sheet[:channels] = scaled
    pixels = sheet.view(rows, columns, height, width).permute(0, 2, 1, 3).reshape(rows * height, columns * width)
    image = Image.fromarray(pixels.numpy())
    image.putpalette(_palette())
    return {"url": as_address(image), "cell": [height, width], "columns": columns, "rows": rows}


@functools.cache
def _palette() -> list[int]:
    from matplotlib import colormaps  # noqa: PLC0415  slow to import

    levels: NDArray[Any] = colormaps["inferno"](np.linspace(0, 1, 256))[:, :3]
    return [int(level) for level in (levels * 255).round().flatten()]


def thumbnails(pictures: Sequence[Tensor | None], side: int) -> dict[str, Any]:
    """Small pictures (C, H, W) in one, side by side; None where there is none."""
    sheet = Image.new("RGB", (max(1, len(pictures)) * side, side), (127, 127, 127))
    for place, picture in enumerate(pictures):
        if picture is None:
            continue
        image = to_pil(as_rgb(planar(picture)))
        factor = side / max(image.size)
        size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
        if picture.ndim == 2:  # a signal, of which one row of pixels could not be seen
            size = side, side // BAND
        small = image.resize(size, Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BILINEAR)
        sheet.paste(small, (place * side + (side - size[0]) // 2, (side - size[1]) // 2))
    sheet.save(content := io.BytesIO(), "WEBP", quality=85)
    url = f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"
    return {"url": url, "cell": [side, side], "columns": max(1, len(pictures)), "rows": 1}
