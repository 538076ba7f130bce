"""How much features change when the image is shifted, scaled or rotated: Figure 5 of Zeiler and Fergus.

    python examples/invariance.py
    python examples/invariance.py --network squeezenet --download

Dotted lines show the distance to a different image. Features that stay well below them still identify the image.
"""

from __future__ import annotations

from subjects import as_batch, show, subject

import deconvviz as dv

TRANSFORMS = ("translation", "scale", "rotation")


def main(arguments: list[str] | None = None) -> None:
    transforms = {"default": list(TRANSFORMS), "nargs": "+", "choices": TRANSFORMS, "help": "some of them (all)"}
    seen, given = subject(__doc__, arguments, digits=50, transforms=transforms)
    layers = None if seen.is_reference else ["features.1", "features.12.cat", "output"]
    values = None if seen.is_reference else {"translation": range(-48, 49, 12), "rotation": range(0, 360, 30)}
    for transform in given.transforms:
        chosen = values and values.get(transform)
        found = dv.experiments.invariance(
            seen.net, as_batch(seen, given.digits), layers=layers, transform=transform, values=chosen
        )
        show(found, given, f"invariance-{transform}")


if __name__ == "__main__":
    main()
