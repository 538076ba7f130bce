"""Figures and numbers of docs/evidence.md: every measure on the reference network and, if given, on SqueezeNet.

    python -m benchmarks.evidence --out out/evidence
    python -m benchmarks.evidence --out out/evidence --squeezenet squeezenet1_1.safetensors --photos FOLDER

SqueezeNet is torchvision's `squeezenet1_1` with its ImageNet weights, saved as safetensors or a state dict. The photos
are a folder of image files, with sub-folders, of which every n-th file is used.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import deconvviz as dv
from benchmarks.timing import circumstances
from deconvviz.data import mnist_test
from deconvviz.evidence import clarity, deletion, digit_benchmark, leak, localisation, randomisation, selectivity
from deconvviz.images import to_input
from deconvviz.models.by_name import load_model
from deconvviz.models.mnist import mnist_cnn
from deconvviz.results import Judgement

Question = Callable[[], Judgement]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/evidence"), help="folder for figures and numbers")
    parser.add_argument("--images", type=int, default=100, help="digits that are judged (%(default)s)")
    parser.add_argument("--squeezenet", metavar="FILE", help="weights of squeezenet1_1")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="photographs for SqueezeNet")
    parser.add_argument("--count", type=int, default=16, help="photographs that are judged (%(default)s)")
    given = parser.parse_args()
    questions = reference_network(given.images)
    if given.squeezenet:
        questions |= squeezenet(given.squeezenet, given.photos, given.count)
    given.out.mkdir(parents=True, exist_ok=True)
    found = {"circumstances": circumstances("cpu")}
    for name, ask in questions.items():
        started = time.perf_counter()
        judgement = ask()
        seconds = time.perf_counter() - started
        judgement.figure().savefig(given.out / f"{name}.png", dpi=110)
        found[name] = {**judgement.as_json(), "seconds": seconds}
        print(f"\n## {name} ({seconds:.0f} s)\n\n{judgement}", flush=True)
    (given.out / "evidence.json").write_text(json.dumps(found, indent=1) + "\n")


def reference_network(count: int) -> dict[str, Question]:
    net, x = dv.DeconvNet(mnist_cnn()), mnist_test()[0][:count]
    bench = digit_benchmark(count)
    return {
        "mnist-deletion-fc2": lambda: deletion(net, x, "fc2"),
        "mnist-deletion-conv2": lambda: deletion(net, x, "conv2"),
        "mnist-randomisation-fc2": lambda: randomisation(net, x, "fc2"),
        "mnist-randomisation-conv2": lambda: randomisation(net, x, "conv2"),
        "mnist-independent-fc2": lambda: randomisation(net, x, "fc2", mode="independent"),
        "mnist-selectivity-conv2": lambda: selectivity(net, x, "conv2"),
        "mnist-selectivity-relu2": lambda: selectivity(net, x, "relu2"),
        "mnist-selectivity-fc2": lambda: selectivity(net, x, "fc2"),
        "mnist-leak-conv2": lambda: leak(net, x, "conv2"),
        "mnist-leak-fc2": lambda: leak(net, x, "fc2"),
        "mnist-localisation": lambda: localisation(bench.net, bench.images, bench.boxes, channel=bench.labels.tolist()),
        "mnist-clarity": lambda: clarity(
            net, x, layers=["conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "fc1", "fc2"]
        ),
    }


def squeezenet(weights: str, photos: Path, count: int) -> dict[str, Question]:
    loaded = load_model("torchvision:squeezenet1_1", weights)
    net = dv.DeconvNet(loaded.model, preprocess=loaded.preprocess)
    x = photographs(net, photos, count)
    fires = ["features.0", *(f"features.{number}.expand3x3" for number in (3, 6, 9, 12)), "classifier.1"]
    return {
        "squeezenet-deletion-output": lambda: deletion(net, x, "output"),
        "squeezenet-deletion-features.12": lambda: deletion(net, x, "features.12"),
        "squeezenet-randomisation-output": lambda: randomisation(net, x, "output"),
        "squeezenet-randomisation-features.12": lambda: randomisation(net, x, "features.12.expand3x3"),
        "squeezenet-selectivity-features.12": lambda: selectivity(net, x, "features.12"),
        "squeezenet-selectivity-output": lambda: selectivity(net, x, "output"),
        "squeezenet-clarity": lambda: clarity(net, x, layers=fires),
    }


def photographs(net: dv.DeconvNet, folder: Path, count: int) -> Tensor:
    files = sorted(one for one in folder.rglob("*") if one.suffix.lower() in {".jpg", ".jpeg", ".png"})
    chosen = [files[n * len(files) // count] for n in range(min(count, len(files)))]
    return to_input([str(one) for one in chosen], net.preprocess)


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
