"""Images as files and tensors: reading, preprocessing that can be inverted, and display of signed maps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from deconvviz.arguments import FLAG, PATH, described, listed, takes, whole
from deconvviz.errors import ImageFileError, InputError, MissingFileError
from deconvviz.levels import is_deep, picture_in, scaled, without_preprocess
from deconvviz.normalisation import MADE_OF, normalisation_of_inputs, pictures_behind, undone

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# The formats of image files that are read, whatever a file is called. Pillow knows more, and hands PostScript to
# another program, Ghostscript.
FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")
LARGEST_IMAGE = 2**30  # bytes that an image may take as floating-point numbers

Image.init()
_READ = [name for name in FORMATS if name in Image.OPEN]  # what this Pillow was built with
ENDINGS = frozenset(ending for ending, name in Image.registered_extensions().items() if name in _READ)


@takes(path=PATH, all_levels=FLAG)
def read_image(path: str | os.PathLike[str], *, all_levels: bool = False) -> Image.Image:
    """Read an image file, upright (with the EXIF orientation applied), as RGB or, if it has no colours, as L.

    Args:
        path: The file.
        all_levels: Leave an image of 16 or 32 bits as it is, in a mode that begins with I or F, as a preprocess of
            your own gets it. Otherwise its numbers are scaled to 8 bits: whole ones are divided by 65,535,
            floating-point ones by 1, either by the maximum if that is higher.

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
    return decode_image(path, shown, all_levels=all_levels)


def decode_image(
    file: str | os.PathLike[str] | IO[bytes], shown: str, *, all_levels: bool = True, most_pixels: int | None = None
) -> Image.Image:
    """An image from an open file or a path, as `read_image` has it; shown: its name in errors.

    most_pixels: an image with more is refused before it is decoded, in addition to `LARGEST_IMAGE`.
    """
    try:
        with Image.open(file, formats=_READ) as opened:
            _check_size(opened, most_pixels)
            ImageOps.exif_transpose(opened, in_place=True)
            return with_all_levels(opened.copy()) if all_levels else _converted(opened)
    except UnidentifiedImageError as error:
        raise ImageFileError(f"{shown!r} is not an image file that Pillow can read") from error
    except Image.DecompressionBombError as error:
        raise ImageFileError(f"{shown!r} is refused as a possible decompression bomb: {error}") from error
    except Exception as error:  # a damaged file can make its decoder fail in any way
        raise ImageFileError(f"{shown!r} cannot be read as an image: {error}") from error


def _check_size(image: Image.Image, most_pixels: int | None) -> None:
    """Raise DecompressionBombError, before any pixel is decoded, if the widest copy of the pixels is too large."""
    most = LARGEST_IMAGE // (4 if _is_grey(image) else 12)  # float32
    most = most if most_pixels is None else min(most, most_pixels)
    if image.width * image.height > most:
        raise Image.DecompressionBombError(
            f"Image size ({image.width * image.height} pixels) exceeds limit of {most} pixels"
        )


def _is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA", "La") or is_deep(image)


def eight_bits(image: Image.Image, deep: str = "L") -> Image.Image:
    """An image as RGB or, if it has no colours, as L; pixels of 16 or 32 bits are scaled, not clipped.

    Whole numbers are divided by 65,535, floating-point numbers by 1 or by the maximum if that is higher. Opacity is
    dropped. deep: the mode that images of 16 or 32 bits get; F leaves all their levels.

    Raises ImageFileError if the image is closed, damaged, or cannot be converted.
    """
    try:
        return scaled(image, deep) if is_deep(image) else _converted(image)
    except Exception as error:  # closed, damaged, or of a mode that Pillow does not convert
        raise ImageFileError(f"the image of mode {image.mode} cannot be converted to RGB or grey: {error}") from error


def with_all_levels(image: Image.Image) -> Image.Image:
    """An image as a preprocess gets it: of 16 or 32 bits with its numbers, any other one as RGB or L."""
    if not is_deep(image):
        return eight_bits(image)
    return image if image.mode in ("I;16", "I", "F") else image.convert("I")


def _converted(image: Image.Image) -> Image.Image:
    if is_deep(image):
        return scaled(image, "L")
    if isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")  # which Pillow asks for with a warning
    kind = "L" if _is_grey(image) else "RGB"
    return image.copy() if image.mode == kind else image.convert(kind)


