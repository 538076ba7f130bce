"""The command diff: two checkpoints or models, channel by channel."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deconvviz.cli.model_options import loaded, model_arguments
from deconvviz.cli.outputs import Outputs, out_argument, place
from deconvviz.cli.shared import Command, check_ending, data_arguments, dataset, json_argument, picture_name, report
from deconvviz.errors import InputError

if TYPE_CHECKING:
    from deconvviz.net import DeconvNet

# ruff: noqa: PLC0415


def _diff_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser, weights=False)
    data_arguments(parser)
    parser.add_argument(
        "--weights",
        nargs="+",
        metavar="FILE",
        help="weights of the first and of the second network; one file is compared with the model as it comes",
    )
    parser.add_argument("--other", metavar="MODEL", help="the second network, if it is another model than the first")
    parser.add_argument(
        "--layers",
        nargs="+",
        metavar="NAME[=NAME]",
        help="layers of both, or NAME=NAME for a layer of each (convolutions and linear layers that both have)",
    )
    parser.add_argument("--pictures", type=int, metavar="N", help="pairs of a layer that are shown in pages (64)")
    parser.add_argument("--batch-size", type=int, metavar="N", help="images per batch (64)")
    parser.add_argument("--pages", metavar="DIR", help="also write pages that show both channels of each pair")
    out_argument(parser, "picture to write", "diff-MODEL.png", "FILE")
    json_argument(parser)


def _diff(args: argparse.Namespace) -> None:
    from deconvviz.pairs.diff import diff

    layers = layers_given(args.layers)
    out = place(args, picture_name("diff", Path(args.model).name))
    check_ending(out)
    outputs = Outputs(args, out)
    net, other, names = _networks(args)
    data = dataset(args, net)
    options = {name: value for name in ("pictures", "batch_size") if (value := getattr(args, name)) is not None}
    found = diff(net, other, data, layers=layers, **options)
    result = found.renamed(*names)
    pages = []
    if args.pages:
        from deconvviz.figures.network_diff_pages import page_names

        written = Outputs(args, *(Path(args.pages) / name for name in ("index.html", *page_names(result))), named=True)
        pages = [result.write_pages(args.pages)] if written.files else []
    outputs.write_figure(result.figure(), out)
    report(args, result, out, *pages)


def layers_given(given: list[str] | None) -> list[str] | dict[str, str] | None:
    """Layers of both networks, or a mapping from those of the first to those of the second.

    >>> layers_given(["conv1", "conv2"]), layers_given(["conv1", "features.0=conv2"])
    (['conv1', 'conv2'], {'conv1': 'conv1', 'features.0': 'conv2'})
    """
    if given is None or not any("=" in name for name in given):
        return given
    parts = [name.partition("=") for name in given]
    return {first: second or first for first, _, second in parts}


def _networks(args: argparse.Namespace) -> tuple[DeconvNet, DeconvNet, tuple[str, str]]:
    """Both networks, and what they are called."""
    files, models = args.weights or [], (args.model, args.other or args.model)
    if len(files) > 2:
        raise InputError(f"--weights takes the files of two networks, not {len(files)}")
    if not files and not args.other:
        raise InputError("there is one network; give the weights of two with --weights A B, or a second with --other")
    weights = (None, *files) if len(files) < 2 else tuple(files)
    weights = weights if files else (None, None)
    nets = [
        loaded(argparse.Namespace(**{**vars(args), "model": model, "weights": file}))[0]
        for model, file in zip(models, weights, strict=True)
    ]
    names = [file or model for model, file in zip(models, weights, strict=True)]
    return nets[0], nets[1], (names[0], names[1])


DIFF = {"diff": Command("compare two checkpoints or models channel by channel", _diff_arguments, _diff)}
