"""Figures and numbers of docs/evidence.md: every measure on the reference network and, if given, on SqueezeNet.

    python -m benchmarks.evidence --out out/evidence
    python -m benchmarks.evidence --out out/squeezenet --images 0 --squeezenet squeezenet1_1.safetensors \\
        --photos NATURAL --cutouts CUTOUTS

SqueezeNet is torchvision's `squeezenet1_1` with its ImageNet weights, saved as safetensors or a state dict. Photographs
and cut-outs on grey are folders of image files, with sub-folders, of which every n-th file is used. The two are judged
apart: the grey around a cut-out is the value that stands for a deleted pixel.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    parser.add_argument("--images", type=int, default=100, help="digits that are judged; 0 for none (%(default)s)")
    parser.add_argument("--squeezenet", metavar="FILE", help="weights of squeezenet1_1")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="natural photographs for SqueezeNet")
    parser.add_argument("--cutouts", type=Path, metavar="DIR", help="cut-outs on grey for SqueezeNet")
    parser.add_argument("--count", type=int, default=8, help="photographs and cut-outs that are judged (%(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only measures that have this in their name")
    given = parser.parse_args()
    questions = reference_network(given.images) if given.images else {}
    for kind in ("photos", "cutouts"):
        if given.squeezenet and (folder := getattr(given, kind)):
            questions |= squeezenet(given.squeezenet, kind, folder, given.count)
    questions = {name: ask for name, ask in questions.items() if given.only in name}
    given.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"circumstances": circumstances("cpu")}
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


def squeezenet(weights: str, kind: str, folder: Path, count: int) -> dict[str, Question]:
    loaded = load_model("torchvision:squeezenet1_1", weights)
    net = dv.DeconvNet(loaded.model, preprocess=loaded.preprocess)
    x = photographs(net, folder, count)
    middle, upper = "features.6.expand3x3", "features.12.expand3x3"
    fires = [f"features.{number}.expand3x3" for number in (3, 6, 9, 12)]
    judged: dict[str, Question] = {}
    for layer in (upper, middle, "output"):
        judged |= {
            f"selectivity-{layer}": functools.partial(selectivity, net, x, layer),
            f"leak-{layer}": functools.partial(leak, net, x, layer),
        }
    judged |= {
        "clarity": functools.partial(clarity, net, x, layers=["features.0", *fires, "classifier.1"]),
        f"randomisation-{upper}": functools.partial(randomisation, net, x, upper),
        f"deletion-{upper}": functools.partial(deletion, net, x, upper, methods=["deconvnet"], steps=8, seeds=2),
    }
    return {f"squeezenet-{kind}-{name}": ask for name, ask in judged.items()}


def photographs(net: dv.DeconvNet, folder: Path, count: int) -> Tensor:
    files = sorted(one for one in folder.rglob("*") if one.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    chosen = [files[n * len(files) // count] for n in range(min(count, len(files)))]
    return to_input([str(one) for one in chosen], net.preprocess)


if __name__ == "__main__":
    main()
