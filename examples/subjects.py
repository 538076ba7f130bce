"""The two networks of the experiments: the reference network with digits, and SqueezeNet with photographs.

The reference network, its weights and its digits are part of the repository. SqueezeNet uses torchvision's ImageNet
weights: ``--download`` lets torchvision fetch them (5 MB), ``--weights FILE`` reads a state dict or safetensors file.
Without ``--photos``, it uses four images from scikit-image (``pip install scikit-image scipy``).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import deconvviz as dv
from deconvviz.data import ImageFolder, mnist_test
from deconvviz.errors import DeconvVizError
from deconvviz.models import mnist_cnn
from deconvviz.models.by_name import load_model
from deconvviz.results import Finding

PHOTOGRAPHS = ("chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg")  # public domain or CC0


@dataclass(frozen=True)
class Subject:
    """A network and its images.

    images: a batch of digits, or paths of photographs. labelled: a dataset with labels, or None.
    """

    name: str
    net: dv.DeconvNet
    images: Any
    labelled: Any
    classes: tuple[str, ...]

    @property
    def is_reference(self) -> bool:
        return self.name == "reference"


def subject(
    description: str | None, arguments: list[str] | None = None, digits: int = 8, **extra: dict[str, Any]
) -> tuple[Subject, argparse.Namespace]:
    """The network that the options select. digits: their number. extra: more options of the script."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("reference", "squeezenet"), default="reference", help="(%(default)s)")
    parser.add_argument("--weights", metavar="FILE", help="SqueezeNet 1.1's ImageNet weights")
    parser.add_argument("--download", action="store_true", help="let torchvision fetch them")
    parser.add_argument("--photos", metavar="DIR", help="photographs for SqueezeNet; sub-folders are their labels")
    parser.add_argument("--digits", type=int, default=digits, help="for the reference network (%(default)s)")
    parser.add_argument("--out", default="out/examples", metavar="DIR", help="folder for the figures (%(default)s)")
    for name, options in extra.items():
        parser.add_argument(f"--{name}", **options)
    given = parser.parse_args(arguments)
    try:
        return _reference(given.digits) if given.network == "reference" else _squeezenet(parser, given), given
    except DeconvVizError as error:
        parser.error(str(error))


def _reference(digits: int) -> Subject:
    images, labels = (part[:digits] for part in mnist_test())
    return Subject("reference", dv.DeconvNet(mnist_cnn()), images, (images, labels), tuple("0123456789"))


def _squeezenet(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Subject:
    from torchvision.models import SqueezeNet1_1_Weights  # noqa: PLC0415  slow to import

    if given.weights is None and not given.download:
        parser.error(
            "SqueezeNet shows something with trained weights only: give --weights FILE, or --download to let "
            "torchvision fetch them"
        )
    found = load_model("torchvision:squeezenet1_1", given.weights, pretrained=given.weights is None)
    folder = ImageFolder(given.photos) if given.photos else None
    images = [folder.root / name for name in folder.names] if folder else _bundled(parser)
    labelled = folder if folder and folder.classes else None
    net = dv.DeconvNet(found.model, preprocess=found.preprocess)
    return Subject("squeezenet", net, images, labelled, tuple(SqueezeNet1_1_Weights.DEFAULT.meta["categories"]))


def _bundled(parser: argparse.ArgumentParser) -> list[Path]:
    try:
        import skimage  # noqa: PLC0415
    except ImportError:
        parser.error("the photographs come with scikit-image: pip install scikit-image scipy, or give --photos DIR")
    return [Path(skimage.__file__).parent / "data" / name for name in PHOTOGRAPHS]


def show(found: Finding, given: argparse.Namespace, name: str, **options: Any) -> None:
    """Print the table and the verdict, and write the figure."""
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{name}-{given.network}.png"
    found.figure(**options).savefig(file, dpi=130)
    print(f"{found}\n{file}\n")


def as_batch(seen: Subject, count: int | None = None) -> torch.Tensor:
    """The first images as the network's input, (N, C, H, W)."""
    return dv.images.to_input(seen.images[:count], seen.net.preprocess)
