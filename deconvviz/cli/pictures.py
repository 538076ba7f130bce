"""The commands demo, layers and project."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deconvviz.cli.given_images import calls, image_files, images_argument, print_each
from deconvviz.cli.model_options import loaded, model_arguments
from deconvviz.cli.outputs import Outputs, at_default_name, folder, out_argument
from deconvviz.cli.shared import Command, drawing_arguments, json_argument, report

if TYPE_CHECKING:
    from torch import Tensor

    from deconvviz.net import DeconvNet
    from deconvviz.results import Projection

# ruff: noqa: PLC0415


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="DIR", help="folder for the pictures and index.html (demo)")


def _demo(args: argparse.Namespace) -> None:
    from deconvviz.demo import build_demo

    out = folder(args, "demo")
    if args.out is None and os.path.lexists(out / "index.html"):
        raise at_default_name(out / "index.html")
    print(build_demo(out))


def _layers_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    json_argument(parser)


def _layers(args: argparse.Namespace) -> None:
    net, shape = loaded(args, takes_images=False)
    report(args, net.layers(zeros_for(net, shape)))


def zeros_for(net: DeconvNet, shape: Sequence[int]) -> Tensor:
    """An input of zeros, in the type and on the device of the model."""
    import torch

    return next(net.model.parameters(), torch.zeros(0)).new_zeros(1, *shape)


def _project_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    images_argument(parser)
    parser.add_argument("--layer", required=True, help="a name that `deconvviz layers MODEL` lists")
    parser.add_argument("--channel", type=int, nargs="+", metavar="C", help="channels (default: the nine most active)")
    parser.add_argument(
        "--position", type=int, nargs="+", metavar="I", help="index into the feature map (default: the maximum)"
    )
    parser.add_argument("--seed", default="activation", help="activation or one (%(default)s)")
    parser.add_argument("--whole", action="store_true", help="show whole images instead of receptive fields")
    drawing_arguments(parser, "whole images")
    out_argument(parser, "picture to write, or a folder if there are several images", "IMAGE-LAYER.png", "FILE")
    json_argument(parser)


def _project(args: argparse.Namespace) -> None:
    files = image_files(args, args.layer)
    outputs = Outputs(args, *files)
    net, _ = loaded(args)

    def drawn(call: tuple[str, Any], file: Path) -> tuple[str, list[str], dict[str, Any]]:
        name, inputs = call
        trace = net.trace(inputs, args.layer)
        channels = args.channel or _strongest(trace.activations[args.layer], 9)
        position = "max" if args.position is None else args.position
        projection = net.project(trace, args.layer, channel=channels, position=position, seed=args.seed)
        outputs.write_figure(_figure(projection, args), file)
        return (name, *_described(projection, file))

    print_each(args, map(drawn, calls(args, net), files))


def _figure(projection: Projection, args: argparse.Namespace) -> Any:
    if args.overlay is None:
        return projection.figure(crop=not args.whole, sigma=args.sigma or 0.0, rate=args.rate)
    return projection.overlay(args.overlay, sigma=args.sigma, rate=args.rate)


def _described(projection: Projection, file: Path) -> tuple[list[str], dict[str, Any]]:
    """What is printed of a projection, as lines and as facts."""
    from deconvviz.results.words import in_digits

    linearised, detached = projection.provenance.linearised, projection.provenance.detached
    lines = [
        f"{u.layer} channel {u.channel} at {u.position}: activation {in_digits(u.activation, 4)}"
        for u in projection.units
    ]
    lines += [f"linearised: {', '.join(linearised)}"] if linearised else []
    lines += [f"detaches ignored: {', '.join(detached)}"] if detached else []
    facts = {"units": projection.units, "linearised": linearised, "detached": detached, "files": [file]}
    return [*lines, str(file)], facts


def _strongest(activations: Any, count: int) -> list[int]:
    """The channels, along axis 1, whose maximum over everything else is highest."""
    strongest = activations.movedim(1, 0).flatten(1).amax(1)
    return sorted(strongest.topk(min(count, len(strongest))).indices.tolist())


PICTURES = {
    "demo": Command(
        "build a page that shows what the bundled network sees in the bundled digits", _demo_arguments, _demo
    ),
    "layers": Command(
        "list the layers of a model: shapes, strides, receptive fields, linearised operations",
        _layers_arguments,
        _layers,
    ),
    "project": Command("draw what in an image activates units of a layer", _project_arguments, _project),
}
