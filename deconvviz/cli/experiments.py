"""The commands that repeat the experiments of the paper."""

from __future__ import annotations

import argparse
import warnings
from typing import TYPE_CHECKING

from deconvviz.cli.model_options import loaded, model_arguments
from deconvviz.cli.outputs import Outputs, folder, out_argument
from deconvviz.cli.shared import Command, batch, data_arguments, dataset, image_names, json_argument, lines_of, report
from deconvviz.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from deconvviz.results import Finding

# ruff: noqa: PLC0415


def _images_arguments(parser: argparse.ArgumentParser, name: str, style: bool = True) -> None:
    """Add the arguments of all experiments on images: a model, images, and the output folder."""
    model_arguments(parser, style)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, folders of images, or mnist:INDEX")
    out_argument(parser, "folder for the figure and the result", name)
    json_argument(parser)


def folder_outputs(args: argparse.Namespace, name: str) -> Outputs:
    """The figure and the result in the output folder, checked before the work starts."""
    out = folder(args, name)
    return Outputs(args, out / f"{name}.png", out / f"{name}.safetensors")


def write_finding(args: argparse.Namespace, result: Finding, outputs: Outputs) -> None:
    """Write the figure and the result to the output folder; print the table and the verdict."""
    picture, saved = outputs.files
    outputs.write_figure(result.figure(), picture)
    outputs.save(result, saved)
    report(args, result, *outputs.files)


