"""Draw docs/images/two-networks-conv2.png: pairs of channels of two trainings of the network for digits.

    deconvviz train --reference --epochs 4 --random-state 0 --out first.safetensors
    deconvviz train --reference --epochs 4 --random-state 1 --out second.safetensors
    python docs/two_networks.py first.safetensors second.safetensors

It prints the rows of the table in docs/two-networks.md, over 1,000 test digits. With photographs and the weights of
torchvision's `squeezenet1_1` for ImageNet it does the same for copies that differ in one layer: its channels in another
order, or its weights drawn anew.

    python docs/two_networks.py --squeezenet squeezenet1_1.safetensors --photos FOLDER [FOLDER ...]
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch
from torch import nn

import deconvviz as dv
from deconvviz.data import ImageFolder, mnist_test
from deconvviz.models import mnist_cnn
from deconvviz.models.by_name import load_model

OUT = Path(__file__).parent / "images" / "two-networks-conv2.png"
LAYERS = ("conv1", "conv2")
IMAGES, PAIRS = 1000, 9
CHANGED = "features.6.squeeze"  # read by two convolutions
BEHIND = ("features.6.expand1x1", "features.6.expand3x3")
COMPARED = (CHANGED, "features.6.expand3x3", "features.9.squeeze")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="*", metavar="FILE", help="two trainings of the network for digits")
    parser.add_argument("--squeezenet", metavar="FILE", help="weights of squeezenet1_1")
    parser.add_argument("--photos", nargs="+", metavar="DIR", help="photographs for SqueezeNet")
    given = parser.parse_args()
    if given.weights:
        first, second = (dv.DeconvNet(mnist_cnn(weights=file)) for file in given.weights)
        found = dv.diff(first, second, mnist_test()[0][:IMAGES], layers=LAYERS, progress=False)
        print(found)
        found["conv2"].figure(pairs=PAIRS).savefig(OUT, dpi=100)
    if given.squeezenet:
        loaded = load_model("torchvision:squeezenet1_1", given.squeezenet)
        before = dv.DeconvNet(loaded.model, preprocess=loaded.preprocess)
        photographs = [str(Path(folder) / name) for folder in given.photos for name in ImageFolder(folder).names]
        for what, model in (("permuted", permuted(loaded.model)), ("drawn anew", drawn_anew(loaded.model))):
            after = dv.DeconvNet(model, preprocess=loaded.preprocess)
            print(what, dv.diff(before, after, photographs, layers=COMPARED, pictures=PAIRS, progress=False), sep="\n")


def permuted(model: nn.Module) -> nn.Module:
    """A copy that computes the same, with the channels of one layer in another order."""
    made = copy.deepcopy(model)
    changed = made.get_submodule(CHANGED)
    order = torch.randperm(len(changed.get_parameter("bias")), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name in ("weight", "bias"):
            changed.get_parameter(name).copy_(changed.get_parameter(name)[order])
        for name in BEHIND:
            weight = made.get_submodule(name).get_parameter("weight")
            weight.copy_(weight[:, order])
    return made


def drawn_anew(model: nn.Module) -> nn.Module:
    """A copy with other weights in one layer, with the mean and the standard deviation of the old ones."""
    made = copy.deepcopy(model)
    weight, generator = made.get_submodule(CHANGED).get_parameter("weight"), torch.Generator().manual_seed(0)
    with torch.no_grad():
        weight.copy_(weight.mean() + weight.std() * torch.randn(weight.shape, generator=generator))
    return made


if __name__ == "__main__":
    main()
