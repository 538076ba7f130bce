"""The commands that repeat the experiments of the paper."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from deconvviz.cli.outputs import Outputs, out_argument, place
from deconvviz.cli.shared import (
    Command,
    bars,
    batch,
    image_names,
    json_argument,
    list_broken,
    loaded,
    model_arguments,
    report,
)
from deconvviz.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from deconvviz.results import Finding

# ruff: noqa: PLC0415


def _images_arguments(parser: argparse.ArgumentParser, name: str, style: bool = True) -> None:
    """What all of them take: a model, images, and the folder to write to."""
    model_arguments(parser, style)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, folders of them, or mnist:INDEX")
    out_argument(parser, "folder for the figure and the result", name)
    json_argument(parser)


def _outputs(given: argparse.Namespace, name: str) -> Outputs:
    """The figure and the result in the folder, checked before minutes of work."""
    folder = place(given, name)
    return Outputs(given, folder / f"{name}.png", folder / f"{name}.safetensors")


def _write(given: argparse.Namespace, found: Finding, outputs: Outputs) -> None:
    """The figure and the result into the folder, the table and the verdict printed."""
    figure, result = outputs.files
    outputs.write_figure(found.figure(), figure)
    outputs.save(found, result)
    report(given, found, *outputs.files)


def _dataset_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """For the experiments that go through a dataset."""
    parser.add_argument("data", metavar="DATA", help="mnist, a folder of images, or torchvision:NAME with --root")
    parser.add_argument("--root", metavar="DIR", help="where a torchvision dataset lies")
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="names that `deconvviz layers MODEL` lists")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="(%(default)s)")
    out_argument(parser, "folder for the figure and the result", name)
    json_argument(parser)


# occlusion


def _occlusion_arguments(parser: argparse.ArgumentParser) -> None:
    _images_arguments(parser, "occlusion")
    parser.add_argument("--target", type=int, metavar="N", help="the class to follow (each image's most probable one)")
    parser.add_argument("--layer", help="whose feature map to follow (the last convolution, rectified)")
    parser.add_argument("--channel", type=int, metavar="C", help="the map (the strongest of each image)")
    parser.add_argument("--patch", type=int, nargs="+", metavar="P", help="pixels: side, or height and width (a fifth)")
    parser.add_argument("--stride", type=int, nargs="+", metavar="S", help="pixels (a quarter of the patch)")
    _fill_argument(parser)
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="covered images at once (%(default)s)")
    parser.add_argument("--classes", metavar="FILE", help="names of the classes, one on a line")


def _fill_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fill", default="grey", help="black, grey, white, mean, blur, or a number in the model's input (%(default)s)"
    )


def _fill(given: argparse.Namespace) -> str | float:
    try:
        return float(given.fill)
    except ValueError:
        return str(given.fill)


def _lines(path: str) -> list[str]:
    from deconvviz.io.atomic import may_hang

    if may_hang(path):
        raise InputError(f"{path!r} cannot be read as text: it is a device, pipe or socket")
    try:
        return Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path!r} cannot be read as text: {getattr(error, 'strerror', None) or error}") from error


def _occlusion(given: argparse.Namespace) -> None:
    from deconvviz.experiments import occlusion

    names = _lines(given.classes) if given.classes else ()
    outputs = _outputs(given, "occlusion")
    net, _ = loaded(given)
    patch, stride = (one[0] if one and len(one) == 1 else one for one in (given.patch, given.stride))
    found = occlusion(
        net,
        batch(given.images, net.preprocess),
        target=given.target,
        layer=given.layer,
        channel=given.channel,
        patch=patch,
        stride=stride,
        fill=_fill(given),
        batch_size=given.batch_size,
        classes=names,
        progress=bars(),
    )
    _write(given, found, outputs)


# invariance


def _invariance_arguments(parser: argparse.ArgumentParser) -> None:
    _images_arguments(parser, "invariance", style=False)
    parser.add_argument(
        "--transform", default="translation", metavar="NAME", help="translation, scale or rotation (%(default)s)"
    )
    parser.add_argument(
        "--values", nargs="+", type=float, metavar="T", help="pixels down, factors, or degrees (a usual range)"
    )
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="the first and the last hidden one by default")
    parser.add_argument(
        "--target", nargs="+", type=int, metavar="N", help="the class, one for all images or one each (as predicted)"
    )
    parser.add_argument(
        "--fill", default="black", help="behind the borders: black, grey, white, mean, or a number in the model's input"
    )
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="(%(default)s)")


def _invariance(given: argparse.Namespace) -> None:
    from deconvviz.experiments import invariance

    outputs = _outputs(given, "invariance")
    net, _ = loaded(given)
    x = batch(given.images, net.preprocess)
    target = given.target[0] if given.target and len(given.target) == 1 else given.target
    options = {name: getattr(given, name) for name in ("layers", "transform", "values", "batch_size")}
    found = invariance(net, x, target=target, fill=_fill(given), progress=bars(), **options)
    _write(given, found, outputs)


# correspond


def _correspond_arguments(parser: argparse.ArgumentParser) -> None:
    _images_arguments(parser, "correspond", style=False)
    parser.add_argument("--parts", required=True, metavar="FILE", help="CSV or JSON: where the parts lie in each image")
    parser.add_argument("--layers", nargs="+", metavar="NAME", help="see `deconvviz layers MODEL` (all with weights)")
    parser.add_argument("--part-size", type=int, nargs="+", metavar="P", help="pixels to cover around a point")
    parser.add_argument("--within", metavar="PART", help="the part in FILE in whose box random places lie (the image)")
    parser.add_argument("--draws", type=int, default=20, metavar="N", help="of random places (%(default)s)")
    parser.add_argument("--random-state", type=int, default=0, metavar="N", help="of random places (%(default)s)")
    _fill_argument(parser)


def _correspond(given: argparse.Namespace) -> None:
    from deconvviz.data import read_parts
    from deconvviz.experiments import correspondence

    outputs = _outputs(given, "correspond")
    net, _ = loaded(given)
    names = image_names(given.images)
    parts = read_parts(given.parts, names, preprocess=net.preprocess)
    if given.within is not None and given.within not in parts:
        raise InputError(f"{given.parts!r} marks no part {given.within!r}{did_you_mean(given.within, parts)}")
    within = None if given.within is None else parts.pop(given.within)
    size = given.part_size[0] if given.part_size and len(given.part_size) == 1 else given.part_size
    found = correspondence(
        net,
        batch(names, net.preprocess),
        parts,
        layers=given.layers,
        size=size,
        within=within,
        draws=given.draws,
        random_state=given.random_state,
        fill=_fill(given),
        progress=bars(),
    )
    _write(given, found, outputs)


# evolve


def _evolve_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    parser.add_argument("checkpoints", metavar="CHECKPOINTS", help="a folder of weights files, as `train` writes")
    _dataset_arguments(parser, "evolve")
    parser.add_argument(
        "--channel", type=int, nargs="+", metavar="C", help="of each layer (the six that end strongest)"
    )


def _evolve(given: argparse.Namespace) -> None:
    from deconvviz.data.by_name import load_data
    from deconvviz.experiments import evolution
    from deconvviz.models.checkpoints import checkpoint_files

    outputs = _outputs(given, "evolve")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `evolution` will say what is left out
        files = checkpoint_files(given.checkpoints)
    given.weights = given.weights or files[-1]  # for `mnist` these also say what the trained network looks like
    net, _ = loaded(given)
    data = load_data(given.data, given.root)
    options = {name: getattr(given, name) for name in ("layers", "channel", "batch_size")}
    found = evolution(net, given.checkpoints, data, progress=bars(), **options)
    _write(given, found, outputs)


# diagnose


def _diagnose_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser, style=False)
    _dataset_arguments(parser, "diagnose")
    parser.add_argument("--similar", type=float, default=0.98, help="correlation of duplicates (%(default)s)")
    parser.add_argument("--outlier", type=float, default=3.0, help="times the median RMS (%(default)s)")
    parser.add_argument(
        "--rms-limit", type=float, metavar="RMS", help="of the first layer's filters; the paper's is 0.1"
    )


def _diagnose(given: argparse.Namespace) -> None:
    from deconvviz.data.by_name import load_data
    from deconvviz.experiments import diagnose

    outputs = _outputs(given, "diagnose")
    net, _ = loaded(given)
    data = load_data(given.data, given.root)
    options = {name: getattr(given, name) for name in ("layers", "similar", "outlier", "rms_limit", "batch_size")}
    _write(given, diagnose(net, data, progress=bars(), **options), outputs)


# probe


def _probe_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser, style=False)
    parser.add_argument(
        "data", metavar="DATA", help="mnist, a folder with a sub-folder for each class, or torchvision:NAME with --root"
    )
    parser.add_argument("--root", metavar="DIR", help="where a torchvision dataset lies")
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="all hidden layers by default")
    parser.add_argument(
        "--pool", type=int, default=6, metavar="N", help="average maps to N positions an axis; 0 for none (%(default)s)"
    )
    parser.add_argument("--folds", type=int, default=5, metavar="N", help="of the cross-validation (%(default)s)")
    parser.add_argument("--epochs", type=int, default=20, metavar="N", help="of the classifiers (%(default)s)")
    parser.add_argument("--random-state", type=int, default=0, metavar="N", help="of folds and training (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="(%(default)s)")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes that load images (%(default)s)")
    out_argument(parser, "folder for the figure and the result", "probe")
    json_argument(parser)


def _probe(given: argparse.Namespace) -> None:
    from deconvviz.data.by_name import load_data
    from deconvviz.experiments import probe

    outputs = _outputs(given, "probe")
    net, _ = loaded(given)
    names = ("layers", "folds", "epochs", "random_state", "batch_size", "workers")
    options = {name: getattr(given, name) for name in names}
    found = probe(net, load_data(given.data, given.root), pool=given.pool or None, progress=bars(), **options)
    list_broken(found)
    _write(given, found, outputs)


EXPERIMENTS: dict[str, Command] = {
    "occlusion": Command(
        "what a patch that slides over an image does to a feature map and a class", _occlusion_arguments, _occlusion
    ),
    "invariance": Command(
        "how far layers move, and what becomes of the class, when images are shifted, enlarged or turned",
        _invariance_arguments,
        _invariance,
    ),
    "evolve": Command("what channels react to, checkpoint by checkpoint of a training", _evolve_arguments, _evolve),
    "correspond": Command("whether layers relate a part across images", _correspond_arguments, _correspond),
    "diagnose": Command("what is wrong with filters and channels, by name", _diagnose_arguments, _diagnose),
    "probe": Command("how well a linear classifier tells classes apart, by layer", _probe_arguments, _probe),
}