def dataset_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the arguments of all experiments that go through a dataset."""
    data_arguments(parser)
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="layer names; see `deconvviz layers MODEL`")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="images per batch (%(default)s)")
    out_argument(parser, "folder for the figure and the result", name)
    json_argument(parser)


# occlusion


def _occlusion_arguments(parser: argparse.ArgumentParser) -> None:
    _images_arguments(parser, "occlusion")
    parser.add_argument("--target", type=int, metavar="N", help="class (default: each image's most probable class)")
    parser.add_argument("--layer", help="layer of the feature map (default: the last convolution, rectified)")
    parser.add_argument(
        "--channel", type=int, metavar="C", help="channel of the feature map (default: each image's strongest)"
    )
    parser.add_argument(
        "--patch",
        type=int,
        nargs="+",
        metavar="P",
        help="side, or height and width, in pixels (default: a fifth of the image)",
    )
    parser.add_argument(
        "--stride", type=int, nargs="+", metavar="S", help="step in pixels (default: a quarter of the patch)"
    )
    _fill_argument(parser)
    parser.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="covered images per batch (%(default)s)"
    )
    parser.add_argument("--classes", metavar="FILE", help="class names, one per line")


def _fill_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fill", default="grey", help="black, grey, white, mean, blur, or a value of the model's input (%(default)s)"
    )


def _fill(args: argparse.Namespace) -> str | float:
    try:
        return float(args.fill)
    except ValueError:
        return str(args.fill)


def _occlusion(args: argparse.Namespace) -> None:
    from deconvviz.experiments import occlusion

    names = lines_of(args.classes) if args.classes else ()
    outputs = folder_outputs(args, "occlusion")
    net, _ = loaded(args)
    patch, stride = (size[0] if size and len(size) == 1 else size for size in (args.patch, args.stride))
    result = occlusion(
        net,
        batch(args.images, net),
        target=args.target,
        layer=args.layer,
        channel=args.channel,
        patch=patch,
        stride=stride,
        fill=_fill(args),
        batch_size=args.batch_size,
        classes=names,
    )
    write_finding(args, result, outputs)


# invariance


def _invariance_arguments(parser: argparse.ArgumentParser) -> None:
    _images_arguments(parser, "invariance", style=False)
    parser.add_argument(
        "--transform", default="translation", metavar="NAME", help="translation, scale or rotation (%(default)s)"
    )
    parser.add_argument(
        "--values",
        nargs="+",
        type=float,
        metavar="T",
        help="pixels down, factors, or degrees (default: a typical range)",
    )
    parser.add_argument(
        "--layers", nargs="+", metavar="LAYER", help="layers (default: the first and the last hidden layer)"
    )
    parser.add_argument(
        "--target",
        nargs="+",
        type=int,
        metavar="N",
        help="class for all images, or one per image (default: as predicted)",
    )
    parser.add_argument(
        "--fill",
        default="black",
        help="border: black, grey, white, mean, or a value of the model's input (%(default)s)",
    )
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="images per batch (%(default)s)")


def _invariance(args: argparse.Namespace) -> None:
    from deconvviz.experiments import invariance

    outputs = folder_outputs(args, "invariance")
    net, _ = loaded(args)
    x = batch(args.images, net)
    target = args.target[0] if args.target and len(args.target) == 1 else args.target
    options = {name: getattr(args, name) for name in ("layers", "transform", "values", "batch_size")}
    result = invariance(net, x, target=target, fill=_fill(args), **options)
    write_finding(args, result, outputs)


# correspond


def _correspond_arguments(parser: argparse.ArgumentParser) -> None:
    _images_arguments(parser, "correspond", style=False)
    parser.add_argument(
        "--parts", required=True, metavar="FILE", help="CSV or JSON file with the place of each part in each image"
    )
    parser.add_argument(
        "--layers", nargs="+", metavar="NAME", help="layers; see `deconvviz layers MODEL` (default: all with weights)"
    )
    parser.add_argument(
        "--part-size", type=int, nargs="+", metavar="P", help="size in pixels of the patch around a point"
    )
    parser.add_argument(
        "--within", metavar="PART", help="draw random places in the box of this part of FILE (default: the image)"
    )
    parser.add_argument("--draws", type=int, default=20, metavar="N", help="number of random places (%(default)s)")
    parser.add_argument("--random-state", type=int, default=0, metavar="N", help="seed of the places (%(default)s)")
    _fill_argument(parser)


def _correspond(args: argparse.Namespace) -> None:
    from deconvviz.data import read_parts
    from deconvviz.experiments import correspondence

    outputs = folder_outputs(args, "correspond")
    net, _ = loaded(args)
    names = image_names(args.images)
    parts = read_parts(args.parts, names, preprocess=net.preprocess)
    if args.within is not None and args.within not in parts:
        raise InputError(f"{args.parts!r} marks no part {args.within!r}{did_you_mean(args.within, parts)}")
    within = None if args.within is None else parts.pop(args.within)
    size = args.part_size[0] if args.part_size and len(args.part_size) == 1 else args.part_size
    result = correspondence(
        net,
        batch(names, net),
        parts,
        layers=args.layers,
        size=size,
        within=within,
        draws=args.draws,
        random_state=args.random_state,
        fill=_fill(args),
    )
    write_finding(args, result, outputs)


# evolve


def _evolve_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    parser.add_argument("checkpoints", metavar="CHECKPOINTS", help="folder of weights files, as written by `train`")
    dataset_arguments(parser, "evolve")
    parser.add_argument(
        "--channel",
        type=int,
        nargs="+",
        metavar="C",
        help="channels of each layer (default: the six most active at the end)",
    )
    parser.add_argument(
        "--runs",
        nargs="+",
        metavar="DIR",
        default=(),
        help="checkpoints of further training runs; the order of layers has a verdict from three runs in all",
    )


def _evolve(args: argparse.Namespace) -> None:
    from deconvviz.experiments import evolution
    from deconvviz.models.checkpoints import checkpoint_files

    outputs = folder_outputs(args, "evolve")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `evolution` will say what is left out
        files = checkpoint_files(args.checkpoints)
    args.weights = args.weights or files[-1]  # for `mnist`, their metadata describes the architecture
    net, _ = loaded(args)
    data = dataset(args, net)
    options = {name: getattr(args, name) for name in ("layers", "channel", "runs", "batch_size")}
    result = evolution(net, args.checkpoints, data, **options)
    write_finding(args, result, outputs)


# diagnose


def _diagnose_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser, style=False)
    dataset_arguments(parser, "diagnose")
    parser.add_argument(
        "--similar", type=float, default=0.98, help="correlation from which channels are duplicates (%(default)s)"
    )
    parser.add_argument(
        "--outlier", type=float, default=3.0, help="flag filters above this multiple of the median RMS (%(default)s)"
    )
    parser.add_argument(
        "--rms-limit", type=float, metavar="RMS", help="flag filters of the first layer above this RMS (paper: 0.1)"
    )


def _diagnose(args: argparse.Namespace) -> None:
    from deconvviz.experiments import diagnose

    outputs = folder_outputs(args, "diagnose")
    net, _ = loaded(args)
    data = dataset(args, net)
    options = {name: getattr(args, name) for name in ("layers", "similar", "outlier", "rms_limit", "batch_size")}
    write_finding(args, diagnose(net, data, **options), outputs)


# probe


def _probe_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser, style=False)
    data_arguments(parser, with_labels=True)
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="layers (default: all hidden layers)")
    parser.add_argument(
        "--pool",
        type=int,
        default=6,
        metavar="N",
        help="average maps to N positions per axis; 0 for no pooling (%(default)s)",
    )
    parser.add_argument(
        "--folds", type=int, default=5, metavar="N", help="number of cross-validation folds (%(default)s)"
    )
    parser.add_argument(
        "--epochs", type=int, default=20, metavar="N", help="training epochs of the classifiers (%(default)s)"
    )
    parser.add_argument(
        "--random-state", type=int, default=0, metavar="N", help="seed of the folds and the training (%(default)s)"
    )
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="images per batch (%(default)s)")
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="worker processes that load images (%(default)s)"
    )
    parser.add_argument("--classes", metavar="FILE", help="class names, one per line (as the dataset has them)")
    out_argument(parser, "folder for the figure and the result", "probe")
    json_argument(parser)


def _probe(args: argparse.Namespace) -> None:
    from deconvviz.experiments import probe

    outputs = folder_outputs(args, "probe")
    net, _ = loaded(args)
    names = ("layers", "folds", "epochs", "random_state", "batch_size", "workers")
    options = {name: getattr(args, name) for name in names}
    options["classes"] = lines_of(args.classes) if args.classes else ()
    result = probe(net, dataset(args, net), pool=args.pool or None, **options)
    write_finding(args, result, outputs)


# uncertainty


def _uncertainty_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser, style=False)
    data_arguments(parser, with_labels=True)
    parser.add_argument(
        "--samples", type=int, default=50, metavar="N", help="draws with dropout for each image (%(default)s)"
    )
    parser.add_argument("--random-state", type=int, default=0, metavar="N", help="seed of the draws (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="images per batch (%(default)s)")
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="worker processes that load images (%(default)s)"
    )
    out_argument(parser, "folder for the figure and the result", "uncertainty")
    json_argument(parser)


def _uncertainty(args: argparse.Namespace) -> None:
    from deconvviz.experiments import uncertainty

    outputs = folder_outputs(args, "uncertainty")
    net, _ = loaded(args)
    names = ("samples", "random_state", "batch_size", "workers")
    options = {name: getattr(args, name) for name in names}
    result = uncertainty(net, dataset(args, net), **options)
    write_finding(args, result, outputs)


EXPERIMENTS: dict[str, Command] = {
    "occlusion": Command(
        "slide a patch over images and measure a feature map and a class probability", _occlusion_arguments, _occlusion
    ),
    "invariance": Command(
        "measure how layers and class probabilities change when images are shifted, scaled or rotated",
        _invariance_arguments,
        _invariance,
    ),
    "evolve": Command("show how features develop over the checkpoints of a training run", _evolve_arguments, _evolve),
    "correspond": Command("test whether layers relate the same part across images", _correspond_arguments, _correspond),
    "diagnose": Command("find problems with filters and channels", _diagnose_arguments, _diagnose),
    "probe": Command(
        "measure how well each layer's features predict the class, with linear classifiers", _probe_arguments, _probe
    ),
    "uncertainty": Command(
        "measure whether dropout left on tells wrong answers from right ones, beside the plain softmax",
        _uncertainty_arguments,
        _uncertainty,
    ),
}
