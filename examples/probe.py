"""How well do linear classifiers on each layer's features predict the class? Table 7 of Zeiler and Fergus.

    python examples/probe.py
    python examples/probe.py --network squeezenet --download --photos DIR

SqueezeNet needs labelled photographs: a folder with one sub-folder per class.
"""

from __future__ import annotations

from subjects import show, subject

import deconvviz as dv


def main(arguments: list[str] | None = None) -> None:
    seen, given = subject(__doc__, arguments, digits=500)
    if seen.labelled is None:
        raise SystemExit("give --photos DIR, a folder with a sub-folder of photographs for each kind")
    layers = None if seen.is_reference else ["features.1", "features.4.cat", "features.7.cat", "features.12.cat"]
    found = dv.experiments.probe(seen.net, seen.labelled, layers=layers, pool=4, progress=False)
    show(found, given, "probe")


if __name__ == "__main__":
    main()
