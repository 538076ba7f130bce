"""The table of the test of reading in docs/evidence.md: three networks, three depths each, all conditions.

    python -m benchmarks.reading --out out/reading
    python -m benchmarks.reading --out out/reading --squeezenet FILE --vgg16 FILE --photos FOLDER [FOLDER ...]

SqueezeNet is torchvision's `squeezenet1_1`, VGG16 the convolutions of its `vgg16`, with ImageNet weights as safetensors
or a state dict. The photographs are image files in folders and their sub-folders.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file
from torch import nn

import deconvviz as dv
from benchmarks.timing import circumstances
from deconvviz.data import ImageFolder, MnistTest
from deconvviz.images import to_input
from deconvviz.models.by_name import load_model
from deconvviz.models.mnist import mnist_cnn
from deconvviz.results import ReadingTest

LAYERS = {
    "mnist": ("conv1", "conv2", "fc1"),
    "squeezenet": ("features.6", "features.9", "features.12"),
    "vgg16": ("features.7", "features.14", "features.21"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/reading"), help="folder for figures and numbers")
    parser.add_argument("--channels", type=int, default=24, help="channels per layer, at random (%(default)s)")
    parser.add_argument("--questions", type=int, default=10, help="questions per channel (%(default)s)")
    parser.add_argument("--squeezenet", metavar="FILE", help="weights of squeezenet1_1")
    parser.add_argument("--vgg16", metavar="FILE", help="weights of the convolutions of vgg16")
    parser.add_argument("--photos", nargs="+", metavar="DIR", help="photographs for SqueezeNet and VGG16")
    parser.add_argument("--layers", nargs="+", metavar="NETWORK:LAYER", help="only these")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    found = {"circumstances": circumstances("cpu")}
    for name, net, data in networks(given):
        for layer in LAYERS[name]:
            if given.layers and f"{name}:{layer}" not in given.layers:
                continue
            started = time.perf_counter()
            result = tested(net, data, layer, given.channels, given.questions)
            seconds = time.perf_counter() - started
            result.save(given.out / f"{name}-{layer}.safetensors")
            result.figure(title=f"{name}, {layer}").savefig(given.out / f"{name}-{layer}.png", dpi=110)
            found[f"{name} {layer}"] = {**result.as_json(), "seconds": seconds}
            print(f"\n## {name}, {layer} ({seconds:.0f} s)\n\n{result}", flush=True)
            (given.out / "reading.json").write_text(json.dumps(found, indent=1) + "\n")


def networks(given: argparse.Namespace) -> Iterator[tuple[str, dv.DeconvNet, object]]:
    yield "mnist", dv.DeconvNet(mnist_cnn()), MnistTest()
    photos = given.photos and [path for folder in given.photos for path in files_in(folder)]
    if given.squeezenet:
        loaded = load_model("torchvision:squeezenet1_1", given.squeezenet)
        yield "squeezenet", dv.DeconvNet(loaded.model, preprocess=loaded.preprocess), photos
    if given.vgg16:
        yield "vgg16", dv.DeconvNet(vgg16(given.vgg16), preprocess=dv.images.Preprocess(size=224)), photos


def files_in(folder: str) -> list[str]:
    found = ImageFolder(folder)
    return [str(found.root / name) for name in found.names]


def vgg16(weights: str) -> nn.Module:
    """The convolutions of VGG16, whose file may hold them in half precision and without their prefix."""
    features = torchvision.models.vgg16(weights=None).features.eval()
    features.load_state_dict(
        {key.removeprefix("features."): value.float() for key, value in load_file(weights).items()}
    )
    return Features(features).eval()


class Features(nn.Module):
    """A network of its features alone."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.features(x)
        return out


def tested(net: dv.DeconvNet, data: object, layer: str, channels: int, questions: int) -> ReadingTest:
    """The test on so many channels that fire, drawn at random with a fixed seed."""
    count = net.layers(first_input(net, data))[layer].shape[1]
    chosen = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:channels].sort().values
    return dv.reading_test(
        net, data, layer, channel=chosen.tolist(), questions=questions, batch_size=16, progress=False
    )


def first_input(net: dv.DeconvNet, data: object) -> torch.Tensor:
    if isinstance(data, MnistTest):
        return data.tensors[0][:1]
    return to_input([data[0]], net.preprocess)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
