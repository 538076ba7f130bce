"""What the studies in this folder share: digits to train on and to test on, and the strongest units of a network.

A clone holds MNIST's 10,000 test images only, so by default these are split: 3,000 to test on, the training images
from the rest. With ``--root`` the training images are MNIST's own and all 10,000 test images are for testing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import deconvviz as dv
from deconvviz.data import load_mnist, mnist_test
from deconvviz.errors import DeconvVizError
from deconvviz.images import as_rgb, signed_as_rgb, tiled

HELD_BACK = 3000  # of the bundled images, for testing


@dataclass(frozen=True)
class Digits:
    """Images (N, 1, 28, 28) in [0, 1] and labels (N,), to train on and to test on; the two share no image."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def study_parser(description: str | None, out: str, images: int) -> argparse.ArgumentParser:
    """A parser with what every study takes. out: the default folder. images: how many training images by default."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=out, metavar="DIR", help="folder for the figures (%(default)s)")
    parser.add_argument("--root", metavar="DIR", help="folder with MNIST's training files; without, the bundled digits")
    parser.add_argument("--images", type=positive, default=images, help="images to train on (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="decides the split, the weights and the training (0)")
    return parser


def positive(text: str) -> int:
    """A whole number from 1, from an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 is wanted, not {text!r}")
    return int(text)


def load_digits(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Digits:
    """The digits that the arguments ask for; ends the program with one sentence where there are none such."""
    draws = torch.Generator().manual_seed(given.seed)
    test_images, test_labels = mnist_test()
    if given.root is None:
        order = torch.randperm(len(test_images), generator=draws)
        images, labels = test_images[order[HELD_BACK:]], test_labels[order[HELD_BACK:]]
        test_images, test_labels = test_images[order[:HELD_BACK]], test_labels[order[:HELD_BACK]]
    else:
        try:
            images, labels = load_mnist(given.root)
        except DeconvVizError as error:
            parser.error(str(error))
        order = torch.randperm(len(images), generator=draws)
        images, labels = images[order], labels[order]
    if given.images > len(images):
        more = "" if given.root else "; --root gives MNIST's 60,000"
        parser.error(f"there are {len(images):,} images to train on, not {given.images:,}{more}")
    return Digits(images[: given.images], labels[: given.images], test_images, test_labels)


def output_folder(given: argparse.Namespace) -> Path:
    """The folder for the figures, made where it is missing."""
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    return out


def strongest(top: dv.TopActivations, layer: str, count: int) -> list[int]:
    """The channels of a layer that fire most strongly, `count` at most, strongest first."""
    return top.statistics[layer].maximum.argsort(descending=True, stable=True)[:count].tolist()


def first_filters(net: dv.DeconvNet, layer: str, channels: Sequence[int], columns: int) -> Tensor:
    """Filters of the first layer as one picture (H, W, 3); those of a linear layer are as large as the image."""
    weight = net.model.get_submodule(layer).weight.detach()
    filters = weight.unflatten(1, (1, 28, 28)) if weight.ndim == 2 else weight
    return tiled([signed_as_rgb(filters[channel]) for channel in channels], columns)


def top_units(net: dv.DeconvNet, top: dv.TopActivations, layer: str, channels: Sequence[int], images: Tensor) -> Tensor:
    """Per channel the image that fires it most, above its projection, as one picture (H, W, 3).

    top: a scan of `images`.
    """
    strongest, places = top.images[layer][channels, 0], top.positions[layer][channels, 0].tolist()
    units = [(n, channel, place) for n, (channel, place) in enumerate(zip(channels, places, strict=True))]
    projection = net.project_units(images[strongest], layer, units)
    pictures = [as_rgb(picture) for picture in projection.images]
    return tiled([*pictures, *(signed_as_rgb(pixels) for pixels in projection.pixels)], len(channels))
