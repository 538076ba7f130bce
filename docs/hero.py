"""Draw docs/images/hero.png: the nine strongest images of five VGG16 channels, from shallow to deep (Figure 2).

    python docs/hero.py --weights vgg16.safetensors PHOTOS

The weights are those of torchvision's `vgg16` for ImageNet; the classifier is not used. PHOTOS is a folder of
photographs; docs/credits.md names those in the picture, which are all CC0 or in the public domain.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torchvision
from matplotlib.figure import Figure
from PIL import Image, ImageChops
from safetensors.torch import load_file

import deconvviz as dv
from deconvviz.data import ImageFolder
from deconvviz.figures import top_image
from deconvviz.figures.marks import KEY_INCHES, draw_key, signed_words

CHANNELS = {2: 10, 7: 10, 14: 20, 21: 168, 28: 183}  # by hand
SIGMA = {21: 1.0, 28: 1.0}  # pixels; the picture says so
SIDE = 290  # pixels of a square of nine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("photographs")
    given = parser.parse_args()
    weights = {name.removeprefix("features."): tensor.float() for name, tensor in load_file(given.weights).items()}
    model = torchvision.models.vgg16(weights=None).features
    model.load_state_dict(weights, strict=False)
    net, photographs = dv.DeconvNet(model, preprocess=dv.images.Preprocess(size=224)), ImageFolder(given.photographs)
    top = dv.scan(net, photographs, layers=list(map(str, CHANNELS)), k=9, batch_size=8)
    height = 5.7 + KEY_INCHES
    figure = Figure(figsize=(2.62 * len(CHANNELS), height), facecolor="white")
    axes = figure.subplots(2, len(CHANNELS))
    figure.subplots_adjust(0.004, KEY_INCHES / height, 0.996, 1 - 0.43 / height, wspace=0.03, hspace=0.03)
    draw_key(figure.add_axes((0, 0, 1, KEY_INCHES / height)), "colours", signed_words(3, "each"))
    shown: set[str] = set()
    for column, (layer, channel) in zip(axes.T, CHANNELS.items(), strict=True):
        found = dv.project_top(net, photographs, top, layer=str(layer), channel=channel)[0]
        sigma = SIGMA.get(layer, 0.0)
        squares = trimmed(top_image([found.projection], sigma=sigma, enlarge=6 if layer < 10 else 2))
        for place, left in zip(column, (0, squares.width - squares.height), strict=True):
            square = squares.crop((left, 0, left + squares.height, squares.height))
            resampling = Image.Resampling.NEAREST if layer < 10 else Image.Resampling.LANCZOS
            place.imshow(square.resize((SIDE, SIDE), resampling), interpolation="nearest")
            place.axis("off")
        said = f"\nsmoothed, sigma {sigma:g} pixel" if sigma else "\n"
        column[0].set_title(f"features.{layer}, channel {channel}{said}", fontsize=11)
        shown.update(found.names)
    figure.savefig(Path(__file__).with_name("images") / "hero.png", dpi=110)
    print("\n".join(sorted(shown)))


def trimmed(image: Image.Image) -> Image.Image:
    """A picture without its white margin."""
    box = ImageChops.difference(image, Image.new(image.mode, image.size, "white")).getbbox()
    return image.crop(box)


if __name__ == "__main__":
    main()
