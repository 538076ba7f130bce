"""What stands in the place of pixels that are covered, deleted, or moved out of the image: the option ``fill``."""

from __future__ import annotations

from typing import Any

import torch
import torchvision.transforms.functional as TF
from torch import Tensor

from deconvviz.arguments import NUMBER, described, known
from deconvviz.errors import InputError, did_you_mean
from deconvviz.images import brightness

Fill = str | float
BRIGHTNESS = {"black": 0.0, "grey": 0.5, "white": 1.0}  # of what is displayed
FILLS = (*BRIGHTNESS, "mean", "blur")


def fill_of(fill: Fill, x: Tensor, preprocess: Any) -> Tensor:
    """What fills each image, as the network gets it: (N, C, 1, 1) of one colour, (N, C, H, W) of others.

    x: images (N, C, H, W).
    fill: "black", "grey" or "white" as the image is displayed, through the preprocess; without one, on the scale from 0
        to 1 where an image lies within it, and from its lowest to its highest value where it does not. "mean", each
        image's mean colour; "blur", the image so blurred that no structure is left; or a number in the network's own
        input, for all channels.

    Raises InputError for anything else.
    """
    if known(fill, BRIGHTNESS):
        return _shade(BRIGHTNESS[str(fill)], x, preprocess)
    if known(fill, ("mean",)):
        return x.mean((2, 3), keepdim=True)
    if known(fill, ("blur",)):
        return _blurred(x)
    most = torch.finfo(x.dtype).max
    number = NUMBER.convert(fill)
    if number is None or not -most <= number[0] <= most:
        names = ", ".join(map(repr, FILLS))
        close = did_you_mean(fill, FILLS) if isinstance(fill, str) else ""
        raise InputError(f"a fill is one of {names} or a finite number, not {described(fill)}{close}")
    return x.new_full((*x.shape[:2], 1, 1), number[0])


def _shade(value: float, x: Tensor, preprocess: Any) -> Tensor:
    if preprocess is not None:
        return brightness(value, preprocess, x).view(1, -1, 1, 1).expand(len(x), -1, 1, 1)
    lowest, highest = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    inside = (lowest >= 0) & (highest <= 1)
    stretched = lowest + (highest - lowest) * value
    return torch.where(inside, value, stretched).expand(-1, x.shape[1], 1, 1).to(x)


def _blurred(x: Tensor) -> Tensor:
    """A Gaussian of a tenth of the image's smaller side."""
    sigma = max(1.0, min(x.shape[2:]) / 10)
    size = 2 * int(2 * sigma) + 1
    most = 2 * (min(x.shape[2:]) - 1) + 1  # a reflected margin is smaller than the image
    blurred: Tensor = TF.gaussian_blur(x, [min(size, most - (most + 1) % 2)] * 2, [sigma, sigma])
    return blurred
