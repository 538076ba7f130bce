"""Draw docs/images/photographs.png: the strongest units of photographs in SqueezeNet, layer by layer.

    python docs/photographs.py --weights squeezenet1_1.safetensors chelsea.png coffee.png astronaut.png rocket.jpg

The weights are torchvision's `squeezenet1_1` for ImageNet; the photographs are scikit-image's (CC0 or public domain).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import deconvviz as dv
from deconvviz.figures import projection_image
from deconvviz.images import as_rgb
from deconvviz.models.by_name import load_model

LAYERS = {
    "features.4.expand3x3": "second fire module",
    "features.7.expand3x3": "fourth",
    "features.10.expand3x3": "sixth",
}
MARK = "#e8590c"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("photographs", nargs="+")
    given = parser.parse_args()
    found = load_model("torchvision:squeezenet1_1", given.weights)
    net = dv.DeconvNet(found.model, preprocess=found.preprocess)
    figure = draw(net, given.photographs)
    figure.savefig(Path(__file__).with_name("images") / "photographs.png", dpi=100)


def draw(net: dv.DeconvNet, photographs: list[str]) -> Figure:
    """Per photograph a row: the image, and per layer its strongest unit, its patch beside its projection."""
    widths = [1, *[2] * len(LAYERS)]
    figure = Figure(figsize=(1.6 * sum(widths), 1.58 * len(photographs) + 0.25), facecolor="white")
    axes = figure.subplots(len(photographs), len(widths), squeeze=False, width_ratios=widths)
    figure.subplots_adjust(0.005, 0.005, 0.995, 1 - 0.25 / figure.get_figheight(), wspace=0.04, hspace=0.04)
    for row, photograph in zip(axes, photographs, strict=True):
        trace = net.trace(photograph, list(LAYERS))
        for place, layer in zip(row[1:], LAYERS, strict=True):
            channel = int(trace.activations[layer][0].flatten(1).amax(1).argmax())
            projection = net.project(trace, layer, channel=channel)
            place.imshow(projection_image(projection, enlarge=4), interpolation="nearest")
            (top, bottom), (left, right) = projection.receptive_fields[0].tolist()
            row[0].add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, ec=MARK, lw=1))
        row[0].imshow(as_rgb(projection.images[0]).numpy())
        row[0].set_anchor("N")
    for place in axes.flat:
        place.axis("off")
    for column, title in enumerate(["photograph", *LAYERS.values()]):
        x = (0.5 if column == 0 else 2 * column) / sum(widths)
        figure.text(x, 1 - 0.07 / figure.get_figheight(), title, fontsize=10, ha="center", va="top")
    return figure


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
