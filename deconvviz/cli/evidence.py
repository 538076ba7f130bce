"""The commands evidence and compare, which judge pictures."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any

from deconvviz.cli.model_options import loaded, model_arguments
from deconvviz.cli.outputs import Outputs, folder, out_argument, place
from deconvviz.cli.shared import (
    Command,
    batch,
    check_ending,
    evenly_spaced,
    image,
    image_names,
    json_argument,
    picture_name,
    remark,
    report,
    say,
)
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
    parser.add_argument(
        "--scores",
        nargs="+",
        metavar="NAME",
        help="scores to compute: deletion and insertion (the default), infidelity, sensitivity, or all",
    )
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
        image(args.image, net),
        target=args.target,
        layer=args.layer,
        channel=args.channel,
        position=position,
        methods=args.methods,
        scores=args.scores,
    )
    outputs.write_figure(result.figure(), out)
    report(args, result, out)


BENCHMARKS = ("selectivity", "leak", "deletion", "localisation", "clarity", "randomisation")  # from quick to slow
QUICK_BENCHMARKS = BENCHMARKS[:4]
OF_METHODS = ("selectivity", "deletion", "localisation", "randomisation")  # that judge several styles
FEW = 8  # images of a folder: the fewest with a verdict


def _evidence_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="image files, folders of images, or mnist:INDEX; a verdict needs 8 images or more",
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
        choices=(*BENCHMARKS, "all"),
        help=f"any of {', '.join(BENCHMARKS)}, or all (default: {', '.join(QUICK_BENCHMARKS)}; "
        "localisation is a benchmark for the model mnist only)",
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="NAME",
        help=f"styles that {', '.join(OF_METHODS)} judge, or all (default: that of --style)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help=f"use N images of the folders, evenly spaced ({FEW})")
    out_argument(parser, "folder for figures and results", "evidence")
    json_argument(parser)


def _evidence(args: argparse.Namespace) -> None:
    if args.model != "mnist" and "localisation" in (args.measures or ()):
        raise InputError(
            "localisation needs to know where the object is: on the command line it is the benchmark of the model "
            "mnist; for others call deconvviz.evidence.localisation with boxes"
        )
    wanted = _wanted(args)
    _check_used(args, wanted)
    methods = _methods(args)
    out = folder(args, "evidence")
    outputs = Outputs(args, *(out / f"{name}{ending}" for name in wanted for ending in (".png", ".safetensors")))
    names, left_out = _images(args)
    left_out += _judged_no_further(args, wanted, methods)
    net, _ = loaded(args)
    questions = _questions(args, net, _without_copies(batch(names, net)), methods)
    facts: dict[str, Any] = {}
    for name in wanted:
        result = questions[name]()
        files = out / f"{name}.png", out / f"{name}.safetensors"
        outputs.write_figure(result.figure(), files[0])
        outputs.save(result, files[1])
        facts[name] = {**result.as_json(), "files": files}
        if not args.json:
            print(f"{name}\n{result}\n", flush=True)  # each measure takes a while
    said = f"Left out, to be quick: {'; '.join(left_out)}.\n" if left_out else ""
    say(args, f"{said}{out}", facts | ({"left out": left_out} if left_out else {}))


def _without_copies(x: Any) -> Any:
    """The images (N, ...) without copies of an image, which would pass for other images."""
    from deconvviz.results.words import agreeing, counted

    firsts: dict[bytes, int] = {}
    for number, one in enumerate(x):
        firsts.setdefault(one.cpu().double().numpy().tobytes(), number)
    copies = len(x) - len(firsts)
    if not copies:
        return x
    are = agreeing(copies, "is a copy of another one and is", "are copies of others and are")
    remark(f"note: {counted(copies, 'image')} {are} left out")
    return x[list(firsts.values())]


def _questions(args: argparse.Namespace, net: Any, x: Any, methods: list[str]) -> dict[str, Callable[[], Any]]:
    """What each measure runs."""
    from deconvviz import evidence

    layer = args.layer or "output"
    unit: dict[str, Any] = {"channel": args.channel, "position": "max" if args.position is None else args.position}

    def benchmark() -> Any:
        bench = evidence.digit_benchmark()
        return evidence.localisation(
            bench.net, bench.images, bench.boxes, channel=bench.labels.tolist(), methods=methods
        )

    return {
        "deletion": lambda: evidence.deletion(net, x, layer, **unit, methods=methods),
        "randomisation": lambda: evidence.randomisation(net, x, layer, **unit, methods=methods),
        "selectivity": lambda: evidence.selectivity(net, x, layer, methods=methods),
        "leak": lambda: evidence.leak(net, x, layer, **unit),
        "localisation": benchmark,
        "clarity": lambda: evidence.clarity(net, x),
    }


def _wanted(args: argparse.Namespace) -> list[str]:
    """The measures to take, quick ones first; without any named the usual ones."""
    asked = args.measures or QUICK_BENCHMARKS
    known = [name for name in BENCHMARKS if name != "localisation" or args.model == "mnist"]
    return known if "all" in asked else [name for name in known if name in asked]


def _methods(args: argparse.Namespace) -> list[str]:
    """The names of the styles that are judged."""
    from deconvviz.evidence.methods import METHODS

    return list(METHODS) if "all" in (args.methods or ()) else args.methods or [args.style]


def _images(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The images to use, of folders not more than the limit, and what of them is left out."""
    folders = [name for name in args.images if os.path.isdir(name)]
    if args.limit is not None and not folders:
        raise InputError("--limit is for folders of images, and none is given; leave it out")
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit is a number of images from 1, not {args.limit}")
    every = image_names(folders)
    used = evenly_spaced(every, args.limit or FEW) if every else []
    left_out = (
        [f"{len(every) - len(used)} of {len(every)} images (--limit {len(every)})"] if len(used) < len(every) else []
    )
    return [*image_names([name for name in args.images if name not in folders]), *used], left_out


def _judged_no_further(args: argparse.Namespace, wanted: Sequence[str], methods: Sequence[str]) -> list[str]:
    """What a command without options does not judge."""
    from deconvviz.evidence.methods import METHODS

    others = [name for name in METHODS if name not in methods]
    said = []
    if args.methods is None and set(wanted) & set(OF_METHODS) and args.style in METHODS:
        said.append(f"{' and '.join(others)} pictures (--methods all)")
    all_measures = [name for name in BENCHMARKS if name != "localisation" or args.model == "mnist"]
    missing = [name for name in all_measures if name not in wanted]
    if args.measures is None and missing:
        said.append(f"{' and '.join(missing)} (--measures all)")
    return said


def _check_used(args: argparse.Namespace, wanted: Sequence[str]) -> None:
    """Raise InputError for options that none of the requested measures uses."""
    of_a_unit = ("deletion", "randomisation", "leak")
    users = {"layer": (*of_a_unit, "selectivity"), "channel": of_a_unit, "position": of_a_unit, "methods": OF_METHODS}
    for name, measures in users.items():
        if getattr(args, name) is not None and not set(measures) & set(wanted):
            raise InputError(f"--{name} is for {', '.join(measures)}, not for {', '.join(wanted)}; leave it out")


EVIDENCE = {
    "evidence": Command("measure whether you can trust the pictures", _evidence_arguments, _evidence),
    "compare": Command(
        "compare deconvviz and Captum's methods on one class or unit, side by side", _compare_arguments, _compare
    ),
}
