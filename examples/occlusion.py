"""Which part of an image do a feature map and a class depend on? Figure 7 of Zeiler and Fergus.

    python examples/occlusion.py
    python examples/occlusion.py --network squeezenet --download

A grey patch slides over each image. Each image has a row with the image and the patch, the activation of its strongest
feature map, the map's projection, the probability of the class, and the most probable class.
"""

from __future__ import annotations

from subjects import as_batch, show, subject

import deconvviz as dv


def main(arguments: list[str] | None = None) -> None:
    seen, given = subject(__doc__, arguments, digits=4)
    patch, stride = (8, 2) if seen.is_reference else (48, 12)
    layer = None if seen.is_reference else "features.12.cat"  # SqueezeNet's last convolution outputs the classes
    x = as_batch(seen, 4)
    found = dv.experiments.occlusion(
        seen.net, x, layer=layer, patch=patch, stride=stride, classes=seen.classes, progress=False
    )
    show(found, given, "occlusion")


if __name__ == "__main__":
    main()
