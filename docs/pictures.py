"""Draw the pictures of the tutorial, the gallery and the page about evidence anew: docs/images/NAME.png.

    python docs/pictures.py                                                       the network for digits, a few minutes
    python docs/pictures.py --weights squeezenet1_1.safetensors --photos PHOTOS   and SqueezeNet, some minutes more
    python docs/pictures.py --only gallery-occlusion-reference                    pictures by name

The weights are torchvision's `squeezenet1_1` for ImageNet. PHOTOS is a folder with many photographs, for its diagnosis;
the other pictures of SqueezeNet show photographs of scikit-image. The drawings come from docs/drawings.py.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import skimage
from PIL import Image

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.evidence import clarity, deletion, digit_benchmark, localisation
from deconvviz.experiments import occlusion
from deconvviz.models import mnist_cnn
from deconvviz.models.by_name import load_model

ROOT = Path(__file__).resolve().parents[1]
WIDEST = 1300  # pixels
INVARIANCE = ("translation", "scale", "rotation")
CLARITY_LAYERS = ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "fc1", "fc2"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", metavar="FILE", help="SqueezeNet 1.1's ImageNet weights")
    parser.add_argument("--photos", metavar="DIR", help="photographs for its diagnosis")
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME")
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images", help="where to write (%(default)s)")
    given = parser.parse_args()
    examples = {**reference_network(), **(squeezenet(given.weights, given.photos) if given.weights else {})}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "out" / "examples").mkdir(parents=True)
        for name, (made, *command) in examples.items():
            if not given.only or name in given.only:
                script, *options = command
                run = [sys.executable, str(ROOT / "examples" / f"{script}.py"), *options]
                subprocess.run(run, cwd=folder, check=True, stdout=subprocess.DEVNULL)
                save(Path(folder) / "out" / "examples" / f"{made}.png", given.images / f"{name}.png")
        figures = {**FIGURES, **({"occlusion-squeezenet": lambda: _covered(given.weights)} if given.weights else {})}
        for name, draw in figures.items():
            if not given.only or name in given.only:
                drawn = Path(folder) / f"{name}.png"
                draw().figure().savefig(drawn, dpi=110, bbox_inches="tight")
                save(drawn, given.images / f"{name}.png")


def reference_network() -> dict[str, tuple[str, ...]]:
    """The name of each picture, the file that an example writes, the example and its options."""
    return {
        "example-top-nine": ("top-nine", "top_nine", "--out", "out/examples/top-nine.png"),
        "example-custom-operation": ("custom", "custom_operation", "--out", "out/examples/custom.png"),
        **{f"gallery-{name}-reference": (f"{name}-reference", name) for name in ("diagnosis", "occlusion", "probe")},
        "gallery-correspondence-reference": ("correspondence-reference", "correspondence"),
        **{
            f"gallery-invariance-{kind}-reference": (
                f"invariance-{kind}-reference", "invariance", "--transforms", kind
            )
            for kind in INVARIANCE
        },
    }  # fmt: skip


def squeezenet(weights: str, photos: str | None) -> dict[str, tuple[str, ...]]:
    """As `reference_network`."""
    network = ("--network", "squeezenet", "--weights", str(Path(weights).resolve()))
    moved = ("invariance-translation-squeezenet", "invariance", "--transforms", "translation")
    pictures = {
        "gallery-occlusion-squeezenet": ("occlusion-squeezenet", "occlusion", *network),
        "gallery-invariance-translation-squeezenet": (*moved, *network),
    }
    if photos:
        given = ("--photos", str(Path(photos).resolve()))
        pictures["diagnosis-squeezenet"] = ("diagnosis-squeezenet", "diagnosis", *network, *given)
    return pictures


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


FIGURES: dict[str, Callable[[], Any]] = {
    "tutorial-filters": lambda: _net().filters("conv1"),
    "tutorial-maps": lambda: _net().activations(mnist_test()[0][:1], "relu1"),
    "evidence-mnist-deletion-conv2": lambda: deletion(_net(), mnist_test()[0][:20], "conv2"),
    "evidence-mnist-localisation": _pointing,
    "evidence-mnist-clarity": lambda: clarity(_net(), mnist_test()[0][:100], layers=CLARITY_LAYERS),
}


def save(drawn: Path, path: Path) -> None:
    """A picture of few colours in a small file."""
    picture = Image.open(drawn).convert("RGB")
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)), Image.Resampling.LANCZOS)
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path, path.stat().st_size, flush=True)


if __name__ == "__main__":
    main()
