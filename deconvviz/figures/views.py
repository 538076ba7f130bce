"""What an input is drawn as, by the shape of one sample: lines, a picture, or a volume of which slices are shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deconvviz.images import as_rgb
from deconvviz.results import Projection, Reconstruction
from deconvviz.results.energy import VOLUME, channel_axis

Box = list[tuple[int, int]]
Field = Sequence[Sequence[int]]


class View(NamedTuple):
    """One input of one unit, as far as it is shown.

    Attributes:
        image: Of a signal (C, length), its numbers; otherwise (3, *size), from 0 to 1.
        pixels: (C, *size), signed: what arrived there.
        start: Per axis of the size, the first pixel that is shown.
        field: Per axis, the first pixel that the unit sees and one past the last.
        stretched: Whether the image was scaled to 0 to 1.
    """

    image: Tensor
    pixels: Tensor
    start: list[int]
    field: Box
    stretched: bool

    @property
    def is_signal(self) -> bool:
        return self.pixels.ndim == 2

    @property
    def strongest(self) -> list[int]:
        """The place where the pixels are farthest from zero."""
        flat = self.pixels.abs().amax(0)
        return [int(index) for index in torch.unravel_index(flat.argmax(), flat.shape)]

    def slices(self) -> Iterator[View]:
        """The pictures of it: itself or, of a volume, three slices through its strongest place."""
        if self.pixels.ndim < VOLUME:
            yield self
            return
        images, pixels = (slices_through(part, self.strongest, first=1) for part in (self.image, self.pixels))
        for axis in range(VOLUME - 1):
            start, field = self.start[:axis] + self.start[axis + 1 :], self.field[:axis] + self.field[axis + 1 :]
            yield View(images[axis], pixels[axis], start, field, self.stretched)


def slices_through(volume: Tensor, place: Sequence[int], *, first: int = 0) -> list[Tensor]:
    """The slices of a volume through a place, one across each of its axes.

    first: the axis of the volume's depth.

    >>> [tuple(part.shape) for part in slices_through(torch.zeros(4, 5, 6), [1, 2, 3])]
    [(5, 6), (4, 6), (4, 5)]
    """
    return [volume.select(first + axis, index) for axis, index in enumerate(place)]


def views_of_unit(projection: Projection, row: int, crop: bool) -> list[View]:
    """The inputs of a unit that are drawn: all but lists of numbers, unless there is nothing else.

    crop: whether to show the receptive field only.
    """
    sample = projection.units[row].sample
    found: list[tuple[Tensor, Tensor, Field]] = [
        (projection.image(row), projection.whole(row), projection.receptive_fields[row].tolist())
    ]
    for name, pixels in projection.others.items():
        images, fields = projection.other_images.get(name), projection.other_fields.get(name)
        if images is not None and fields is not None and sample < len(images):
            found.append((images[sample], pixels[row], fields[row].tolist()))
    return [view(*one, crop=crop) for one in _drawn(found)]


def views_of_sample(reconstruction: Reconstruction, sample: int) -> list[View]:
    """The inputs of a sample that are drawn, as `views_of_unit`, with what was sent back to them."""
    found: list[tuple[Tensor, Tensor, Field]] = [(reconstruction.images[sample], reconstruction.pixels[sample], ())]
    for name, pixels in reconstruction.others.items():
        images = reconstruction.other_images.get(name)
        if images is not None and sample < len(pixels) and sample < len(images):
            found.append((images[sample], pixels[sample], ()))
    return [view(*one, crop=False) for one in _drawn(found)]


def _drawn(found: list[tuple[Tensor, Tensor, Field]]) -> list[tuple[Tensor, Tensor, Field]]:
    pictures = [one for one in found if one[1].ndim > 1]
    return pictures or sorted(found, key=lambda one: -one[1].numel())[:1]


def view(image: Tensor, pixels: Tensor, field: Field, *, crop: bool) -> View:
    """One input as it is drawn.

    Args:
        image: (input shape), for display.
        pixels: (input shape).
        field: Per axis but the first, the first pixel that is seen and one past the last; empty for all.
        crop: Whether to show the field only.
    """
    image, pixels = (_real(part) for part in (image, pixels))
    if pixels.ndim < 2:
        return View(image.reshape(1, -1), pixels.reshape(1, -1), [0], [(0, pixels.numel())], False)
    channels = channel_axis(tuple(pixels.shape))
    box = [(first, last) for first, last in field]
    if len(box) != pixels.ndim - 1:
        box = [(0, extent) for extent in pixels.movedim(channels, 0).shape[1:]]
    elif channels:  # the field is that of all axes but the first
        box = [_extent(pixels, 0), *box]
        del box[channels]
    image, pixels = image.movedim(channels, 0), pixels.movedim(channels, 0)
    while pixels.ndim > VOLUME:  # further axes are fixed at the strongest place
        place = int(pixels.abs().amax((0, *range(2, pixels.ndim))).argmax())
        image, pixels, box = image[:, place], pixels[:, place], box[1:]
    stretched = False
    if pixels.ndim > 2:
        stretched = is_stretched(image)
        image = as_rgb(image.flatten(1, -2)).movedim(-1, 0).reshape(3, *image.shape[1:])
    start = [0] * len(box)
    if crop and all(first < last for first, last in box):  # a unit may see nothing but padding
        places: tuple[Any, ...] = (slice(None), *(slice(first, last) for first, last in box))
        image, pixels, start = image[places].clone(), pixels[places].clone(), [first for first, _ in box]
    return View(image, pixels, start, box, stretched)


def is_stretched(image: Tensor) -> bool:
    """Whether `as_rgb` has to scale an image, whose numbers are not from 0 to 1."""
    return bool(image.numel()) and (float(image.min()) < 0 or float(image.max()) > 1)


def _real(part: Tensor) -> Tensor:
    return (part.abs() if part.is_complex() else part).detach().cpu().float()


def _extent(pixels: Tensor, axis: int) -> tuple[int, int]:
    """The part of an axis along which there are pixels other than zero; all of it if there are none."""
    used = pixels.movedim(axis, 0).flatten(1).ne(0).any(1).nonzero().flatten()
    return (int(used[0]), int(used[-1]) + 1) if len(used) else (0, pixels.shape[axis])
