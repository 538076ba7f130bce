"""Pieces of images that a unit sees, as people see them: cut out, reduced, and of equal contrast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, pad

from deconvviz.errors import InputError
from deconvviz.reading.observers import reduced
from deconvviz.results import LayerInfo, Projection

SIDE = 96  # pixels of the longer side to which pictures are reduced
BLANK = 1e-3  # contrast, of brightness from 0 to 1, below which a piece shows nothing
MASK_SHARE = 0.5  # the share of a patch that is seen through a mask
DARK = 1e-12


@dataclass(frozen=True)
class UnitWindows:
    """Where the units of a layer look.

    Attributes:
        size: Height and width of a window: the receptive field, at most as large as the image.
        stride: Distance of windows, or None if each unit sees the whole image.
        offset: The first pixel of the window at position 0.
    """

    size: tuple[int, int]
    stride: tuple[float, float] | None
    offset: tuple[float, float]

    @classmethod
    def of(cls, layer: LayerInfo, shape: Sequence[int]) -> UnitWindows:
        """The windows of a layer on images of a shape (C, H, W). Raises InputError if it is another shape."""
        if len(shape) != 3:
            raise InputError(f"pictures are read on images (C, H, W), and this network takes {tuple(shape)}")
        height, width = shape[1:]
        field, stride, offset = layer.receptive_field, layer.stride, layer.offset
        if field is None or stride is None or offset is None or len(field) != 2:
            return cls((height, width), None, (0, 0))
        rows, columns = min(field[0], height), min(field[1], width)
        first = offset[0] + (field[0] - rows) / 2, offset[1] + (field[1] - columns) / 2
        return cls((rows, columns), (stride[0], stride[1]), first)

    def cut(self, picture: Tensor, position: Sequence[int], *, fill: float | None = None) -> Tensor:
        """The window of a picture (C, H, W) at a position.

        What lies outside of the picture is filled with `fill`, or with the mean of what lies inside.
        """
        (top, bottom), (left, right) = self.box(position, picture.shape[1:])
        return self.filled(picture[:, top:bottom, left:right], position, fill=fill)

    def box(self, position: Sequence[int], shape: Sequence[int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """The part of a picture of a shape (H, W) in the window at a position: (top, bottom), (left, right)."""
        height, width = shape
        if self.stride is None or len(position) != 2:
            return (0, height), (0, width)
        (top, left), (rows, columns) = self._first(position, self.stride), self.size
        vertical = min(max(top, 0), height), min(max(top + rows, 0), height)
        return vertical, (min(max(left, 0), width), min(max(left + columns, 0), width))

    def filled(self, inside: Tensor, position: Sequence[int], *, fill: float | None = None) -> Tensor:
        """The window at a position, from what lies inside of the picture there (see `box`); `fill`: as for `cut`."""
        rows, columns = self.size
        if self.stride is None or len(position) != 2 or inside.shape[1:] == (rows, columns):
            return inside
        top, left = self._first(position, self.stride)
        channels = inside.shape[0]
        mean = inside.mean((1, 2)) if fill is None and inside.numel() else inside.new_full((channels,), fill or 0.0)
        whole = mean[:, None, None].repeat(1, rows, columns)
        at = max(-top, 0), max(-left, 0)
        whole[:, at[0] : at[0] + inside.shape[1], at[1] : at[1] + inside.shape[2]] = inside
        return whole

    def projected(self, projection: Projection) -> Tensor:
        """The pixels of each unit of a projection in its window, (units, C, h, w), signed, on the CPU.

        What lies outside of the image is zero. No whole image is made of a projection that holds crops.
        """
        shape = projection.shape[1:]
        return torch.stack(
            [
                self.filled(
                    projection.cut(row, self.box(unit.position, shape)).detach().float().cpu(), unit.position, fill=0.0
                )
                for row, unit in enumerate(projection.units)
            ]
        )

    def _first(self, position: Sequence[int], stride: tuple[float, float]) -> tuple[int, int]:
        """The first pixel of the window at a position, which may lie outside of the picture."""
        (top, left), (down, across) = self.offset, stride
        return round(top + position[0] * down), round(left + position[1] * across)


def small(pictures: Tensor) -> Tensor:
    """Pictures (N, C, H, W), reduced to what is shown; channels other than 1 or 3 become their mean."""
    if pictures.shape[1] not in (1, 3):
        pictures = pictures.mean(1, keepdim=True)
    return reduced(pictures.float(), SIDE)


def contrast(pictures: Tensor) -> Tensor:
    """(N,), the standard deviation of pictures (N, C, H, W) about the mean of each channel."""
    return (pictures - pictures.mean((-2, -1), keepdim=True)).flatten(1).square().mean(1).sqrt()


def equalised(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Two pictures (C, H, W) of equal contrast: the stronger one is weakened about its mean colour."""
    strengths = contrast(torch.stack([one, other]))
    share = strengths.min() / strengths.clamp(min=BLANK)
    means = (picture.mean((-2, -1), keepdim=True) for picture in (one, other))
    first, second = (mean + (p - mean) * s for p, mean, s in zip((one, other), means, share, strict=True))
    return first, second


def masked(patches: Tensor, energy: Tensor) -> Tensor:
    """Patches (N, C, H, W) seen through the half of their pixels with the most energy; the rest is their mean colour.

    Args:
        patches: The patches.
        energy: (N, 1, H, W), not negative.
    """
    smooth = _smoothed(energy)
    flat = smooth.flatten(1)
    least = flat.quantile(1 - MASK_SHARE, dim=1).clamp(min=DARK).view(-1, 1, 1, 1)
    mask = _smoothed((smooth >= least).float())
    mean = patches.mean((-2, -1), keepdim=True)
    return mean + (patches - mean) * mask


def _smoothed(maps: Tensor) -> Tensor:
    """Means over squares of about a sixteenth of the side."""
    reach = max(1, max(maps.shape[-2:]) // 32)
    return avg_pool2d(pad(maps, (reach,) * 4, mode="replicate"), 2 * reach + 1, stride=1)


def edge_energy(patches: Tensor) -> Tensor:
    """Squared lengths of Sobel gradients of patches (N, C, H, W), (N, 1, H, W)."""
    sobel = patches.new_tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    grey = pad(patches.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    gradients = conv2d(grey, torch.stack([sobel, sobel.T])[:, None])
    return gradients.square().sum(1, keepdim=True)


def brightness_range(images: Sequence[Tensor]) -> tuple[float, float]:
    """The lowest and highest value of displayed images: 0 and 1, or further where their values go further."""
    return (min(0.0, *(float(image.min()) for image in images)), max(1.0, *(float(image.max()) for image in images)))
