"""Does a circuit's ranking agree with removal on real weights? Rank correlations over all feeders of some channels.

    python -m benchmarks.circuits --squeezenet FILE --photos FOLDER [FOLDER ...]
    python -m benchmarks.circuits --vgg16 FILE --photos FOLDER [FOLDER ...]

Half of the 16 images that fire a channel most rank the channels below by what they add to its activation. On the other
half each of them is removed alone. Beside this ranking stands that by the norm of the kernel through which the channel
reads each of them. SqueezeNet is torchvision's `squeezenet1_1`, VGG16 the convolutions of its `vgg16`, with ImageNet
weights.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

import deconvviz as dv
from benchmarks.reading import files_in, vgg16
from deconvviz.data.datasets import as_dataset
from deconvviz.evidence.metrics import spearman
from deconvviz.mining.dataset_pictures import DatasetPictures
from deconvviz.models.by_name import load_model
from deconvviz.reading.fed_units import FeederSearch, nearest, sources_of
from deconvviz.reading.removal import ChannelRuns, Found
from deconvviz.results.base import as_text

IMAGES = 16  # that fire a channel most
LAYERS = {
    "squeezenet": ("features.3.squeeze", "features.6.expand3x3", "features.9.squeeze", "features.12.expand3x3"),
    "vgg16": ("features.7", "features.14"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument("--squeezenet", metavar="FILE", help="weights of squeezenet1_1")
    weights.add_argument("--vgg16", metavar="FILE", help="weights of the convolutions of vgg16")
    parser.add_argument("--photos", required=True, nargs="+", metavar="DIR", help="photographs")
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="convolutions (two of VGG16, four of SqueezeNet)")
    parser.add_argument("--channels", type=int, default=16, help="channels per layer, at random (%(default)s)")
    given = parser.parse_args()
    net, layers = network(given.squeezenet, given.vgg16)
    layers = given.layers or layers
    paths = [path for folder in given.photos for path in files_in(folder)]
    data = as_dataset(paths)
    top = dv.scan(net, data, layers=layers, k=IMAGES, labels=False, progress=False)
    rows = [("layer", "feeders", "channels", "mean", "least", "same first", "norm of the kernel", "seconds")]
    for layer in layers:
        start = time.perf_counter()
        found = [agreement(net, data, top, layer, number) for number in drawn(top, layer, given.channels)]
        values, norms, first, count = (torch.tensor(part, dtype=torch.float64) for part in zip(*found, strict=True))
        said = (f"{values.mean():.3f}", f"{values.min():.3f}", f"{first.mean():.0%}", f"{norms.mean():.2f}")
        rows.append((layer, f"{int(count[0])}", str(len(found)), *said, f"{time.perf_counter() - start:.0f}"))
        print(as_text(rows), flush=True)


def network(squeezenet: str | None, vgg16_weights: str | None) -> tuple[dv.DeconvNet, tuple[str, ...]]:
    """One of the networks, and its layers."""
    if vgg16_weights:
        return dv.DeconvNet(vgg16(vgg16_weights), preprocess=dv.images.Preprocess(size=224)), LAYERS["vgg16"]
    loaded = load_model("torchvision:squeezenet1_1", squeezenet)
    return dv.DeconvNet(loaded.model, preprocess=loaded.preprocess), LAYERS["squeezenet"]


def drawn(top: dv.TopActivations, layer: str, count: int) -> list[int]:
    """Channels that fire on all 16 images, at random."""
    firing = (top.values[layer][:, -1] > 0).nonzero().flatten()
    order = torch.randperm(len(firing), generator=torch.Generator().manual_seed(0))[:count]
    return sorted(firing[order].tolist())


def agreement(
    net: dv.DeconvNet, data: Sequence[str], top: dv.TopActivations, layer: str, channel: int
) -> tuple[float, float, bool, int]:
    """Rank correlation with removal of what is added and of kernel norms, whether the first agrees, and of how many."""
    pictures = DatasetPictures(net, data)
    trace = net.trace(pictures.load(0)[0][None])
    search = FeederSearch(net, layer, nearest(trace, layer, sources_of(trace, net, None)))
    runs = ChannelRuns(pictures, search, channel, IMAGES)
    units = [
        Found(image, tuple(place))
        for image, place in zip(
            top.images[layer][channel].tolist(), top.positions[layer][channel].tolist(), strict=True
        )
    ]
    added = runs.shares(units[::2])
    lost = runs.lost(units[1::2], [[source] for source in added.sources]).mean(0)
    shares = added.shares.mean(0)
    norms = kernel_norms(net.model.get_submodule(layer), channel)
    return (
        spearman(shares, lost),
        spearman(norms.to(lost), lost),
        int(shares.argmax()) == int(lost.argmax()),
        len(lost),
    )


def kernel_norms(convolution: nn.Module, channel: int) -> Tensor:
    """The norm of the kernel through which a channel reads each channel below."""
    weight: Tensor = convolution.get_parameter("weight")
    return weight[channel].detach().flatten(1).norm(dim=1)


if __name__ == "__main__":
    main()
