"""Draw the figures that were looked at before and after they were made readable, with the library that is imported.

    python docs/looked_at.py --weights squeezenet1_1.safetensors PHOTOS OUT
    PYTHONPATH=older/checkout python docs/looked_at.py --weights squeezenet1_1.safetensors PHOTOS OUT

The weights are torchvision's `squeezenet1_1` for ImageNet, PHOTOS is a folder of photographs. The reference network is
trained for a few epochs on the first bundled digits, always with the same numbers. It uses only what older versions
have, too.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import deconvviz as dv
from deconvviz import experiments
from deconvviz.captum.comparison import compare
from deconvviz.data import ImageFolder, mnist_test
from deconvviz.models import MnistCNN, TrainingSettings, mnist_cnn, train
from deconvviz.models.by_name import load_model

LAYER = "features.7.expand3x3"
SIGNAL_LENGTH = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--only", nargs="+", help="names of figures")
    parser.add_argument("--images", type=int, default=96, help="photographs that are scanned (%(default)s)")
    parser.add_argument("photographs")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    torch.manual_seed(0)
    given.out.mkdir(parents=True, exist_ok=True)
    for name, figure in FIGURES.items():
        if not given.only or name in given.only:
            figure(given).savefig(given.out / f"{name}.png", dpi=100)
            print(given.out / f"{name}.png", flush=True)


def squeezenet(given: argparse.Namespace) -> dv.DeconvNet:
    found = load_model("torchvision:squeezenet1_1", given.weights)
    return dv.DeconvNet(found.model, preprocess=found.preprocess)


def photographs(given: argparse.Namespace) -> list[str]:
    folder = ImageFolder(given.photographs)
    step = max(1, len(folder) // given.images)
    return [str(folder.root / name) for name in folder.names[::step]][: given.images]


def strongest(given: argparse.Namespace, count: int) -> Any:
    net, paths = squeezenet(given), photographs(given)
    top = dv.scan(net, paths, layers=[LAYER], k=9, batch_size=16, progress=False)
    fire = (top.values[LAYER][:, 0] > 0).nonzero().flatten().tolist()
    return dv.project_top(net, paths, top, layer=LAYER, channel=fire[:count], progress=False)


def projection(given: argparse.Namespace) -> Any:
    net, image = squeezenet(given), photographs(given)[0]
    strength = net.trace(image, LAYER).activations[LAYER][0].amax((1, 2))
    return net.project(image, LAYER, channel=sorted(strength.topk(9).indices.tolist()))


def signal() -> Any:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv1d(2, 8, 9, padding=4), torch.nn.ReLU(), torch.nn.Conv1d(8, 4, 7))
    time = torch.arange(SIGNAL_LENGTH) / 50
    x = torch.stack([torch.sin(5 * time) * torch.exp(-((time - 2) ** 2)), torch.cos(9 * time)])[None]
    return dv.DeconvNet(model).project(x, "2", channel=[0, 1])


def trained(folder: Path | None) -> Any:
    images, labels = mnist_test()
    torch.manual_seed(0)
    settings = TrainingSettings(epochs=6, patience=6)
    return train(MnistCNN(), images[:600], labels[:600], settings=settings, checkpoints=folder, progress=False)


def evolution(given: argparse.Namespace) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        trained(run)
        return experiments.evolution(dv.DeconvNet(MnistCNN()), run, mnist_test()[0][:200], progress=False)


def occlusion(given: argparse.Namespace) -> Any:
    return experiments.occlusion(squeezenet(given), photographs(given)[:2], stride=24, progress=False)


def comparison(given: argparse.Namespace) -> Any:
    methods = ["deconvnet", "guided", "NeuronGradient", "InputXGradient", "LayerGradCam"]
    return compare(squeezenet(given), photographs(given)[0], layer=LAYER, channel=1, methods=methods, progress=False)


def invariance(given: argparse.Namespace) -> Any:
    values = range(-12, 13, 4)
    return experiments.invariance(
        squeezenet(given), photographs(given)[:4], transform="translation", values=list(values), progress=False
    )


def rates(given: argparse.Namespace) -> Any:
    net = dv.DeconvNet(mnist_cnn())
    return dv.scan(net, mnist_test()[0][:300], layers=["conv1", "conv2"], progress=False)


FIGURES: dict[str, Callable[[argparse.Namespace], Any]] = {
    "projection": lambda given: projection(given).figure(),
    "projection-whole": lambda given: projection(given)[:4].figure(crop=False),
    "overlay": lambda given: projection(given)[:4].overlay(),
    "signal": lambda given: signal().figure(crop=False, rate=50),
    "top": lambda given: strongest(given, 6).figure(),
    "top-many": lambda given: strongest(given, 24).figure(),
    "occlusion": lambda given: occlusion(given).figure(),
    "comparison": lambda given: comparison(given).figure(),
    "evolution": lambda given: evolution(given).figure(),
    "curves": lambda given: trained(None).curves.figure(),
    "invariance": lambda given: invariance(given).figure(),
    "rates": lambda given: rates(given).figure(),
}

if __name__ == "__main__":
    main()
