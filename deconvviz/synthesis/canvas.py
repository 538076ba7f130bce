"""What synthetic pictures are for the network: their size, their channels, and the numbers between which they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from deconvviz.arguments import described, listed, whole
from deconvviz.errors import InputError
from deconvviz.images import to_input
from deconvviz.net import DeconvNet
from deconvviz.normalisation import normalisation_of_inputs
from deconvviz.projection.half_precision import wide
from deconvviz.projection.model_call import images_of
from deconvviz.recording.placement import Placement

PHOTOGRAPH = (512, 512)  # a plain one tells in which size the preprocess hands over photographs
WHAT = "synthesize"


@dataclass(frozen=True)
class Canvas:
    """Where pictures are made.

    Attributes:
        shape: Channels, height and width.
        low: (C, 1, 1), the network's input for the darkest picture, where the model computes.
        span: (C, 1, 1), by how much the brightest lies above it.
        dtype: The type of the network's inputs.
    """

    shape: tuple[int, int, int]
    low: Tensor
    span: Tensor
    dtype: torch.dtype

    @property
    def size(self) -> tuple[int, int]:
        return self.shape[1], self.shape[2]

    def inputs(self, pictures: Tensor) -> Tensor:
        """The network's inputs for pictures (N, C, H, W) between 0 and 1."""
        return (self.low + self.span * pictures).to(self.dtype)


def canvas_of(net: DeconvNet, examples: Any, size: Any) -> Canvas:
    """Size and range of the pictures for a network.

    Args:
        net: The network.
        examples: Images such as it takes, or None.
        size: Height and width, one number for both, or None for those of the examples, or of what the preprocess makes.

    Raises:
        InputError: If they cannot be known, or if the network does not take images.
    """
    model = net.model
    _check_images(model)
    known = None if examples is None else images_of(examples, model, net.preprocess, WHAT)
    placement, sides = Placement.of(model), _sides(size)
    if known is None:
        known = _blank(net, placement, sides)
    shape = (known.shape[1], *(sides or known.shape[2:]))
    like = torch.zeros(0, dtype=wide(known.dtype), device=known.device)
    low, span = (part.to(like).view(-1, 1, 1) for part in _range(net.preprocess, known, examples is not None))
    return Canvas((shape[0], shape[1], shape[2]), low, span, known.dtype)


def _check_images(model: nn.Module) -> None:
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    first = next((module for module in model.modules() if isinstance(module, kinds)), None)
    if isinstance(first, (nn.Conv1d, nn.Conv3d)):
        raise InputError(f"{WHAT} is for networks that take one batch of images (N, C, H, W)")


def _sides(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    several = listed(size)
    numbers = [whole(side) for side in ([size, size] if several is None else several)]
    known = [number for number in numbers if number is not None and 1 <= number <= 2**14]
    if len(numbers) != 2 or len(known) != 2:
        raise InputError(f"size is a whole number from 1 to {2**14:,}, or height and width, not {described(size)}")
    return known[0], known[1]


def _blank(net: DeconvNet, placement: Placement, sides: Sequence[int] | None) -> Tensor:
    """A black input for the network. Raises InputError if nothing tells its size or its channels."""
    if net.preprocess is not None:
        x = to_input(Image.new("RGB", PHOTOGRAPH), placement.preprocess(net.preprocess))
    elif sides is None:
        raise InputError(
            "without a preprocess nothing tells the size of a picture; give size, or as examples a batch of images "
            "such as the network takes"
        )
    elif placement.channels is None:
        raise InputError(
            "the network has no convolution that tells the channels of a picture; give as examples a batch of images "
            "such as the network takes"
        )
    else:
        x = torch.zeros(1, placement.channels, *sides, device="cpu")
    return images_of(placement.typed(x), net.model, net.preprocess, WHAT)


def _range(preprocess: Any, x: Tensor, given: bool) -> tuple[Tensor, Tensor]:
    """The network's input for the darkest picture, per channel, and by how much the brightest lies above it."""
    if known := normalisation_of_inputs(preprocess, x):
        return known.offset, known.gain
    if given:
        low, high = x.float().amin((0, 2, 3)), x.float().amax((0, 2, 3))
        if bool((low == high).any()):
            raise InputError(
                "the examples have a channel of one number alone, so nothing tells between which numbers a picture "
                "lies; give other examples"
            )
        return low, high - low
    if preprocess is not None:
        raise InputError(
            "the preprocess does not calculate each channel by itself, so nothing tells between which numbers a "
            "picture lies; give as examples a batch of images such as the network takes"
        )
    return torch.zeros(x.shape[1], device=x.device), torch.ones(x.shape[1], device=x.device)
