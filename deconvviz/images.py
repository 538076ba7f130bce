"""Images as files and tensors: reading, preprocessing that can be inverted, and display of signed maps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from deconvviz.arguments import PATH, described, takes
from deconvviz.errors import ImageFileError, InputError, MissingFileError
from deconvviz.normalisation import Normalisation, normalisation_of, picture_of

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# The formats of image files that are read, whatever a file is called. Pillow knows more, and hands PostScript to
# another program, Ghostscript.
FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")
LARGEST_IMAGE = 2**30  # bytes that an image may take as floating-point numbers
STRIP = 2**20  # pixels of a deep image that are scaled at once

# The images that inputs were made of, for as long as the inputs exist.
_made_of = WeakTensorKeyDictionary()

Image.init()
_READ = [name for name in FORMATS if name in Image.OPEN]  # what this Pillow was built with
ENDINGS = frozenset(ending for ending, name in Image.registered_extensions().items() if name in _READ)


@takes(path=PATH)
def read_image(path: str | os.PathLike[str]) -> Image.Image:
    """Read an image file, upright (with the EXIF orientation applied), as RGB or, if it has no colours, as L.

    Raises:
        MissingFileError: If the file does not exist.
        ImageFileError: If it is not an image in one of `FORMATS` that Pillow can read completely, or if it needs more
            than 1 GiB as floating-point numbers.
    """
    shown = os.fspath(path)
    if not os.path.exists(path):
        raise MissingFileError(f"there is no image file {shown!r}")
    if not os.path.isfile(path):
        raise ImageFileError(
            f"{shown!r} is {'a folder' if os.path.isdir(path) else 'a device or pipe'}, not an image file"
        )
    try:
        with Image.open(path, formats=_READ) as opened:
            _check_size(opened)
            ImageOps.exif_transpose(opened, in_place=True)
            return _converted(opened)
    except UnidentifiedImageError as error:
        raise ImageFileError(f"{shown!r} is not an image file that Pillow can read") from error
    except Image.DecompressionBombError as error:
        raise ImageFileError(f"{shown!r} is refused as a possible decompression bomb: {error}") from error
    except Exception as error:  # a damaged file can make its decoder fail in any way
        raise ImageFileError(f"{shown!r} cannot be read as an image: {error}") from error


def _check_size(image: Image.Image) -> None:
    """Raise DecompressionBombError, before any pixel is decoded, if the widest copy of the pixels is too large."""
    channels = 1 if _is_grey(image) else 3
    most = LARGEST_IMAGE // (4 * channels)  # float32
    if image.width * image.height > most:
        raise Image.DecompressionBombError(
            f"Image size ({image.width * image.height} pixels) exceeds limit of {most} pixels"
        )


def _is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA", "La") or _is_deep(image)


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith(("I", "F"))  # 16 and 32 bits, whole numbers and floating point


def eight_bits(image: Image.Image) -> Image.Image:
    """An image as RGB or, if it has no colours, as L; pixels of 16 or 32 bits are scaled, not clipped.

    Whole numbers are divided by 65,535, floating-point numbers by 1 or by the maximum if that is higher. Opacity is
    dropped. Raises ImageFileError if the image is closed, damaged, or cannot be converted.
    """
    try:
        return _converted(image)
    except Exception as error:  # closed, damaged, or of a mode that Pillow does not convert
        raise ImageFileError(f"the image of mode {image.mode} cannot be converted to RGB or grey: {error}") from error


def _converted(image: Image.Image) -> Image.Image:
    if _is_deep(image):
        return _in_8_bits(image)
    if isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")  # which Pillow asks for with a warning
    kind = "L" if _is_grey(image) else "RGB"
    return image.copy() if image.mode == kind else image.convert(kind)


def _in_8_bits(image: Image.Image) -> Image.Image:
    """A 16- or 32-bit image in 8 bits, strip by strip, because the numbers need more memory than the image."""
    image.load()
    rows = max(1, STRIP // image.width)
    boxes = [(0, top, image.width, min(top + rows, image.height)) for top in range(0, image.height, rows)]
    highest = 65535.0 if image.mode.startswith("I") else 1.0
    for box in boxes:
        values = np.asarray(image.crop(box))
        if not np.isfinite(values).all():
            raise ValueError("it holds values that are NaN or infinite")
        highest = max(highest, float(values.max()))
    scaled = Image.new("L", image.size)
    for box in boxes:
        values = np.asarray(image.crop(box), dtype=np.float64)
        scaled.paste(Image.fromarray((values / highest * 255).clip(0, 255).round().astype(np.uint8)), box[:2])
    return scaled


@dataclass(frozen=True)
class Preprocess:
    """Conversion of an image to a network's input and, by `inverse`, back to displayable pixels.

    Args:
        size: The shorter side is resized to this (bilinear, antialiased) and the centre square is cropped; a pair is
            the height and width to which image and centre are resized and cropped; None keeps the size.
        mean: Per channel, the mean of pixels in [0, 1]; as many numbers as the network has input channels.
        std: Per channel, their standard deviation.

    Example:
        >>> import torch
        >>> preprocess = Preprocess(size=8, mean=(0.5,), std=(0.25,))
        >>> x = preprocess(Image.new("RGB", (20, 10), "white"))
        >>> tuple(x.shape), float(x.max()), float(preprocess.inverse(x).max())
        ((1, 8, 8), 2.0, 1.0)
    """

    size: int | tuple[int, int] | None = 224
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD

    def __post_init__(self) -> None:
        sides = self.size if isinstance(self.size, tuple) and len(self.size) == 2 else (self.size,)
        if self.size is not None and not all(isinstance(one, (int, np.integer)) and 1 <= one <= 2**16 for one in sides):
            raise InputError(f"the size of an input is a whole number from 1 to {2**16}, not {described(self.size)}")
        try:
            mean, std = (np.asarray(numbers).astype(float, casting="same_kind") for numbers in (self.mean, self.std))
        except (TypeError, ValueError):
            mean = std = np.empty(0)
        finite = bool(np.isfinite([*mean.flat, *std.flat]).all())
        if mean.ndim != 1 or mean.shape != std.shape or not len(mean) or not finite or not (std > 0).all():
            raise InputError(
                f"mean and std are one finite number for each channel, std above 0, "
                f"not {described(self.mean)} and {described(self.std)}"
            )

    def __call__(self, image: Image.Image) -> Tensor:
        """Convert a PIL image to a tensor (C, H, W), grey or coloured depending on the length of `mean`.

        Images of 16 and 32 bits are scaled as in `read_image`.
        """
        if len(self.mean) not in (1, 3):
            raise InputError(
                f"an image has one channel or three, but the network takes {len(self.mean)}; give it tensors"
            )
        if not isinstance(image, Image.Image):
            raise InputError(f"preprocess takes a PIL image, not {type(image).__name__}")
        image = eight_bits(image).convert("L" if len(self.mean) == 1 else "RGB")
        if self.size is not None:
            height, width = self.size if isinstance(self.size, tuple) else (self.size, self.size)
            image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image, dtype=np.float32) / 255)
        pixels = pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
        mean, std = self._scale(pixels)
        return (pixels - mean) / std

    def inverse(self, x: Tensor) -> Tensor:
        """Pixels in [0, 1] from inputs (..., C, H, W)."""
        mean, std = self._scale(x)
        return (x * std + mean).clamp(0, 1)

    def _scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return like.new_tensor(self.mean)[:, None, None], like.new_tensor(self.std)[:, None, None]


def without_preprocess(image: Any) -> Tensor:
    """A tensor from an array of floating-point numbers, for a network without preprocess.

    Raises InputError for anything else.
    """
    if isinstance(image, np.ndarray) and image.dtype.kind == "f":
        return torch.from_numpy(np.array(image, dtype=image.dtype.newbyteorder("=")))
    raise InputError(
        f"the dataset gives a {type(image).__name__}, and the network has no preprocess to convert it to a tensor"
    )


def to_input(inputs: Any, preprocess: Any) -> Tensor:
    """A batch (N, C, ...) from a tensor, a PIL image, a path, or a list of images or paths.

    Raises InputError if images are given without a `preprocess`, or if it does not return tensors of equal shape.
    """
    if isinstance(inputs, Tensor):
        return inputs
    items = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    if not items:
        raise InputError("the batch contains no images; give at least one")
    for item in items:
        if not isinstance(item, (str, os.PathLike, Image.Image)):
            raise InputError(f"an input is a tensor, a PIL image, a path or a list of these, not {type(item).__name__}")
    if preprocess is None:
        raise InputError(
            "the input is an image or a path, but the network has no preprocess; give it one, such as "
            "deconvviz.images.Preprocess(size=224), or give a tensor (N, C, H, W)"
        )
    opened = [eight_bits(item) if isinstance(item, Image.Image) else read_image(item) for item in items]
    tensors = [preprocess(image) for image in opened]
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise InputError(f"preprocess must return a tensor (C, H, W), not {type(tensor).__name__}")
    tensors = [tensor[0] if tensor.ndim == 4 and len(tensor) == 1 else tensor for tensor in tensors]
    if len({tensor.shape for tensor in tensors}) > 1:
        shapes = " and ".join(sorted({str(tuple(tensor.shape)) for tensor in tensors}))
        raise InputError(f"preprocess makes inputs of different shapes, {shapes}, which cannot form one batch")
    x = torch.stack(tensors)
    _made_of[x] = opened
    return x


def displayed(x: Tensor, preprocess: Any) -> Tensor:
    """The displayable image of an input (N, C, ...), as far as it can be known from the input.

    Inverted if `preprocess` has an `inverse`; otherwise its normalisation is found by looking at what it makes of plain
    images, and undone. If it has none, and the input was made of images by `to_input`, these images. Otherwise, as
    without a preprocess, the input itself.
    """
    if hasattr(preprocess, "inverse"):
        pixels: Tensor = preprocess.inverse(x)
        return pixels.detach().cpu()
    if known := _normalisation(preprocess, x):
        return known.undone(x).detach().cpu()
    found = [picture_of(preprocess, image, one) for image, one in zip(_made_of.get(x) or (), x, strict=False)]
    pictures = [one for one in found if one is not None]
    alike = len(pictures) == len(x) == len(found) and len({one.shape for one in pictures}) == 1
    return torch.stack(pictures) if alike else x.detach().cpu()


def _normalisation(preprocess: Any, x: Tensor) -> Normalisation | None:
    """How inputs (N, C, ...) were normalised, if that is known."""
    known = normalisation_of(preprocess, tuple(x.shape[1:])) if callable(preprocess) and x.ndim == 4 else None
    if known is None and hasattr(preprocess, "mean") and hasattr(preprocess, "std"):
        black, white = (x.new_tensor(preprocess.mean), x.new_tensor(preprocess.std))
        return Normalisation(-black / white, 1 / white) if len(black) == x.shape[1] and x.ndim == 4 else None
    return known


def brightness(value: float, preprocess: Any, x: Tensor) -> Tensor:
    """A network's input, per channel (C,), where the displayed image has a brightness from 0 (black) to 1 (white).

    x: inputs (N, C, H, W) made by `preprocess`. Raises InputError where it makes another number of channels.
    """
    if known := _normalisation(preprocess, x):
        return known.of(value).to(x)
    plain = Image.new("L", (x.shape[3], x.shape[2]), round(255 * value))
    inputs = to_input(plain if x.shape[1] == 1 else plain.convert("RGB"), preprocess)
    values = inputs[0].flatten(1).mean(1).to(x)
    if len(values) != x.shape[1]:
        raise InputError(
            f"the input has {x.shape[1]} channels, and the network's preprocess makes {len(values)}; "
            f"give a fill as a number"
        )
    return values


# What tensors look like


def as_rgb(picture: Tensor) -> Tensor:
    """An image (C, H, W) as (H, W, 3) in [0, 1]; values outside this range are rescaled to it."""
    picture = picture.detach().float().cpu()
    lowest, highest = float(picture.min()), float(picture.max())
    if lowest < 0 or highest > 1:
        picture = (picture - lowest) / (highest - lowest) if highest > lowest else torch.zeros_like(picture)
    if picture.shape[0] != 3:
        picture = picture.mean(0, keepdim=True).expand(3, -1, -1)
    return picture.permute(1, 2, 0)


def signed_as_rgb(picture: Tensor, scale: float | None = None) -> Tensor:
    """A signed map (C, H, W) as (H, W, 3) in [0, 1], with zero in the middle of a symmetric scale.

    Three channels are shown as colours around grey, as in Zeiler and Fergus. One channel, or the sum of any other
    number, goes from blue (negative) through white (zero) to red (positive).

    Args:
        picture: The map.
        scale: The absolute value at the end of the scale; None for `display_scale` of the map.
    """
    picture = picture.detach().float().cpu()
    if picture.shape[0] not in (1, 3):
        picture = picture.sum(0, keepdim=True)
    end = display_scale(picture) if scale is None else scale
    unit = (picture / end if end > 0 else torch.zeros_like(picture)).clamp(-1, 1)
    if picture.shape[0] == 3:
        return (0.5 + 0.5 * unit).permute(1, 2, 0)
    away = unit[0].abs()[..., None]
    red, blue = torch.tensor([0.70, 0.02, 0.15]), torch.tensor([0.02, 0.19, 0.58])
    return 1 - away * (1 - torch.where(unit[0][..., None] > 0, red, blue))


def display_scale(picture: Tensor) -> float:
    """The absolute value at the end of a signed map's scale: 99.5 % of the pixels lie within it.

    A projection through many layers has a few pixels far above all others; on a scale up to the maximum, the rest would
    be grey. If that many pixels are zero, the maximum is used; 0 for an empty map.
    """
    largest = picture.detach().float().abs().flatten(0, -3).amax(0).flatten()
    ends = int(0.995 * (len(largest) - 1)) + 1
    return float(largest.kthvalue(ends).values) or float(largest.max())


def tiled(pictures: Sequence[Tensor], columns: int, *, gap: int = 1, background: float = 1.0) -> Tensor:
    """Join pictures (H, W, 3) of one size into one, `columns` per row.

    Example:
        >>> tiled([torch.zeros(2, 2, 3)] * 3, columns=2).shape
        torch.Size([7, 7, 3])
    """
    height, width, _ = pictures[0].shape
    rows = -(-len(pictures) // columns)
    sheet = torch.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), background)
    for number, picture in enumerate(pictures):
        top, left = (number // columns) * (height + gap) + gap, (number % columns) * (width + gap) + gap
        sheet[top : top + height, left : left + width] = picture
    return sheet


def to_pil(picture: Tensor, enlarge: int = 1) -> Image.Image:
    """(H, W, 3) in [0, 1] as an 8-bit PIL image, with each pixel enlarged `enlarge` times."""
    pixels = (picture.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    image = Image.fromarray(pixels)
    return image.resize((image.width * enlarge, image.height * enlarge), Image.Resampling.NEAREST)
