"""The commands demo, layers and project."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deconvviz.cli.model_options import loaded, model_arguments
from deconvviz.cli.outputs import Outputs, at_default_name, out_argument, place
from deconvviz.cli.shared import (
    Command,
    bars,
    check_ending,
    image,
    json_argument,
    picture_name,
    report,
    say,
    sigma_argument,
)

if TYPE_CHECKING:
    from torch import Tensor

    from deconvviz.net import DeconvNet
    from deconvviz.results import Projection

# ruff: noqa: PLC0415


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="DIR", help="folder for the pictures and index.html (demo)")


def _demo(args: argparse.Namespace) -> None:
    from deconvviz.demo import build_demo

    out = place(args, "demo")
    if args.out is None and os.path.lexists(out / "index.html"):
        raise at_default_name(out / "index.html")
    print(build_demo(out, progress=bars()))


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


def images_argument(parser: argparse.ArgumentParser) -> None:
    """Add the images that a command takes one by one."""
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="image files, .npy files of an input, or mnist:INDEX for bundled test images",
    )


def image_files(args: argparse.Namespace, rest: str) -> list[Path]:
    """The picture to write for each image: ``--out`` names the file or, of several images, the folder."""
    names = [picture_name(name, rest) for name in args.images]
    if len(set(names)) < len(names):  # images of one name from different folders
        names = [Path(f"{number}-{name}") for number, name in enumerate(names, 1)]
    files = [place(args, ".") / name for name in names] if len(names) > 1 else [place(args, names[0])]
    for file in files:
        check_ending(file)
    return files


def print_each(args: argparse.Namespace, found: Iterable[tuple[str, Sequence[str], dict[str, Any]]]) -> None:
    """Print what is found for each image as soon as it is: its name if there are several, lines, and facts in JSON."""
    from deconvviz.results.base import printable

    facts = []
    for name, lines, one in found:
        facts.append({"image": name, **one})
        if len(args.images) == 1:
            say(args, "\n".join(lines), one)
        elif not args.json:
            print("\n".join(map(printable, (name, *lines))), flush=True)
    if len(args.images) > 1 and args.json:
        say(args, "", {"images": facts})


def rate_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--rate`` to a command that draws signals."""
    parser.add_argument("--rate", type=float, metavar="HZ", help="samples per second of signals, for an axis of time")


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
    rate_argument(parser)
    sigma_argument(parser)
    out_argument(parser, "picture to write, or a folder if there are several images", "IMAGE-LAYER.png", "FILE")
    json_argument(parser)


def _project(args: argparse.Namespace) -> None:
    files = image_files(args, args.layer)
    outputs = Outputs(args, *files)
    net, _ = loaded(args)

    def drawn(name: str, file: Path) -> tuple[str, list[str], dict[str, Any]]:
        trace = net.trace(image(name), args.layer)
        channels = args.channel or _strongest(trace.activations[args.layer], 9)
        position = "max" if args.position is None else args.position
        projection = net.project(trace, args.layer, channel=channels, position=position, seed=args.seed)
        outputs.write_figure(projection.figure(crop=not args.whole, sigma=args.sigma, rate=args.rate), file)
        return (name, *_described(projection, file))

    print_each(args, map(drawn, args.images, files))


def _described(projection: Projection, file: Path) -> tuple[list[str], dict[str, Any]]:
    """What is printed of a projection, as lines and as facts."""
    linearised, detached = projection.provenance.linearised, projection.provenance.detached
    lines = [f"{u.layer} channel {u.channel} at {u.position}: activation {u.activation:.4g}" for u in projection.units]
    lines += [f"linearised: {', '.join(linearised)}"] if linearised else []
    lines += [f"detaches ignored: {', '.join(detached)}"] if detached else []
    facts = {"units": projection.units, "linearised": linearised, "detached": detached, "files": [file]}
    return [*lines, str(file)], facts


def _strongest(activations: Any, count: int) -> list[int]:
    strongest = activations[0].flatten(1).amax(1) if activations.ndim > 2 else activations[0]
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
