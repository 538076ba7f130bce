"""Draw docs/images/synthetic.png: synthetic pictures of channels of SqueezeNet and of the network for digits.

    python docs/synthetic.py --weights squeezenet1_1.safetensors

The weights are torchvision's `squeezenet1_1` for ImageNet.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.figure import Figure

import deconvviz as dv
from deconvviz.images import as_rgb
from deconvviz.models.by_name import load_model
from deconvviz.models.mnist import mnist_cnn

CHANNELS = (3, 10, 40, 77, 100, 150)
OF_DIGITS = (1, 8, 12, 20, 31, 40)
OUT = Path(__file__).parent / "images" / "synthetic.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, metavar="FILE")
    loaded = load_model("torchvision:squeezenet1_1", parser.parse_args().weights)
    photographs = dv.DeconvNet(loaded.model, preprocess=loaded.preprocess)
    rows = [
        ("digits, conv2", dv.synthesize(dv.DeconvNet(mnist_cnn()), "conv2", channel=OF_DIGITS, size=28, progress=False))
    ]
    for layer in ("features.6", "features.9"):
        rows.append(
            (f"SqueezeNet, {layer}", dv.synthesize(photographs, layer, channel=CHANNELS, size=128, progress=False))
        )
    figure = Figure((9.0, 5.1), layout="constrained")
    for panels, (name, found) in zip(figure.subplots(3, 6), rows, strict=True):
        for panel, channel, pictures in zip(panels, found.channels, found.pictures, strict=True):
            panel.imshow(as_rgb(pictures[0]).numpy(), interpolation="nearest")
            panel.set_title(f"channel {channel}", fontsize=8)
            panel.set(xticks=[], yticks=[])
        panels[0].set_ylabel(name, fontsize=9)
    figure.savefig(OUT, dpi=110)


if __name__ == "__main__":
    main()
