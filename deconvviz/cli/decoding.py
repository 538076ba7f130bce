"""The command decode: how much of the image is left in each layer."""

from __future__ import annotations

import argparse

from deconvviz.cli.experiments import dataset_arguments, folder_outputs, write_finding
from deconvviz.cli.model_options import loaded, model_arguments
from deconvviz.cli.shared import Command, dataset

# ruff: noqa: PLC0415


def _decode_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser, style=False)
    dataset_arguments(parser, "decode")
    parser.add_argument(
        "--images", dest="count", type=int, default=1000, metavar="N", help="images, at random (%(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="draws of random weights (%(default)s)")
    parser.add_argument(
        "--random-state", type=int, default=0, metavar="N", help="seed of the images and the weights (%(default)s)"
    )


def _decode(args: argparse.Namespace) -> None:
    from deconvviz.experiments import decoding

    outputs = folder_outputs(args, "decode")
    net, _ = loaded(args)
    names = ("layers", "seeds", "random_state", "batch_size")
    options = {name: getattr(args, name) for name in names} | {"images": args.count}
    write_finding(args, decoding(net, dataset(args, net), **options), outputs)


DECODING = {
    "decode": Command(
        "measure how much of the image a linear decoder recovers from each layer", _decode_arguments, _decode
    )
}
