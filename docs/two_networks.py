"""Draw docs/images/two-networks-conv2.png: pairs of channels of two trainings of the network for digits.

    python docs/two_networks.py

It trains both on the bundled test digits but for 1,000, over which it compares them. It does the same with weights:

    deconvviz train --root MNIST --reference --epochs 4 --random-state 0 --out first
    deconvviz train --root MNIST --reference --epochs 4 --random-state 1 --out second
    python docs/two_networks.py first/mnist_cnn.safetensors second/mnist_cnn.safetensors

It prints the rows of the tables in docs/two-networks.md. With photographs and the weights of torchvision's
`squeezenet1_1` for ImageNet it does so for copies that differ in one layer: its channels in another order, or its
weights drawn anew.

    python docs/two_networks.py --squeezenet squeezenet1_1.safetensors --photos FOLDER [FOLDER ...]

and with those of the convolutions of `vgg16` for a copy with channels in another order and for an untrained network:

    python docs/two_networks.py --vgg16 vgg16_features.safetensors --photos FOLDER [FOLDER ...] --size 112
"""

from __future__ import annotations

import argparse
import copy
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torchvision
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # for benchmarks

import deconvviz as dv
from benchmarks.reading import Features, vgg16
from deconvviz.data import ImageFolder, mnist_test
from deconvviz.models import TrainingSettings, mnist_cnn, train_mnist
from deconvviz.models.by_name import load_model

OUT = Path(__file__).parent / "images" / "two-networks-conv2.png"
LAYERS = ("conv1", "conv2")
IMAGES, PAIRS = 1000, 9
CHANGED = {"squeezenet": "features.6.squeeze", "vgg16": "features.14"}  # whose channels are in another order
BEHIND = {"squeezenet": ("features.6.expand1x1", "features.6.expand3x3"), "vgg16": ("features.17",)}  # that read it
COMPARED = {
    "squeezenet": (CHANGED["squeezenet"], "features.6.expand3x3", "features.9.squeeze"),
    "vgg16": ("features.7", CHANGED["vgg16"], "features.17"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="*", metavar="FILE", help="two trainings of the network for digits")
    parser.add_argument("--squeezenet", metavar="FILE", help="weights of squeezenet1_1")
    parser.add_argument("--vgg16", metavar="FILE", help="weights of the convolutions of vgg16")
    parser.add_argument("--photos", nargs="+", metavar="DIR", default=[], help="photographs for SqueezeNet and VGG16")
    parser.add_argument(
        "--size", type=int, default=224, help="pixels of the photographs' sides for VGG16 (%(default)s)"
    )
    given = parser.parse_args()
    if given.weights or not (given.squeezenet or given.vgg16):
        models = [mnist_cnn(weights=file) for file in given.weights] or [trained(seed) for seed in (0, 1)]
        first, second = map(dv.DeconvNet, models)
        found = dv.diff(first, second, mnist_test()[0][:IMAGES], layers=LAYERS, progress=False)
        print(found)
        found["conv2"].figure(pairs=PAIRS).savefig(OUT, dpi=100)
    photographs = [str(Path(folder) / name) for folder in given.photos for name in ImageFolder(folder).names]
    if given.squeezenet:
        loaded = load_model("torchvision:squeezenet1_1", given.squeezenet)
        copies = {
            "permuted": permuted(loaded.model, "squeezenet"),
            "drawn anew": drawn_anew(loaded.model, "squeezenet"),
        }
        compare("squeezenet", dv.DeconvNet(loaded.model, preprocess=loaded.preprocess), copies, photographs)
    if given.vgg16:
        net = dv.DeconvNet(vgg16(given.vgg16), preprocess=dv.images.Preprocess(size=given.size))
        torch.manual_seed(0)
        untrained = Features(torchvision.models.vgg16(weights=None).features).eval()
        compare("vgg16", net, {"permuted": permuted(net.model, "vgg16"), "untrained": untrained}, photographs)


def trained(seed: int) -> nn.Module:
    """The network for digits after three epochs on the bundled test digits that are not compared."""
    settings = TrainingSettings(epochs=3, batch_size=64, random_state=seed, validation=0.05, warm_up=1.0)
    images, labels = (part[IMAGES:] for part in mnist_test())
    return train_mnist(images, labels, settings=settings, progress=False)[0]


def compare(name: str, before: dv.DeconvNet, copies: dict[str, nn.Module], photographs: Sequence[str]) -> None:
    """Print what differs between a network and each of its copies, and what that took."""
    for what, model in copies.items():
        after, start = dv.DeconvNet(model, preprocess=before.preprocess), time.process_time()
        print(
            what, dv.diff(before, after, photographs, layers=COMPARED[name], pictures=PAIRS, progress=False), sep="\n"
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{time.process_time() - start:.0f} s of processor time; at most {peak:.1f} GiB so far", flush=True)


def permuted(model: nn.Module, name: str) -> nn.Module:
    """A copy that computes the same, with the channels of one layer in another order."""
    made = copy.deepcopy(model)
    changed = made.get_submodule(CHANGED[name])
    order = torch.randperm(len(changed.get_parameter("bias")), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in ("weight", "bias"):
            changed.get_parameter(parameter).copy_(changed.get_parameter(parameter)[order])
        for reader in BEHIND[name]:
            weight = made.get_submodule(reader).get_parameter("weight")
            weight.copy_(weight[:, order])
    return made


def drawn_anew(model: nn.Module, name: str) -> nn.Module:
    """A copy with other weights in one layer, with the mean and the standard deviation of the old ones."""
    made = copy.deepcopy(model)
    weight, generator = made.get_submodule(CHANGED[name]).get_parameter("weight"), torch.Generator().manual_seed(0)
    with torch.no_grad():
        weight.copy_(weight.mean() + weight.std() * torch.randn(weight.shape, generator=generator))
    return made


if __name__ == "__main__":
    main()
