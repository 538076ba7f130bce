"""The commands that judge pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from deconvviz.cli_shared import Command, image, loaded, model_arguments, write_figure

# ruff: noqa: PLC0415


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser, style=False)
    parser.add_argument("image", metavar="IMAGE", help="an image file, or mnist:INDEX for a bundled test image")
    parser.add_argument("--target", type=int, metavar="N", help="the class (the strongest)")
    parser.add_argument("--layer", help="in place of a class, a unit of this layer: see `deconvviz layers MODEL`")
    parser.add_argument("--channel", type=int, metavar="C", help="its channel (the strongest)")
    parser.add_argument("--position", type=int, nargs="+", metavar="I", help="index into the map (its strongest)")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="some of the methods, as the table names them")
    parser.add_argument("--out", metavar="FILE", help="the picture to write (IMAGE-compared.png)")


def _compare(given: argparse.Namespace) -> None:
    from deconvviz.comparison import compare

    net, _ = loaded(given)
    out = Path(given.out or f"{Path(given.image.replace(':', '-')).stem}-compared.png")
    position = "max" if given.position is None else given.position
    found = compare(net, image(given.image), given.target, given.layer, given.channel, position, given.methods)
    write_figure(found.figure(), out)
    print(found)
    print(out)


EVIDENCE = {
    "compare": Command(
        "deconvviz and Captum's methods on a class or a unit, side by side", _compare_arguments, _compare
    )
}
