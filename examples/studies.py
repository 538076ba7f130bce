"""Shared parts of the studies in this folder: training and test digits, and the strongest units of a network.

The repository contains only MNIST's 10,000 test images, so by default these are split: 3,000 for testing, the rest for
training. With ``--root``, MNIST's own training images are used, and all 10,000 test images for testing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

import deconvviz as dv
from deconvviz.data import load_mnist, mnist_test
from deconvviz.errors import DeconvVizError
from deconvviz.figures.marks import KEY_INCHES, draw_key, room_for_key, signed_words
from deconvviz.images import as_rgb, signed_as_rgb, tiled

HELD_BACK = 3000  # bundled images used for testing


@dataclass(frozen=True)
class Digits:
    """Images (N, 1, 28, 28) in [0, 1] and labels (N,) for training and for testing, without overlap."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def study_parser(description: str | None, out: str, images: int) -> argparse.ArgumentParser:
    """A parser with the common options. out: the default folder. images: the default number of training images."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=out, metavar="DIR", help="folder for the figures (%(default)s)")
    parser.add_argument("--root", metavar="DIR", help="folder with MNIST's training files; without, the bundled digits")
    parser.add_argument("--images", type=positive, default=images, help="images to train on (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="decides the split, the weights and the training (0)")
    return parser


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 is wanted, not {text!r}")
    return int(text)


def load_digits(parser: argparse.ArgumentParser, given: argparse.Namespace, repetition: int = 0) -> Digits:
    """Load the digits that the options ask for, or exit with one sentence if that is impossible.

    repetition: the number of a repetition, from 0; each has its own seed and so its own split.
    """
    draws = torch.Generator().manual_seed(given.seed + repetition)
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
    """The folder for the figures, created if it does not exist."""
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    return out


def of_seed(path: Path, number: int) -> Path:
    """Where the figure of a seed lies: at the path for the first one, number 0, and beside it for the others.

    >>> of_seed(Path("features.png"), 0).name, of_seed(Path("features.png"), 2).name
    ('features.png', 'features-seed-3.png')
    """
    return path.with_stem(f"{path.stem}-seed-{number + 1}") if number else path


def strongest(top: dv.TopActivations, layer: str, count: int) -> list[int]:
    """The most active channels of a layer, at most `count`, strongest first."""
    return top.statistics[layer].maximum.argsort(descending=True, stable=True)[:count].tolist()


def first_filters(net: dv.DeconvNet, layer: str, channels: Sequence[int], columns: int) -> Tensor:
    """The first layer's filters as one picture (H, W, 3). Filters of a linear layer have the size of the image."""
    weight = net.model.get_submodule(layer).weight.detach()
    filters = weight.unflatten(1, (1, 28, 28)) if weight.ndim == 2 else weight
    return tiled([signed_as_rgb(filters[channel]) for channel in channels], columns)


def top_units(net: dv.DeconvNet, top: dv.TopActivations, layer: str, channels: Sequence[int], images: Tensor) -> Tensor:
    """For each channel, the image that activates it most strongly above its projection, as one picture (H, W, 3).

    top: a scan of `images`.
    """
    strongest, places = top.images[layer][channels, 0], top.positions[layer][channels, 0].tolist()
    units = [(n, channel, place) for n, (channel, place) in enumerate(zip(channels, places, strict=True))]
    projection = net.project_units(images[strongest], layer, units)
    pictures = [as_rgb(picture) for picture in projection.images]
    return tiled([*pictures, *(signed_as_rgb(pixels) for pixels in projection.pixels)], len(channels))


def keyed(width: float, height: float) -> tuple[Figure, SubFigure]:
    """A figure with the key of signed pictures below, and its part for panels; width and height: of that, in inches."""
    figure = Figure(figsize=(width, height + KEY_INCHES), layout="constrained")
    panels, below = room_for_key(figure, height)
    draw_key(below.subplots(), "sign", signed_words(1, "each"))
    return figure, panels