@dataclass(frozen=True)
class Preprocess:
    """Conversion of an image to a network's input and, by `inverse`, back to displayable pixels.

    Args:
        size: The shorter side is resized to this (bilinear, antialiased) and the centre square is cropped; a pair is
            the height and width to which image and centre are resized and cropped; None keeps the size.
        mean: Per channel, the mean of pixels in [0, 1]; as many numbers as the network has input channels.
        std: Per channel, their standard deviation.
        bands: Three channels that `inverse` shows as red, green and blue, for inputs with any number of channels; None
            for all channels.

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
    bands: Sequence[int] | None = None

    def __post_init__(self) -> None:
        sides = self.size if isinstance(self.size, tuple) and len(self.size) == 2 else (self.size,)
        if self.size is not None and not all(
            isinstance(side, (int, np.integer)) and 1 <= side <= 2**16 for side in sides
        ):
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
        bands = (0, 0, 0) if self.bands is None else listed(self.bands) or ()
        if len(bands) != 3 or not {whole(band) for band in bands} <= {*range(len(mean))}:
            raise InputError(f"bands are three channels from 0 to {len(mean) - 1}, not {described(self.bands)}")

    def __call__(self, image: Image.Image | NDArray[Any]) -> Tensor:
        """Convert a PIL image to a tensor (C, H, W), grey or coloured depending on the length of `mean`.

        Images of 16 and 32 bits are scaled as in `read_image`, without being rounded. An array of whole numbers is a
        picture (H, W), (H, W, C) or (C, H, W), whose numbers are divided by the largest one of their type. An array of
        floating-point numbers is an input already.
        """
        if isinstance(image, np.ndarray):
            return self._of_array(image)
        if len(self.mean) not in (1, 3):
            raise InputError(
                f"an image has one channel or three, but the network takes {len(self.mean)}; give it tensors"
            )
        if not isinstance(image, Image.Image):
            raise InputError(f"preprocess takes a PIL image, not {type(image).__name__}")
        if is_deep(image):
            return self._of_planes([eight_bits(image, deep="F")] * len(self.mean))
        image = self._fitted(eight_bits(image).convert("L" if len(self.mean) == 1 else "RGB"))
        pixels = torch.from_numpy(np.array(image, dtype=np.float32) / 255)
        return self._normalised(pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1))

    def _of_array(self, array: NDArray[Any]) -> Tensor:
        if array.dtype.kind == "f":
            return without_preprocess(array)
        channels, shape = len(self.mean), array.shape
        if channels in (1, 3) and (picture := picture_in(array)) is not None:
            return self(picture)
        planes = array[..., None] if array.ndim == 2 else array
        if planes.ndim == 3 and planes.shape[2] != channels:
            planes = np.moveaxis(planes, 0, 2)
        if planes.ndim != 3 or planes.shape[2] != channels or array.dtype.kind not in "iu" or not array.size:
            raise InputError(f"an array of {array.dtype} of shape {shape} is no picture with {channels} channels")
        levels = (planes.clip(0) / np.iinfo(array.dtype).max * 255).astype(np.float32)
        return self._of_planes([Image.fromarray(levels[..., channel]) for channel in range(channels)])

    def _of_planes(self, planes: Sequence[Image.Image]) -> Tensor:
        pixels = [torch.from_numpy(np.array(self._fitted(plane))) for plane in planes]  # in mode F, from 0 to 255
        return self._normalised(torch.stack(pixels) / 255)

    def _fitted(self, image: Image.Image) -> Image.Image:
        if self.size is None:
            return image
        height, width = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)

    def _normalised(self, pixels: Tensor) -> Tensor:
        mean, std = self._scale(pixels)
        return (pixels - mean) / std

    def inverse(self, x: Tensor) -> Tensor:
        """Pixels in [0, 1] from inputs (..., C, H, W), of the `bands` alone if there are any."""
        mean, std = self._scale(x)
        pixels = (x * std + mean).clamp(0, 1)
        return pixels if self.bands is None else pixels[..., list(self.bands), :, :]

    def _scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return like.new_tensor(self.mean)[:, None, None], like.new_tensor(self.std)[:, None, None]


def to_input(inputs: Any, preprocess: Any) -> Tensor:
    """A batch (N, C, ...) from a tensor, a PIL image, a path, or a list of images or paths.

    Raises InputError if images are given without a `preprocess`, or if it does not return tensors of equal shape.
    """
    if isinstance(inputs, Tensor):
        return inputs
    if isinstance(inputs, np.ndarray) and inputs.dtype.kind == "f":
        return without_preprocess(inputs)
    several = isinstance(inputs, (list, tuple)) or (isinstance(inputs, np.ndarray) and inputs.ndim == 4)
    items = list(inputs) if several else [inputs]
    if not items:
        raise InputError("the batch contains no images; give at least one")
    for item in items:
        if not isinstance(item, (str, os.PathLike, Image.Image, np.ndarray)):
            raise InputError(f"an input is a tensor, a PIL image, a path or a list of these, not {type(item).__name__}")
    if preprocess is None:
        raise InputError(
            "the input is an image or a path, but the network has no preprocess; give it one, such as "
            "deconvviz.images.Preprocess(size=224), or give a tensor (N, C, H, W)"
        )
    opened = [_given_image(item) for item in items]
    tensors = [preprocess(image) for image in opened]
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise InputError(f"preprocess must return a tensor (C, H, W), not {type(tensor).__name__}")
    tensors = [tensor[0] if tensor.ndim == 4 and len(tensor) == 1 else tensor for tensor in tensors]
    if len({tensor.shape for tensor in tensors}) > 1:
        shapes = " and ".join(sorted({str(tuple(tensor.shape)) for tensor in tensors}))
        raise InputError(f"preprocess makes inputs of different shapes, {shapes}, which cannot form one batch")
    x = torch.stack(tensors)
    MADE_OF[x] = [image for image in opened if isinstance(image, Image.Image)]
    return x


def _given_image(item: Any) -> Any:
    """An image for a preprocess from a PIL image, an array or a path."""
    if isinstance(item, np.ndarray):
        return picture_in(item) or item
    return with_all_levels(item) if isinstance(item, Image.Image) else read_image(item, all_levels=True)


def displayed(x: Tensor, preprocess: Any) -> Tensor:
    """The displayable image of an input (N, C, ...), as far as it can be known from the input.

    Inverted if `preprocess` has an `inverse`; otherwise its normalisation is found by looking at what it makes of plain
    images, and undone. If it has none, and the input was made of images by `to_input`, these images. Otherwise, as
    without a preprocess, the input itself.
    """
    pixels = undone(x, preprocess)
    pictures = pictures_behind(x, preprocess) if pixels is None else pixels
    return x.detach().cpu() if pictures is None else pictures


def brightness(value: float, preprocess: Any, x: Tensor) -> Tensor:
    """A network's input, per channel (C,), where the displayed image has a brightness from 0 (black) to 1 (white).

    x: inputs (N, C, H, W) made by `preprocess`. Raises InputError where it makes another number of channels.
    """
    if known := normalisation_of_inputs(preprocess, x):
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
