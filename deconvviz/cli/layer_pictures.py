"""The commands filters, activations and reconstruct: what there is to see of a layer."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deconvviz.cli.given_images import calls, image_files, images_argument, print_each
from deconvviz.cli.model_options import loaded, model_arguments
from deconvviz.cli.outputs import Outputs, out_argument, place
from deconvviz.cli.pictures import zeros_for
from deconvviz.cli.shared import Command, check_ending, json_argument, picture_name, say
from deconvviz.errors import InputError, UnknownLayerError

if TYPE_CHECKING:
    from deconvviz.net import DeconvNet
    from deconvviz.results import Filters

# ruff: noqa: PLC0415

ImageReport = tuple[str, list[str], dict[str, Any]]  # an image, the lines that are printed of it, and the facts


def _figure_arguments(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--layer", required=True, help="a name that `deconvviz layers MODEL` lists")
    parser.add_argument("--channel", type=int, nargs="+", metavar="C", help="channels (default: the first 64)")
    parser.add_argument(
        "--scale", choices=("shared", "each"), default="shared", help=f"one scale, or one for each {what} (%(default)s)"
    )
    parser.add_argument("--order", choices=("number", "strength"), default="number", help="(%(default)s)")
    parser.add_argument("--most", type=int, default=64, metavar="N", help=f"show at most N {what}s (%(default)s)")


def _figure_options(args: argparse.Namespace) -> dict[str, Any]:
    return {"channel": args.channel, "scale": args.scale, "order": args.order, "most": args.most}


def _filters_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser, style=False)
    _figure_arguments(parser, "filter")
    parser.add_argument(
        "--planes",
        type=int,
        metavar="N",
        help="input channels shown of each filter, strongest first (three as colours, all up to 16, or 9)",
    )
    out_argument(parser, "picture to write", "filters-LAYER.png", "FILE")
    json_argument(parser)


def _filters(args: argparse.Namespace) -> None:
    out = place(args, picture_name("filters", args.layer))
    check_ending(out)
    outputs = Outputs(args, out)
    net, shape = loaded(args, takes_images=False)
    filters = _filters_of(net, args.layer, shape)
    figure = filters.figure(planes=args.planes, **_figure_options(args))
    outputs.write_figure(figure, out)
    said = figure.axes[0].get_title().partition("\n")[0]
    say(args, f"{said}\n{out}", {**filters.as_json(), "files": [out]})


def _filters_of(net: DeconvNet, layer: str, shape: tuple[int, ...]) -> Filters:
    """The filters of a layer, if need be as a run shows them."""
    try:
        return net.filters(layer)
    except (InputError, UnknownLayerError):
        return net.filters(layer, trace=net.trace(zeros_for(net, shape), layer))


def _activations_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser, style=False)
    images_argument(parser)
    _figure_arguments(parser, "map")
    out_argument(parser, "picture to write, or a folder if there are several images", "IMAGE-LAYER-maps.png", "FILE")
    json_argument(parser)


def _activations(args: argparse.Namespace) -> None:
    files = image_files(args, f"{args.layer}-maps")
    outputs = Outputs(args, *files)
    net, _ = loaded(args)

    def drawn(call: tuple[str, Any], file: Path) -> ImageReport:
        name, inputs = call
        maps = net.activations(inputs, args.layer)
        figure = maps.figure(**_figure_options(args))
        outputs.write_figure(figure, file)
        said = figure.axes[0].get_title().partition("\n")[0]
        return name, [said, str(file)], {**maps.as_json(), "files": [file]}

    print_each(args, map(drawn, calls(args, net), files))


def _reconstruct_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    images_argument(parser)
    parser.add_argument("--layers", nargs="+", required=True, metavar="LAYER", help="layers, one column for each")
    out_argument(
        parser, "picture to write, or a folder if there are several images", "IMAGE-LAYERS-reconstructed.png", "FILE"
    )
    json_argument(parser)


def _reconstruct(args: argparse.Namespace) -> None:
    from deconvviz.figures import reconstruction_strip

    files = image_files(args, f"{'-'.join(args.layers)}-reconstructed")
    outputs = Outputs(args, *files)
    net, _ = loaded(args)

    def drawn(call: tuple[str, Any], file: Path) -> ImageReport:
        name, inputs = call
        trace = net.trace(inputs, args.layers)
        results = [net.reconstruct(trace, layer) for layer in dict.fromkeys(args.layers)]
        outputs.write_figure(reconstruction_strip(results), file)
        linearised = {one.provenance.layer: one.provenance.linearised for one in results}
        lines = [f"{layer}: linearised: {', '.join(names)}" for layer, names in linearised.items() if names]
        return name, [*lines, str(file)], {"linearised": linearised, "files": [file]}

    print_each(args, map(drawn, calls(args, net), files))


LAYER_PICTURES = {
    "filters": Command("draw the filters of a layer", _filters_arguments, _filters),
    "activations": Command("draw the feature maps of a layer on an image", _activations_arguments, _activations),
    "reconstruct": Command(
        "reconstruct an image from all activations of a layer", _reconstruct_arguments, _reconstruct
    ),
}
