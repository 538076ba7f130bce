"""Draw the pictures of the tutorial, the gallery and the pages about experiments anew: docs/images/NAME.png.

    python docs/pictures.py                                                       the network for digits, some minutes
    python docs/pictures.py --weights squeezenet1_1.safetensors --photos PHOTOS   and SqueezeNet, some minutes more
    python docs/pictures.py --training --mnist MNIST                              and networks that are trained for them
    python docs/pictures.py --only gallery-occlusion-reference                    pictures by name

The weights are torchvision's `squeezenet1_1` for ImageNet. PHOTOS is a folder with many photographs, for its diagnosis;
the other pictures of SqueezeNet show photographs of scikit-image. MNIST is the folder with the training images, for the
picture of evolution. What the examples print beside their pictures is shown, for the texts of the documentation. The
drawings come from docs/drawings.py.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from PIL import Image

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.evidence import clarity, deletion, digit_benchmark, localisation
from deconvviz.experiments import decoding, occlusion, uncertainty
from deconvviz.models import mnist_cnn
from deconvviz.models.by_name import load_model

ROOT = Path(__file__).resolve().parents[1]
WIDEST = 1300  # pixels
LOSS = 24  # levels of 256 that a pixel may be off in a picture of few colours
INVARIANCE = ("translation", "scale", "rotation")
CLARITY_LAYERS = ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "fc1", "fc2"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", metavar="FILE", help="SqueezeNet 1.1's ImageNet weights")
    parser.add_argument("--photos", metavar="DIR", help="photographs for its diagnosis")
    parser.add_argument("--training", action="store_true", help="and the pictures of examples that train networks")
    parser.add_argument("--mnist", metavar="DIR", help="MNIST's training images, for the picture of evolution")
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME")
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images", help="where to write (%(default)s)")
    given = parser.parse_args()
    commands = {
        **reference_network(),
        **(squeezenet(given.weights, given.photos) if given.weights else {}),
        **(training() if given.training else {}),
        **(evolution(given.mnist) if given.mnist else {}),
    }
    wanted: dict[tuple[str, ...], list[tuple[str, str]]] = {}  # by command the pictures and the files that it writes
    for name, (made, *command) in commands.items():
        if not given.only or name in given.only:
            wanted.setdefault(tuple(command), []).append((name, made))
    for command, pictures in wanted.items():
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "out").mkdir()
            run = [sys.executable, *command]
            subprocess.run(run, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
            for name, made in pictures:
                save(Path(folder) / "out" / f"{made}.png", given.images / f"{name}.png")
    figures = {**FIGURES, **({"occlusion-squeezenet": lambda: _covered(given.weights)} if given.weights else {})}
    for name, draw in figures.items():
        if not given.only or name in given.only:
            with tempfile.TemporaryDirectory() as folder:
                drawn = Path(folder) / f"{name}.png"
                draw().figure().savefig(drawn, dpi=110, bbox_inches="tight")
                save(drawn, given.images / f"{name}.png")


def example(script: str, *options: str) -> tuple[str, ...]:
    """The command of an example that writes into the folder out, or into a file there."""
    out = () if "--out" in options else ("--out", "out")
    return (str(ROOT / "examples" / f"{script}.py"), *options, *out)


def reference_network() -> dict[str, tuple[str, ...]]:
    """By the name of each picture the file that a command writes, and the command."""
    return {
        "example-top-nine": ("top-nine", *example("top_nine", "--out", "out/top-nine.png")),
        "example-custom-operation": ("custom", *example("custom_operation", "--out", "out/custom.png")),
        **{
            f"gallery-{name}-reference": (f"{name}-reference", *example(name))
            for name in ("correspondence", "diagnosis", "occlusion", "probe")
        },
        **{
            f"gallery-invariance-{kind}-reference": (
                f"invariance-{kind}-reference", *example("invariance", "--transforms", kind)
            )
            for kind in INVARIANCE
        },
    }  # fmt: skip


def squeezenet(weights: str, photos: str | None) -> dict[str, tuple[str, ...]]:
    """As `reference_network`."""
    network = ("--network", "squeezenet", "--weights", str(Path(weights).resolve()))
    moved = example("invariance", "--transforms", "translation", *network)
    pictures = {
        "gallery-occlusion-squeezenet": ("occlusion-squeezenet", *example("occlusion", *network)),
        "gallery-invariance-translation-squeezenet": ("invariance-translation-squeezenet", *moved),
    }
    if photos:
        given = ("--photos", str(Path(photos).resolve()))
        pictures["diagnosis-squeezenet"] = ("diagnosis-squeezenet", *example("diagnosis", *network, *given))
    return pictures


FEW = ("--images", "300", "--epochs", "10")  # as docs/examples.md says


def training() -> dict[str, tuple[str, ...]]:
    """As `reference_network`."""
    return {
        "example-architecture": ("features", *example("architecture_study", "--images", "3000")),
        "example-regularisation": ("features", *example("regularisation")),
        "example-regularisation-curves": ("curves", *example("regularisation")),
        "example-penalties": ("curves", *example("penalty_strength", *FEW)),
        "example-penalties-filters": ("filters", *example("penalty_strength", *FEW)),
        "example-losses": ("loss", *example("training_time", "--by", "loss")),
        "example-optimisers": ("features", *example("regularisation", "--by", "optimiser", *FEW)),
        "example-crnn": ("crnn", *example("crnn")),
    }


def evolution(mnist: str) -> dict[str, tuple[str, ...]]:
    """As `reference_network`."""
    given = ("--root", str(Path(mnist).resolve()), "--images", "1000", "--seeds", "1", "--out", "out")
    return {"evolution-mnist": ("evolution", "-m", "benchmarks.evolution", *given)}


def _net() -> dv.DeconvNet:
    return dv.DeconvNet(mnist_cnn())


def _pointing() -> Any:
    bench = digit_benchmark(60)
    return localisation(bench.net, bench.images, bench.boxes, channel=bench.labels.tolist())


def _covered(weights: str) -> Any:
    """Two photographs of scikit-image, with the defaults of `occlusion`."""
    folder, loaded = Path(skimage.__file__).parent / "data", load_model("torchvision:squeezenet1_1", weights)
    photographs = [str(folder / "chelsea.png"), str(folder / "coffee.png")]
    return occlusion(dv.DeconvNet(loaded.model, preprocess=loaded.preprocess), photographs, progress=False)


def _uncertain() -> Any:
    return uncertainty(_net(), mnist_test(), samples=50, batch_size=64, progress=False)


FIGURES: dict[str, Callable[[], Any]] = {
    "tutorial-filters": lambda: _net().filters("conv1"),
    "tutorial-maps": lambda: _net().activations(mnist_test()[0][:1], "relu1"),
    "evidence-mnist-deletion-conv2": lambda: deletion(_net(), mnist_test()[0][:20], "conv2"),
    "evidence-mnist-localisation": _pointing,
    "evidence-mnist-clarity": lambda: clarity(_net(), mnist_test()[0][:100], layers=CLARITY_LAYERS),
    "circuit": lambda: dv.circuit(_net(), mnist_test()[0], "conv2", channel=20, progress=False),
    "decoding": lambda: decoding(_net(), mnist_test()[0], images=2000, progress=False),
    "uncertainty-mnist": _uncertain,
}


def save(drawn: Path, path: Path) -> None:
    """A picture in a small file: of 256 colours, unless they cannot show it, as those of photographs cannot."""
    picture = Image.open(drawn).convert("RGB")
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)), Image.Resampling.LANCZOS)
    few = picture.quantize(256, Image.Quantize.MAXCOVERAGE)  # others give rare colours up, as those of keys are
    lost = np.abs(np.asarray(few.convert("RGB"), int) - np.asarray(picture, int)).max()
    (few if lost <= LOSS else picture).save(path, optimize=True)
    print(path, path.stat().st_size, flush=True)


if __name__ == "__main__":
    main()
