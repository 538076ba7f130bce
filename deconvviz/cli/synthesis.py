"""The command synthesize: pictures that excite channels most."""

from __future__ import annotations

import argparse

from deconvviz.cli.model_options import loaded, model_arguments
from deconvviz.cli.outputs import Outputs, out_argument, place
from deconvviz.cli.shared import Command, check_ending, json_argument, picture_name, report

# ruff: noqa: PLC0415


def _synthesize_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser, style=False)
    parser.add_argument("--layer", required=True, help="a name that `deconvviz layers MODEL` lists")
    parser.add_argument("--channel", type=int, nargs="+", metavar="C", help="channels (default: all)")
    parser.add_argument(
        "--position", type=int, nargs="+", metavar="I", help="excite one unit, by its index into the feature map"
    )
    parser.add_argument("--variants", type=int, default=1, metavar="N", help="pictures per channel (%(default)s)")
    parser.add_argument("--steps", type=int, metavar="N", help="steps of gradient ascent (128)")
    parser.add_argument(
        "--top", metavar="FILE", help="result of `deconvviz scan` over this layer, to compare the activations with"
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="pictures per batch (as many as memory allows)")
    parser.add_argument(
        "--random-state", type=int, default=0, metavar="N", help="seed of the random numbers (%(default)s)"
    )
    out_argument(parser, "picture to write", "synthesize-LAYER.png", "FILE")
    json_argument(parser)


def _synthesize(args: argparse.Namespace) -> None:
    from deconvviz.results import TopActivations
    from deconvviz.synthesis.synthesis import synthesize

    out = place(args, picture_name("synthesize", args.layer))
    check_ending(out)
    outputs = Outputs(args, out)
    net, shape = loaded(args)
    top = TopActivations.load(args.top) if args.top else None
    options = {name: value for name in ("steps", "batch_size") if (value := getattr(args, name)) is not None}
    result = synthesize(
        net,
        args.layer,
        channel=args.channel,
        position="all" if args.position is None else args.position,
        size=shape[1:],
        variants=args.variants,
        top=top,
        random_state=args.random_state,
        **options,
    )
    outputs.write_figure(result.figure(), out)
    report(args, result, out)


SYNTHESIS = {
    "synthesize": Command("draw pictures that excite channels most, from noise", _synthesize_arguments, _synthesize)
}
