"""The nine images that activate a channel most strongly, each next to its projection: Figure 2 of Zeiler and Fergus.

    python examples/top_nine.py --layer conv2 --channel 20 --out top_nine.png

You can use your own model in the same way: only the layer names depend on the reference network.
"""

from __future__ import annotations

import argparse

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.models import mnist_cnn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", default="conv2")
    parser.add_argument("--channel", type=int, default=20)
    parser.add_argument("--out", default="top_nine.png")
    given = parser.parse_args()

    images, labels = mnist_test()
    net = dv.DeconvNet(mnist_cnn())

    top = dv.scan(net, images, layers=given.layer, k=9, progress=False)
    found = dv.project_top(net, images, top, channel=given.channel, progress=False)
    for strongest in found:
        for unit, index in zip(strongest.projection.units, strongest.images, strict=True):
            print(f"image {index}, a {int(labels[index])}: {unit.activation:.3f} at {unit.position}")
    found.figure().savefig(given.out, dpi=150)


if __name__ == "__main__":
    main()
