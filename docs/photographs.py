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
from deconvviz.figures.marks import KEY_INCHES, draw_key, signed_words
from deconvviz.images import as_rgb, signed_as_rgb, tiled
from deconvviz.models.by_name import load_model
from deconvviz.reading.pieces import UnitWindows

LAYERS = {
    "features.4.expand3x3": "second fire module",
    "features.7.expand3x3": "fourth",
    "features.10.expand3x3": "sixth",
}
MARK = "#e8590c"
TITLES = 0.25  # inches of the line above the panels


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
    """Per photograph a row: the image, and per layer its strongest unit, its patch beside its projection.

    What a unit sees beyond the border is grey in both.
    """
    widths = [1, *[2] * len(LAYERS)]
    height = 1.58 * len(photographs) + TITLES + KEY_INCHES
    figure = Figure(figsize=(1.6 * sum(widths), height), facecolor="white")
    axes = figure.subplots(len(photographs), len(widths), squeeze=False, width_ratios=widths)
    figure.subplots_adjust(0.005, KEY_INCHES / height, 0.995, 1 - TITLES / height, wspace=0.04, hspace=0.04)
    draw_key(figure.add_axes((0, 0, 1, KEY_INCHES / height)), "colours", signed_words(3, "each"))
    for row, photograph in zip(axes, photographs, strict=True):
        trace = net.trace(photograph, list(LAYERS))
        for place, layer in zip(row[1:], LAYERS, strict=True):
            channel = int(trace.activations[layer][0].flatten(1).amax(1).argmax())
            projection = net.project(trace, layer, channel=channel)
            image, pixels, unit = projection.images[0], projection.pixels[0], projection.units[0]
            windows = UnitWindows.of(net.layers(image[None])[layer], image.shape)
            patch, drawn = (windows.cut(each, unit.position, fill=fill) for each, fill in ((image, 0.5), (pixels, 0.0)))
            place.imshow(tiled([as_rgb(patch), signed_as_rgb(drawn)], 2), interpolation="nearest")
            (top, bottom), (left, right) = projection.receptive_fields[0].tolist()
            row[0].add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, ec=MARK, lw=1))
        row[0].imshow(as_rgb(projection.images[0]).numpy())
        row[0].set_anchor("N")
    for place in axes.flat:
        place.axis("off")
    for column, title in enumerate(["photograph", *LAYERS.values()]):
        x = (0.5 if column == 0 else 2 * column) / sum(widths)
        figure.text(x, 1 - 0.07 / height, title, fontsize=10, ha="center", va="top")
    return figure


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
