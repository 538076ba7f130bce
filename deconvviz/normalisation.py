"""What a preprocess does to the numbers of an image, found by looking at plain images, so that it can be undone.

A preprocess may be any function: torchvision's transforms of both versions, nested ones, timm's, those of
albumentations, image processors of Hugging Face, or code of one's own. Most calculate each channel as ``offset + gain *
brightness``, perhaps with channels in another order; plain images in a few colours tell offset and gain, and whether it
is so. A preprocess that depends on the whole image, such as one that standardises each image, has no such numbers.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from deconvviz.errors import InputError
from deconvviz.io.restoring import Restored
from deconvviz.levels import is_deep, scaled

LEVELS = (51, 102, 204)  # brightnesses between black and white, of 255
COLOUR = (51, 204, 102)
ACCURACY = 0.02  # of the difference of white and black; a step of 8 bits is 0.004

# The images that inputs were made of by `images.to_input`, for as long as the inputs exist.
MADE_OF = WeakTensorKeyDictionary()

_known: weakref.WeakKeyDictionary[Any, dict[tuple[int, ...], Normalisation | None]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Normalisation:
    """The numbers of an input as a function of an image.

    Attributes:
        offset: (C,), the input for black.
        gain: (C,), by how much white lies above black.
        colours: (3, 3), the brightnesses of the image from those that are got channel by channel, or None for equal
            ones.
    """

    offset: Tensor
    gain: Tensor
    colours: Tensor | None = None

    def undone(self, x: Tensor) -> Tensor:
        """Pixels in [0, 1] from inputs (N, C, H, W)."""
        offset, gain = (numbers.to(x)[:, None, None] for numbers in (self.offset, self.gain))
        pixels = (x - offset) / gain
        if self.colours is not None:
            pixels = torch.einsum("ij,njhw->nihw", self.colours.to(x), pixels)
        return pixels.clamp(0, 1)

    def of(self, brightness: float) -> Tensor:
        """The input (C,) for a grey of a brightness from 0 to 1."""
        return self.offset + brightness * self.gain


def normalisation_of_inputs(preprocess: Any, x: Tensor) -> Normalisation | None:
    """How inputs (N, C, ...) were normalised, if that is known."""
    known = normalisation_of(preprocess, tuple(x.shape[1:])) if callable(preprocess) and x.ndim == 4 else None
    if known is None:
        steps = [step for step in _flat(preprocess) if hasattr(step, "mean") and hasattr(step, "std")]
        return _of_numbers(steps[0].mean, steps[0].std, x) if len(steps) == 1 and x.ndim == 4 else None
    return known


def _of_numbers(mean: Any, std: Any, x: Tensor) -> Normalisation | None:
    """The normalisation by a mean and a deviation of each channel; None for any other ones."""
    try:
        black, white = (torch.as_tensor(numbers, dtype=torch.double).cpu().flatten() for numbers in (mean, std))
    except (TypeError, ValueError, RuntimeError):
        return None
    fits = len(black) == len(white) == x.shape[1] and bool((white > 0).all())
    return Normalisation(-black / white, 1 / white) if fits else None


def undone(x: Tensor, preprocess: Any) -> Tensor | None:
    """The images of inputs (N, C, ...), on the CPU, with the preprocess undone; None where it cannot be."""
    mean = getattr(preprocess, "mean", None)
    if isinstance(mean, Sequence) and (x.ndim < 4 or x.shape[-3] != len(mean)):
        return None  # a signal, or whatever else the preprocess has not made
    if hasattr(preprocess, "inverse"):
        pixels: Tensor | None = preprocess.inverse(x)
        return None if pixels is None else pixels.detach().cpu()
    known = normalisation_of_inputs(preprocess, x)
    return None if known is None else known.undone(x).detach().cpu()


def pictures_behind(x: Tensor, preprocess: Any) -> Tensor | None:
    """The images (N, C, H, W) that inputs were made of by `to_input`, if that is known and all have one shape."""
    shown = [picture_of(preprocess, image, picture) for image, picture in zip(MADE_OF.get(x) or (), x, strict=False)]
    pictures = [picture for picture in shown if picture is not None]
    alike = len(pictures) == len(x) == len(shown) and len({picture.shape for picture in pictures}) == 1
    return torch.stack(pictures) if alike else None


def made_of(copy: Tensor, x: Tensor) -> bool:
    """Whether `to_input` made an input of images; then the copy counts as made of the same ones."""
    known = x in MADE_OF
    if known:
        MADE_OF[copy] = MADE_OF[x]
    return known


def normalisation_of(preprocess: Callable[[Any], Any], shape: tuple[int, ...]) -> Normalisation | None:
    """How a preprocess normalises images that become inputs of a shape (C, H, W); None if not channel by channel."""
    try:
        known = _known.setdefault(preprocess, {})
    except TypeError:  # it cannot be a key
        known = {}
    if shape not in known:
        with _same_random_numbers():
            candidates = (_looked_at(preprocess, shape, mode) for mode in ("RGB", "L"))
            known[shape] = next((normalisation for normalisation in candidates if normalisation is not None), None)
    return known[shape]


def _looked_at(preprocess: Callable[[Any], Any], shape: tuple[int, ...], mode: str) -> Normalisation | None:
    channels, height, width = shape

    def input_for(*colour: int) -> Tensor:
        """The input (C,) for a plain image. Raises ValueError if it is not plain or has another number of channels."""
        image = Image.new(mode, (width, height), colour * 3 if mode == "RGB" and len(colour) == 1 else colour)
        x = torch.as_tensor(preprocess(image)).double()
        x = x[0] if x.ndim == 4 and len(x) == 1 else x
        if x.ndim != 3 or len(x) != channels or not x.isfinite().all():
            raise ValueError("it is no input of this network")
        middle = x[
            :, x.shape[1] // 4 : -(x.shape[1] // 4) or None, x.shape[2] // 4 : -(x.shape[2] // 4) or None
        ].flatten(1)
        if ((middle.amax(1) - middle.amin(1)) > 1e-3 * (1 + middle.abs().amax(1))).any():
            raise ValueError("it is not plain")
        return middle.mean(1)

    try:
        black, white = input_for(0), input_for(255)
        gain = white - black
        if (gain.abs() < 1e-6 * (1 + black.abs())).any():
            return None
        if any(_differ(input_for(level), black + gain * level / 255, gain) for level in LEVELS):
            return None
        if mode == "L" or channels != 3:
            return Normalisation(black, gain)
        parts = torch.stack([input_for(*(255 * (n == own) for n in range(3))) for own in range(3)], 1)
        mixed = (parts - black[:, None]) / gain[:, None]
        if _differ(input_for(*COLOUR), black + gain * (mixed @ torch.tensor(COLOUR).double() / 255), gain):
            return None
    except Exception:  # the preprocess's own, for an image that it does not take
        return None
    if (mixed - torch.eye(3)).abs().max() < ACCURACY or mixed.det().abs() < ACCURACY:  # the same, or all one grey
        return Normalisation(black, gain)
    return Normalisation(black, gain, mixed.inverse())


def _differ(measured: Tensor, expected: Tensor, gain: Tensor) -> bool:
    return bool(((measured - expected).abs() > ACCURACY * gain.abs()).any())


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    with Restored(torch.random.fork_rng(devices=[])) as settings:
        settings.callback(random.setstate, random.getstate())
        settings.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002  what users' transforms draw from
        yield


# Transforms of other libraries


def as_preprocess(preprocess: Any) -> Any:
    """A transform as a function from a PIL image to a tensor (C, H, W); such functions are returned unchanged.

    preprocess: such a function or None, an image processor of Hugging Face, or a transform of albumentations.

    Raises InputError for anything else.
    """
    processor = getattr(preprocess, "image_processor", preprocess)
    if callable(processor) and hasattr(processor, "image_mean") and hasattr(processor, "image_std"):
        return _Processor(processor)
    if any(kind.__module__.partition(".")[0] == "albumentations" for kind in type(preprocess).__mro__):
        return _Albumentation(preprocess)
    if preprocess is not None and not callable(preprocess):
        raise InputError(f"preprocess is a function from a PIL image to a tensor, not {type(preprocess).__name__}")
    return preprocess


@dataclass(frozen=True, eq=False)
class _Processor:
    """An image processor of Hugging Face as a preprocess."""

    processor: Any

    def __call__(self, image: Image.Image) -> Tensor:
        image = scaled(image, "L") if is_deep(image) else image
        output = self.processor(images=image.convert("RGB"), return_tensors="pt")
        return torch.as_tensor(output["pixel_values"][0])


@dataclass(frozen=True, eq=False)
class _Albumentation:
    """A transform of albumentations as a preprocess."""

    transform: Any

    def __call__(self, image: Image.Image) -> Tensor:
        output = torch.as_tensor(self.transform(image=np.array(image))["image"])
        if output.ndim == 2:
            return output[None]
        return output.permute(2, 0, 1) if output.shape[2] in (1, 3) and output.shape[0] not in (1, 3) else output


# The picture itself, where its numbers cannot be got back


def picture_of(preprocess: Any, image: Image.Image, x: Tensor) -> Tensor | None:
    """The part of an image that an input (C, H, W) shows, as pixels (C', H, W) in [0, 1]; None if it is not found.

    It is what the steps of the preprocess make of the image before they normalise it, or the image resized or its
    centre, whichever is most like the input, but only if it is very much like it.
    """
    height, width = x.shape[-2:]
    scale = max(height / image.height, width / image.width)
    box = ((image.width - width / scale) / 2, (image.height - height / scale) / 2)
    centre = (*box, image.width - box[0], image.height - box[1])
    candidates = [*_steps(preprocess, image), image.resize((width, height)), image.resize((width, height), box=centre)]
    likest: tuple[float, Tensor | None] = (0.9, None)
    for candidate in candidates:
        pixels = _as_pixels(candidate)
        if pixels is not None and pixels.shape[-2:] == x.shape[-2:]:
            likest = max(likest, (_likeness(pixels, x), pixels), key=lambda pair: pair[0])
    return likest[1]


def _steps(preprocess: Any, image: Image.Image) -> Iterator[Any]:
    """What each step of a composed transform makes of an image."""
    value: Any = image
    try:
        for step in _flat(preprocess):
            value = step(value)
            yield value
    except Exception:  # steps that are called otherwise
        return


def _flat(transform: Any) -> Iterator[Any]:
    steps = list(transform) if isinstance(transform, nn.Sequential) else getattr(transform, "transforms", None)
    if isinstance(steps, (list, tuple)):
        for step in steps:
            yield from _flat(step)
    else:
        yield transform


def _as_pixels(value: Any) -> Tensor | None:
    if isinstance(value, Image.Image):
        value = scaled(value, "L") if is_deep(value) else value
        numbers = torch.from_numpy(np.array(value.convert("L" if value.mode == "L" else "RGB"))) / 255
        return numbers[None] if numbers.ndim == 2 else numbers.permute(2, 0, 1)
    if not isinstance(value, Tensor) or value.ndim != 3 or value.is_complex():
        return None
    pixels = value.float() / 255 if value.dtype == torch.uint8 else value.float()
    return pixels if pixels.min() >= 0 and pixels.max() <= 1 else None


def _likeness(pixels: Tensor, x: Tensor) -> float:
    """The correlation of two pictures in grey, whatever their scales."""
    both = torch.stack([picture.float().mean(0).flatten() for picture in (pixels, x.detach().cpu())])
    return float(torch.corrcoef(both)[0, 1].abs().nan_to_num()) if both.shape[1] > 1 else 0.0
