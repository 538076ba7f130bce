"""Does a layer relate the same part in different images? Table 1 of Zeiler and Fergus.

    python examples/correspondence.py
    python examples/correspondence.py --network squeezenet --download
    python examples/correspondence.py --network squeezenet --download --photos DIR --parts parts.csv

The parts are the corner and the foot of three sevens or, with photographs, the eyes and noses of a cat and an
astronaut. Two or three images show how the experiment works; they are too few for conclusions about a network.
"""

from __future__ import annotations

import json
from pathlib import Path

from subjects import show, subject

import deconvviz as dv
from deconvviz.data import mnist_test, read_parts

SEVENS = (0, 17, 26)
CORNER_AND_FOOT = {"corner": [(9, 20), (11, 20), (9, 19)], "foot": [(25, 12), (25, 12), (26, 16)]}
FACES = {  # row and column in pixels of the files
    "left eye": {"chelsea.png": [115, 172], "astronaut.png": [104, 204]},
    "right eye": {"chelsea.png": [135, 318], "astronaut.png": [104, 243]},
    "nose": {"chelsea.png": [243, 263], "astronaut.png": [125, 221]},
}


def main(arguments: list[str] | None = None) -> None:
    marked = {
        "metavar": "FILE",
        "help": "CSV or JSON, see docs/experiments.md; photographs it does not name are left out",
    }
    seen, given = subject(__doc__, arguments, draws={"type": int, "default": 20, "help": "(%(default)s)"}, parts=marked)
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    if seen.is_reference:
        images, parts, size = mnist_test()[0][list(SEVENS)], CORNER_AND_FOOT, 7
    else:
        file = Path(given.parts or out / "faces.json")
        if given.parts is None:
            file.write_text(json.dumps(FACES))
        text = file.read_text("utf-8")
        paths = [path for path in seen.images if Path(path).name in text]
        images, parts, size = (
            dv.images.to_input(paths, seen.net.preprocess),
            read_parts(file, paths, preprocess=seen.net.preprocess),
            32,
        )
    layers = None if seen.is_reference else ["features.6.cat", "features.9.cat", "features.12.cat", "output"]
    found = dv.experiments.correspondence(
        seen.net, images, parts, layers=layers, size=size, draws=given.draws, progress=False
    )
    show(found, given, "correspondence")


if __name__ == "__main__":
    main()
