"""The commands labels, read, mixed and circuit: what fires a channel, do pictures tell, and what feeds it?"""

from __future__ import annotations

import argparse
from pathlib import Path

from deconvviz.cli.model_options import loaded, model_arguments
from deconvviz.cli.outputs import Outputs, out_argument, place
from deconvviz.cli.shared import (
    Command,
    check_ending,
    data_arguments,
    dataset,
    json_argument,
    lines_of,
    list_broken,
    picture_name,
    report,
)
from deconvviz.errors import InputError

# ruff: noqa: PLC0415


def _read_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    data_arguments(parser)
    parser.add_argument("--layer", required=True, help="a name that `deconvviz layers MODEL` lists")
    parser.add_argument("--channel", type=int, nargs="+", metavar="C", help="channels (default: all that fire)")
    parser.add_argument(
        "--pictures",
        nargs="+",
        metavar="NAME",
        help="what stands for a channel, by the names in the table (all), or synthetic, which takes long",
    )
    parser.add_argument("--observers", nargs="+", metavar="NAME", help="template, hog (both)")
    parser.add_argument("--questions", type=int, metavar="N", help="questions about a channel (10)")
    parser.add_argument("--batch-size", type=int, metavar="N", help="images per batch (64)")
    parser.add_argument("--page", metavar="FILE", help="also write a page on which you answer 20 of the questions")
    out_argument(parser, "picture to write", "read-LAYER.png", "FILE")
    json_argument(parser)


def _read(args: argparse.Namespace) -> None:
    from deconvviz.reading.reading import reading_test

    out = place(args, picture_name("read", args.layer))
    check_ending(out)
    outputs = Outputs(args, out)
    pages = _pages(args)
    page_outputs = Outputs(args, *pages, named=True)
    net, _ = loaded(args)
    options = {"questions": args.questions, "batch_size": args.batch_size}
    result = reading_test(
        net,
        dataset(args, net),
        args.layer,
        channel=args.channel,
        conditions=args.pictures,
        observers=args.observers,
        **{name: value for name, value in options.items() if value is not None},
    )
    for page in pages:  # first, since a test without questions has none
        page_outputs.check(page)
        result.write_page(page, condition=result.main)
    outputs.write_figure(result.figure(), out)
    report(args, result, out, *pages)


def _mixed_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser, style=False)
    data_arguments(parser)
    parser.add_argument("--layer", required=True, help="a name that `deconvviz layers MODEL` lists")
    parser.add_argument("--channel", type=int, nargs="+", metavar="C", help="channels (default: all that fire)")
    parser.add_argument("--units", type=int, metavar="N", help="strongest units of a channel, at least 24 (40)")
    parser.add_argument("--batch-size", type=int, metavar="N", help="images per batch (64)")
    out_argument(parser, "picture to write", "mixed-LAYER.png", "FILE")
    json_argument(parser)


def _mixed(args: argparse.Namespace) -> None:
    from deconvviz.reading.mixed import mixed_channels

    out = place(args, picture_name("mixed", args.layer))
    check_ending(out)
    outputs = Outputs(args, out)
    net, _ = loaded(args)
    options = {name: value for name in ("units", "batch_size") if (value := getattr(args, name)) is not None}
    data = dataset(args, net)
    result = mixed_channels(net, data, args.layer, channel=args.channel, **options)
    outputs.write_figure(result.figure(), out)
    report(args, result, out)


def _circuit_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    data_arguments(parser)
    parser.add_argument("--layer", required=True, help="a name that `deconvviz layers MODEL` lists")
    parser.add_argument("--channel", type=int, required=True, metavar="C", help="the channel")
    parser.add_argument(
        "--sources", nargs="+", metavar="LAYER", help="layers whose channels count (convolutions and linear layers)"
    )
    parser.add_argument("--feeders", type=int, metavar="N", help="feeders that are kept of each channel (8)")
    parser.add_argument("--depth", type=int, metavar="N", help="layers to go down; 2 finds what feeds the feeders (1)")
    parser.add_argument("--images", dest="count", type=int, metavar="N", help="images that fire the channel most (16)")
    parser.add_argument("--batch-size", type=int, metavar="N", help="images recorded together, at most (16)")
    parser.add_argument("--page", metavar="FILE", help="also write a page on which the circuit can be walked")
    out_argument(parser, "picture to write", "circuit-LAYER-CHANNEL.png", "FILE")
    json_argument(parser)


def _circuit(args: argparse.Namespace) -> None:
    from deconvviz.reading.circuit import circuit

    out = place(args, picture_name("circuit", f"{args.layer}-{args.channel}"))
    check_ending(out)
    outputs = Outputs(args, out)
    pages = _pages(args)
    page_outputs = Outputs(args, *pages, named=True)
    net, _ = loaded(args)
    given = {name: getattr(args, name) for name in ("feeders", "depth", "batch_size")} | {"images": args.count}
    options = {name: value for name, value in given.items() if value is not None}
    data = dataset(args, net)
    result = circuit(net, data, args.layer, channel=args.channel, sources=args.sources, **options)
    for page in pages:
        page_outputs.check(page)
        result.write_page(page)
    outputs.write_figure(result.figure(), out)
    report(args, result, out, *pages)


def _pages(args: argparse.Namespace) -> list[Path]:
    """The page to write, if one is asked for."""
    pages = [Path(args.page)] if args.page else []
    if pages and pages[0].suffix.lower() not in (".html", ".htm"):
        raise InputError(f"a page cannot be written as {pages[0].name!r}; its ending must be .html")
    return pages


def _labels_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser, style=False)
    data_arguments(parser, with_labels=True)
    parser.add_argument("--layer", required=True, help="a name that `deconvviz layers MODEL` lists")
    parser.add_argument("--batch-size", type=int, metavar="N", help="images per batch (64)")
    parser.add_argument("--classes", metavar="FILE", help="names of the labels, one per line (as the dataset has them)")
    out_argument(parser, "picture to write", "labels-LAYER.png", "FILE")
    json_argument(parser)


def _labels(args: argparse.Namespace) -> None:
    from deconvviz.mining.scan import scan

    out = place(args, picture_name("labels", args.layer))
    check_ending(out)
    outputs = Outputs(args, out)
    net, _ = loaded(args)
    options = {"batch_size": args.batch_size, "classes": lines_of(args.classes) if args.classes else None}
    top = scan(
        net,
        dataset(args, net),
        layers=[args.layer],
        **{name: value for name, value in options.items() if value is not None},
    )
    if not top.labels:
        raise InputError(
            f"the images of {args.data!r} have no labels, or text that is not used; give a folder with one folder per "
            f"label, a CSV file with a column label, or a dataset of images with numbers of classes"
        )
    list_broken(top)
    result = top.labels[top.layers[0]]
    outputs.write_figure(result.figure(), out)
    report(args, result, out)


READING = {
    "circuit": Command(
        "find what feeds a channel, with pictures, checked by removing channels", _circuit_arguments, _circuit
    ),
    "labels": Command(
        "find the label that fits each channel, scored on images on which it was not chosen", _labels_arguments, _labels
    ),
    "mixed": Command("find channels that respond to two things, with the pictures of both", _mixed_arguments, _mixed),
    "read": Command(
        "test whether a channel's pictures tell which of two unseen images fires it", _read_arguments, _read
    ),
}
