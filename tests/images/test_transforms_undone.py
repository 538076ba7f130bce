"""Pictures show the image as it was before any preprocess normalised it, whatever library the preprocess is of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.images import brightness, displayed, to_input
from deconvviz.normalisation import as_preprocess

transforms = pytest.importorskip("torchvision.transforms")
v2 = pytest.importorskip("torchvision.transforms.v2")
presets = pytest.importorskip("torchvision.transforms._presets")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE = 24


def photograph(mode: str = "RGB", width: int = 36) -> Image.Image:
    """A picture of low contrast, which a stretch to the whole scale would change much."""
    draw = np.random.default_rng(5)
    rows, columns = np.mgrid[0:SIDE, 0:width]
    waves = [110 + 30 * np.sin(rows / 5 + n) + 20 * np.cos(columns / (4 + n)) for n in range(3)]
    pixels = np.stack(waves, 2) + draw.normal(0, 4, (SIDE, width, 3))
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)).convert(mode)


def centre(image: Image.Image) -> Tensor:
    """The centre square of the photograph as pixels (C, H, W) in [0, 1], by Pillow alone."""
    left = (image.width - SIDE) // 2
    pixels = torch.from_numpy(np.array(image.crop((left, 0, left + SIDE, SIDE)))).float() / 255
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)


class Normalize:
    """As albumentations has it: numbers up to `max_pixel_value`, images as arrays by the name ``image``."""

    __module__ = "albumentations.augmentations.transforms"

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], max_pixel_value: float = 255.0) -> None:
        self.mean, self.std, self.max_pixel_value = mean, std, max_pixel_value

    def __call__(self, *, image: np.ndarray) -> dict[str, Any]:
        left = (image.shape[1] - SIDE) // 2
        scaled = image[:, left : left + SIDE].astype(np.float32) / self.max_pixel_value
        return {"image": (scaled - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)}


class Compose:
    __module__ = "albumentations.core.composition"

    def __init__(self, transforms: list[Any]) -> None:
        self.transforms = transforms

    def __call__(self, *args: Any, **data: Any) -> dict[str, Any]:
        if args:
            raise KeyError("You have to pass data to augmentations as named arguments")
        for step in self.transforms:
            data = step(**data)
        return data


class ImageProcessor:
    """As Hugging Face has them."""

    image_mean, image_std, rescale_factor = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4], 1 / 127.5

    def __call__(self, images: Any, return_tensors: str | None = None) -> dict[str, Any]:
        assert return_tensors == "pt"
        pixels = centre(images) * 255 * self.rescale_factor
        mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (self.image_mean, self.image_std))
        return {"pixel_values": ((pixels - mean) / std)[None]}


class Holder:
    """A processor of texts and images."""

    image_processor = ImageProcessor()


def own(image: Image.Image) -> Tensor:
    return (centre(image) - 0.5) / 0.25


def caffe(image: Image.Image) -> Tensor:
    """Blue, green, red, from 0 to 255, less the mean."""
    return centre(image).flip(0) * 255 - torch.tensor([103.9, 116.8, 123.7])[:, None, None]


def grey(image: Image.Image) -> Tensor:
    return (centre(image.convert("L")) - 0.1307) / 0.3081


CROP, NORM = transforms.CenterCrop(SIDE), transforms.Normalize(MEAN, STD)
UP_TO_255 = transforms.Normalize((120.0,) * 3, (60.0,) * 3)
MODERN = [v2.ToImage(), v2.CenterCrop(SIDE), v2.ToDtype(torch.float32, scale=True)]
TRANSFORMS: dict[str, Any] = {
    "torchvision": transforms.Compose([CROP, transforms.ToTensor(), NORM]),
    "torchvision, nested": transforms.Compose([CROP, transforms.Compose([transforms.ToTensor(), NORM])]),
    "torchvision, two normalisations": transforms.Compose([CROP, transforms.ToTensor(), NORM, NORM]),
    "torchvision, up to 255": transforms.Compose(
        [
            CROP,
            transforms.ToTensor(),
            transforms.Lambda(lambda x: 255 * x),
            transforms.Normalize((120.0,) * 3, (60.0,) * 3),
        ]
    ),
    "torchvision, not normalised": transforms.Compose([CROP, transforms.ToTensor()]),
    "torchvision v2": v2.Compose([*MODERN, v2.Normalize(MEAN, STD)]),
    "torchvision v2, nested": v2.Compose([v2.Compose(MODERN), v2.Normalize(MEAN, STD)]),
    "a preset of torchvision": presets.ImageClassification(crop_size=SIDE, resize_size=SIDE),
    "a module": nn.Sequential(*MODERN, NORM),
    "albumentations": Compose([Compose([Normalize(MEAN, STD)])]),
    "albumentations, up to 1": Compose([Normalize((127.5,) * 3, (50.0,) * 3, max_pixel_value=1.0)]),
    "Hugging Face": ImageProcessor(),
    "Hugging Face, inside": Holder(),
    "a function": own,
    "a function for Caffe": caffe,
}


def net(preprocess: Any, channels: int = 3) -> dv.DeconvNet:
    torch.manual_seed(0)
    return dv.DeconvNet(nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU()), preprocess=preprocess)


@pytest.mark.parametrize("kind", TRANSFORMS)
def test_the_image_is_shown_as_it_was(kind: str):
    image = photograph()
    projection = net(TRANSFORMS[kind]).project(image, "0", channel=1)
    assert (projection.images[0] - centre(image)).abs().max() < 0.006  # a step of 8 bits is 0.004


@pytest.mark.parametrize("kind", TRANSFORMS)
def test_a_tensor_made_before_is_shown_as_it_was(kind: str):
    image, preprocess = photograph(), as_preprocess(TRANSFORMS[kind])
    x = to_input(image, preprocess).clone()
    assert (net(preprocess).project(x, "0", channel=1).images[0] - centre(image)).abs().max() < 0.006
    assert (displayed(x.double(), preprocess)[0] - centre(image)).abs().max() < 0.006


def test_grey_images(tmp_path: Path):
    image = photograph("L")
    image.save(tmp_path / "grey.png")
    for preprocess in (grey, transforms.Compose([CROP, transforms.Grayscale(), transforms.ToTensor()])):
        shown = net(preprocess, 1).project(tmp_path / "grey.png", "0", channel=1).images[0]
        assert (shown - centre(image)).abs().max() < 0.006
    three = transforms.Compose([CROP, transforms.Grayscale(3), transforms.ToTensor(), NORM])
    shown = net(three).project(tmp_path / "grey.png", "0", channel=1).images[0]
    assert (shown - centre(image)).abs().max() < 0.006


def standardised(image: Image.Image) -> Tensor:
    pixels = centre(image)
    return (pixels - pixels.mean()) / pixels.std()


def ranks(image: Image.Image) -> Tensor:
    """As the equalisation of a histogram."""
    order = centre(image).flatten(1).argsort(1).argsort(1)
    return order.float().reshape(3, SIDE, SIDE) / order.shape[1] - 0.5


PER_IMAGE: dict[str, Callable[[Image.Image], Tensor]] = {
    "standardised, composed": transforms.Compose(
        [CROP, transforms.ToTensor(), transforms.Lambda(lambda x: (x - x.mean()) / x.std())]
    ),
    "standardised": standardised,
    "equalised": ranks,
}


@pytest.mark.parametrize("kind", PER_IMAGE)
def test_what_cannot_be_inverted_is_shown_by_the_picture_itself(kind: str):
    image = photograph()
    projection = net(PER_IMAGE[kind]).project([image, image], "0", channel=1, window="full")
    expected = torch.stack([centre(image)] * 2)
    assert (projection.images - expected).abs().max() < 0.006


@pytest.mark.parametrize("kind", ["torchvision", "Hugging Face", "a function for Caffe"])
def test_fills_are_of_the_brightness_that_is_shown(kind: str):
    preprocess = as_preprocess(TRANSFORMS[kind])
    x = to_input(photograph(), preprocess)
    for value in (0.0, 0.5, 1.0):
        plain = torch.full((1, 3, SIDE, SIDE), 0.0) + brightness(value, preprocess, x)[None, :, None, None]
        assert torch.allclose(displayed(plain, preprocess), torch.full((1, 3, SIDE, SIDE), value), atol=1e-5)


def test_looking_leaves_the_random_numbers_as_they_were():
    flipping = transforms.Compose([CROP, transforms.RandomHorizontalFlip(), transforms.ToTensor(), NORM])
    x = to_input(photograph(), flipping)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    displayed(x.clone(), transforms.Compose([*flipping.transforms]))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_preprocess_that_takes_no_plain_image_is_left_alone():
    def fussy(image: Image.Image) -> Tensor:
        raise RuntimeError("not this one")

    x = torch.randn(1, 3, SIDE, SIDE)
    assert torch.equal(displayed(x, fussy), x)
    assert torch.equal(displayed(x, None), x)


def test_a_preset_that_is_only_numbers_still_inverts():
    class Numbers:
        mean, std = MEAN, STD

    x = torch.randn(1, 3, 4, 4)
    expected = (x * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]).clamp(0, 1)
    assert torch.allclose(displayed(x, Numbers()), expected, atol=1e-6)
