"""The table of the test of reading in docs/reading.md: three networks, three depths each, all conditions.

    python -m benchmarks.reading --out out/reading
    python -m benchmarks.reading --out out/reading --squeezenet FILE --vgg16 FILE --photos FOLDER [FOLDER ...]

SqueezeNet is torchvision's `squeezenet1_1`, VGG16 the convolutions of its `vgg16`, with ImageNet weights as safetensors
or a state dict. The photographs are image files in folders and their sub-folders; `benchmarks.free_photographs` writes
such a folder. Each layer is written when it is done; a later run with as many channels, questions and images leaves
out what is there. `--skip 24` takes the next channels of the same random order, and adds the rows of both sets together
if the first one lies in the same folder. At the end come the rows of the table in Markdown.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator, Sequence, Sized
from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file
from torch import nn

import deconvviz as dv
from benchmarks.timing import circumstances
from deconvviz.data import ImageFolder, MnistTest
from deconvviz.images import to_input
from deconvviz.intervals import LEVEL, Interval, mean_interval
from deconvviz.models.by_name import load_model
from deconvviz.models.mnist import mnist_cnn
from deconvviz.reading.synthetic_references import SYNTHETIC
from deconvviz.results import ReadingTest
from deconvviz.results.reading import ANOTHER, PATCHES

LAYERS = {
    "mnist": ("conv1", "conv2", "fc1"),
    "squeezenet": ("features.6", "features.9", "features.12"),
    "vgg16": ("features.7", "features.14", "features.21"),
}
CALLED = {"mnist": "digits", "squeezenet": "SqueezeNet", "vgg16": "VGG16"}
DASH = "\u2013"
SHOWN = (PATCHES, "deconvnet", "guided", "gradient", SYNTHETIC, ANOTHER)
WITH_SYNTHETIC = (PATCHES, "deconvnet", SYNTHETIC, ANOTHER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/reading"), help="folder for figures and numbers")
    parser.add_argument("--channels", type=int, default=24, help="channels per layer, at random (%(default)s)")
    parser.add_argument("--skip", type=int, default=0, help="channels of the random order to leave out (%(default)s)")
    parser.add_argument("--questions", type=int, default=10, help="questions per channel (%(default)s)")
    parser.add_argument("--size", type=int, default=224, help="pixels of the photographs' sides (%(default)s)")
    parser.add_argument("--squeezenet", metavar="FILE", help="weights of squeezenet1_1")
    parser.add_argument("--vgg16", metavar="FILE", help="weights of the convolutions of vgg16")
    parser.add_argument("--photos", nargs="+", metavar="DIR", default=[], help="photographs for SqueezeNet and VGG16")
    parser.add_argument("--synthetic", action="store_true", help="synthetic pictures beside patches and projections")
    parser.add_argument("--layers", nargs="+", metavar="NETWORK:LAYER", help="only these")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    written = given.out / "reading.json"
    found = json.loads(written.read_text()) if written.is_file() else {}
    rows, stable = [], []
    for name, net, data in networks(given):
        for layer in LAYERS[name]:
            if given.layers and f"{name}:{layer}" not in given.layers:
                continue
            asked = {n: getattr(given, n) for n in ("channels", "questions", "size")} | {"images": len(data)}
            first = f"{name}-{layer}" + "-synthetic" * given.synthetic
            key = f"{first}-from-{given.skip}" if given.skip else first
            file = given.out / f"{key}.safetensors"
            if found.get(key, {}).get("asked") != asked:
                started = time.perf_counter()
                conditions = WITH_SYNTHETIC if given.synthetic else None
                chosen = drawn(net, data, layer, given.skip, given.channels)
                result = tested(net, data, layer, chosen, given.questions, conditions)
                seconds = time.perf_counter() - started
                result.save(file)
                result.figure(title=f"{name}, {layer}").savefig(file.with_suffix(".png"), dpi=110)
                found["circumstances"] = circumstances("cpu")
                found[key] = {**result.as_json(), "asked": asked, "seconds": seconds}
                written.write_text(json.dumps(found, indent=1) + "\n")
                print(f"\n## {name}, {layer} ({seconds:.0f} s)\n\n{result}", flush=True)
            result, called = ReadingTest.load(file), f"{CALLED[name]}, `{layer}`"
            if given.skip and first in found:
                both = together(ReadingTest.load(given.out / f"{first}.safetensors"), result)
                rows += markdown(f"both sets: {called}", both)
            rows += markdown(called, result)
            stable.append(f"| {called} | {' | '.join(map(spread, map(mean_interval, result.stability.unbind(1))))} |")
    print("\n" + "\n".join([*rows, "", *stable]))


def markdown(called: str, result: ReadingTest) -> list[str]:
    """The rows of a layer in docs/reading.md; another score than that of patches is bold."""
    rows = []
    for observer in result.observers:
        p = {row["pictures"]: row["p"] for row in result.table() if row["observer"] == observer}
        cells = [called, observer]
        for condition in (one for one in SHOWN if one in result.conditions):
            cell = spread(result.score(observer, condition))
            bold = p[condition] <= LEVEL and condition != ANOTHER
            cells.append(f"**{cell.replace(' ', '** ', 1)}" if bold else cell)
        own = result.difference(observer, PATCHES, ANOTHER)
        cells.append("yes" if own.p <= LEVEL and own.mean > 0 else "not shown")
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def spread(found: Interval) -> str:
    return f"{found.mean:.2f} ({found.low:.2f}{DASH}{found.high:.2f})"


def networks(given: argparse.Namespace) -> Iterator[tuple[str, dv.DeconvNet, Sized]]:
    yield "mnist", dv.DeconvNet(mnist_cnn()), MnistTest()
    photos = [path for folder in given.photos for path in files_in(folder)]
    seen = dv.images.Preprocess(size=given.size)
    if given.squeezenet:
        model = load_model("torchvision:squeezenet1_1", given.squeezenet).model
        yield "squeezenet", dv.DeconvNet(model, preprocess=seen), photos
    if given.vgg16:
        yield "vgg16", dv.DeconvNet(vgg16(given.vgg16), preprocess=seen), photos


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


def drawn(net: dv.DeconvNet, data: object, layer: str, skip: int, count: int) -> list[int]:
    """So many channels, at random with a fixed seed; those that `skip` leaves out are the ones drawn before."""
    channels = net.layers(first_input(net, data))[layer].shape[1]
    order = torch.randperm(channels, generator=torch.Generator().manual_seed(0))
    chosen: list[int] = order[skip : skip + count].sort().values.tolist()
    return chosen


def tested(
    net: dv.DeconvNet,
    data: object,
    layer: str,
    channels: Sequence[int],
    questions: int,
    conditions: Sequence[str] | None,
) -> ReadingTest:
    """The test on some channels."""
    return dv.reading_test(
        net,
        data,
        layer,
        channel=list(channels),
        conditions=conditions,
        questions=questions,
        batch_size=16,
        progress=False,
    )


def together(one: ReadingTest, other: ReadingTest) -> ReadingTest:
    """The test on the channels of two tests of a layer, of the same conditions and number of questions."""
    if set(one.channels) & set(other.channels) or one.conditions != other.conditions:
        raise SystemExit("two tests go together if they have other channels and the same kinds of pictures")
    return dataclasses.replace(
        one,
        channels=one.channels + other.channels,
        untested=one.untested + other.untested,
        right={name: torch.cat([one.right[name], other.right[name]], 1) for name in one.observers},
        images=torch.cat([one.images, other.images]),
        activations=torch.cat([one.activations, other.activations]),
        contrasts=torch.cat([one.contrasts, other.contrasts]),
        stability=torch.cat([one.stability, other.stability]),
    )


def first_input(net: dv.DeconvNet, data: object) -> torch.Tensor:
    if isinstance(data, MnistTest):
        return data.tensors[0][:1]
    return to_input([data[0]], net.preprocess)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
