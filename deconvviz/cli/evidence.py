"""The commands evidence and compare, which judge pictures."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from deconvviz.cli.model_options import loaded, model_arguments
from deconvviz.cli.outputs import Outputs, out_argument, place
from deconvviz.cli.shared import Command, batch, check_ending, image, json_argument, picture_name, report, say
from deconvviz.errors import InputError

# ruff: noqa: PLC0415


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser, style=False)
    parser.add_argument("image", metavar="IMAGE", help="an image file, or mnist:INDEX for a bundled test image")
    parser.add_argument("--target", type=int, metavar="N", help="class (default: the class with the highest score)")
    parser.add_argument("--layer", help="use a unit of this layer instead of a class; see `deconvviz layers MODEL`")
    parser.add_argument("--channel", type=int, metavar="C", help="channel of the unit (default: the most active)")
    parser.add_argument(
        "--position", type=int, nargs="+", metavar="I", help="index into the feature map (default: the maximum)"
    )
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="only these methods, by their names in the table")
    out_argument(parser, "picture to write", "IMAGE-compared.png", "FILE")
    json_argument(parser)


def _compare(args: argparse.Namespace) -> None:
    from deconvviz.captum.comparison import compare

    out = place(args, picture_name(args.image, "compared"))
    check_ending(out)
    outputs = Outputs(args, out)
    net, _ = loaded(args)
    position = "max" if args.position is None else args.position
    result = compare(
        net,
        image(args.image),
        target=args.target,
        layer=args.layer,
        channel=args.channel,
        position=position,
        methods=args.methods,
    )
    outputs.write_figure(result.figure(), out)
    report(args, result, out)


BENCHMARKS = ("deletion", "randomisation", "selectivity", "leak", "localisation", "clarity")


def _evidence_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="image files, folders of images, or mnist:INDEX; confidence intervals need several images",
    )
    parser.add_argument("--layer", help="a name that `deconvviz layers MODEL` lists (output)")
    parser.add_argument(
        "--channel", type=int, metavar="C", help="channel for all images (default: each image's most active)"
    )
    parser.add_argument(
        "--position", type=int, nargs="+", metavar="I", help="index into the feature map (default: the maximum)"
    )
    parser.add_argument(
        "--measures",
        nargs="+",
        metavar="NAME",
        choices=BENCHMARKS,
        help=f"any of {', '.join(BENCHMARKS)} (default: all; localisation is a benchmark for the model mnist only)",
    )
    out_argument(parser, "folder for figures and results", "evidence")
    json_argument(parser)


def _evidence(args: argparse.Namespace) -> None:
    from deconvviz import evidence

    if args.model != "mnist" and "localisation" in (args.measures or ()):
        raise InputError(
            "localisation needs to know where the object is: on the command line it is the benchmark of the model "
            "mnist; for others call deconvviz.evidence.localisation with boxes"
        )
    wanted = args.measures or [name for name in BENCHMARKS if name != "localisation" or args.model == "mnist"]
    _check_used(args, wanted)
    out = place(args, "evidence")
    outputs = Outputs(args, *(out / f"{name}{ending}" for name in wanted for ending in (".png", ".safetensors")))
    net, _ = loaded(args)
    x = batch(args.images, net)
    layer = args.layer or "output"
    unit: dict[str, Any] = {"channel": args.channel, "position": "max" if args.position is None else args.position}

    def benchmark() -> Any:
        bench = evidence.digit_benchmark()
        return evidence.localisation(bench.net, bench.images, bench.boxes, channel=bench.labels.tolist())

    questions: dict[str, Callable[[], Any]] = {
        "deletion": lambda: evidence.deletion(net, x, layer, **unit),
        "randomisation": lambda: evidence.randomisation(net, x, layer, **unit),
        "selectivity": lambda: evidence.selectivity(net, x, layer),
        "leak": lambda: evidence.leak(net, x, layer, **unit),
        "localisation": benchmark,
        "clarity": lambda: evidence.clarity(net, x),
    }
    facts: dict[str, Any] = {}
    for name in wanted:
        result = questions[name]()
        files = out / f"{name}.png", out / f"{name}.safetensors"
        outputs.write_figure(result.figure(), files[0])
        outputs.save(result, files[1])
        facts[name] = {**result.as_json(), "files": files}
        if not args.json:
            print(f"{name}\n{result}\n", flush=True)  # each measure takes a while
    say(args, out, facts)


def _check_used(args: argparse.Namespace, wanted: Sequence[str]) -> None:
    """Raise InputError for options that choose a unit if none of the requested measures uses them."""
    of_a_unit = ("deletion", "randomisation", "leak")
    users = {"layer": (*of_a_unit, "selectivity"), "channel": of_a_unit, "position": of_a_unit}
    for name, measures in users.items():
        if getattr(args, name) is not None and not set(measures) & set(wanted):
            raise InputError(f"--{name} is for {', '.join(measures)}, not for {', '.join(wanted)}; leave it out")


EVIDENCE = {
    "evidence": Command("measure whether you can trust the pictures", _evidence_arguments, _evidence),
    "compare": Command(
        "compare deconvviz and Captum's methods on one class or unit, side by side", _compare_arguments, _compare
    ),
}
