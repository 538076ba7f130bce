"""The command line: parse, call, print. It exits with 2 and one sentence where a user's mistake shows."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deconvviz import __version__
from deconvviz.cli_evidence import EVIDENCE
from deconvviz.cli_shared import Command, image, loaded, model_arguments, write_figure
from deconvviz.errors import DeconvVizError, InputError

if TYPE_CHECKING:
    from deconvviz.net import DeconvNet

# torch is imported by the commands that need it: `deconvviz --help` answers at once.
# ruff: noqa: PLC0415


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status: 0, 2 for a mistake, 130 for Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(arguments[0] if arguments else "")
    given = parser.parse_args(arguments)
    if not hasattr(given, "run"):
        parser.print_help()
        return 0
    try:
        given.run(given)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if given.debug:
            raise
        known = isinstance(error, (DeconvVizError, OSError))
        said = str(error) if known else f"{type(error).__name__}: {error} (--debug shows where)"
        print(f"deconvviz: {said}", file=sys.stderr)
        return 2
    return 0


def _parser(chosen: str) -> argparse.ArgumentParser:
    """The parser, with the arguments of the chosen command only: those of others may need slow imports."""
    parser = argparse.ArgumentParser(
        prog="deconvviz",
        description="See what a convolutional network sees: deconvnet projections of any PyTorch CNN.",
        epilog="Start with: deconvviz demo; deconvviz layers torchvision:resnet18; deconvviz COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"deconvviz {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.summary, description=command.summary)
        one.set_defaults(run=command.run)
        if name == chosen:
            command.arguments(one)
            one.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


# demo


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default="demo", metavar="DIR", help="folder for the pictures and index.html (%(default)s)"
    )


def _demo(given: argparse.Namespace) -> None:
    from deconvviz.demo import build_demo

    print(build_demo(given.out))


# layers and project


def _layers(given: argparse.Namespace) -> None:
    import torch

    net, shape = loaded(given)
    print(net.layers(torch.zeros(1, *shape)))


def _project_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    parser.add_argument("image", metavar="IMAGE", help="an image file, or mnist:INDEX for a bundled test image")
    parser.add_argument("--layer", required=True, help="a name that `deconvviz layers MODEL` lists")
    parser.add_argument("--channel", type=int, nargs="+", metavar="C", help="channels (the nine strongest)")
    parser.add_argument("--position", type=int, nargs="+", metavar="I", help="index into the map (its strongest)")
    parser.add_argument("--seed", default="activation", help="activation or one (%(default)s)")
    parser.add_argument("--whole", action="store_true", help="show whole images, not cut to the receptive field")
    parser.add_argument("--out", metavar="FILE", help="the picture to write (IMAGE-LAYER.png)")


def _project(given: argparse.Namespace) -> None:
    net, _ = loaded(given)
    out = Path(given.out or f"{Path(given.image.replace(':', '-')).stem}-{given.layer}.png")
    trace = net.trace(image(given.image), given.layer)
    channels = given.channel or _strongest(trace.activations[given.layer], 9)
    position = "max" if given.position is None else given.position
    projection = net.project(trace, given.layer, channels, position, given.seed)
    write_figure(projection.figure(crop=not given.whole), out)
    for unit in projection.units:
        print(f"{unit.layer} channel {unit.channel} at {unit.position}: activation {unit.activation:.4g}")
    if projection.provenance.linearised:
        print(f"linearised: {', '.join(projection.provenance.linearised)}")
    print(out)


def _strongest(activations: Any, count: int) -> list[int]:
    strongest = activations[0].flatten(1).amax(1) if activations.ndim > 2 else activations[0]
    return sorted(strongest.topk(min(count, len(strongest))).indices.tolist())


# scan and atlas


def _scan_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    parser.add_argument("data", metavar="DATA", help="mnist, a folder of images, or torchvision:NAME with --root")
    parser.add_argument("--root", metavar="DIR", help="where a torchvision dataset lies")
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="all convolution and linear layers by default")
    parser.add_argument("--k", type=int, default=9, help="strongest units per channel (%(default)s)")
    parser.add_argument("--per-image", type=int, default=1, metavar="N", help="of one image, at most (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="(%(default)s)")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes that load images (%(default)s)")
    parser.add_argument("--state", metavar="DIR", help="keep progress there; the same command goes on from it")
    parser.add_argument("--strict", action="store_true", help="stop at the first item that cannot be read")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N; under torchrun cuda is each rank's own")


def _scan_only_arguments(parser: argparse.ArgumentParser) -> None:
    _scan_arguments(parser)
    parser.add_argument("--out", default="top.safetensors", metavar="FILE", help="what is found (%(default)s)")


def _atlas_arguments(parser: argparse.ArgumentParser) -> None:
    _scan_arguments(parser)
    parser.add_argument("--out", default="atlas", metavar="DIR", help="folder for the site (%(default)s)")
    parser.add_argument("--top", metavar="FILE", help="what `deconvviz scan` found, in place of a new scan")
    parser.add_argument(
        "--evidence",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="say of each channel whether its pictures may be believed; needs deconvviz[evidence]",
    )


def _scanned(given: argparse.Namespace) -> tuple[DeconvNet, Any, Any, bool]:
    """The network, the dataset, what was found in it, and whether this is the process that says so."""
    import torch

    from deconvviz.data.loading import load_data
    from deconvviz.mining import scan
    from deconvviz.results import TopActivations

    rank, device = int(os.environ.get("RANK", "0")), given.device
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    if device != "cpu" and not torch.cuda.is_available():
        raise InputError(f"--device {given.device}: torch finds no CUDA device on this machine")
    net, _ = loaded(given)
    net.model.to(device)
    data = load_data(given.data, given.root)
    if top := getattr(given, "top", None):
        return net, data, TopActivations.load(top), True
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    names = ("layers", "k", "batch_size", "state", "per_image", "workers", "strict")
    return net, data, scan(net, data, **{name: getattr(given, name) for name in names}), rank == 0


def _scan(given: argparse.Namespace) -> None:
    _, _, top, first = _scanned(given)
    if first:
        print(top)
        _list_broken(top)
        print(top.save(given.out))


def _atlas(given: argparse.Namespace) -> None:
    from deconvviz.atlas.build import build_atlas
    from deconvviz.atlas.judging import check_installed

    if given.evidence:
        check_installed()
    net, data, top, first = _scanned(given)
    if first:
        page = build_atlas(net, data, top, given.out, layers=given.layers, evidence=given.evidence)
        _list_broken(top)
        print(page)


def _list_broken(top: Any) -> None:
    for one in top.broken[:20]:
        print(f"left out: {one.name}: {one.reason}", file=sys.stderr)
    if len(top.broken) > 20:
        print(f"left out: {len(top.broken) - 20} more", file=sys.stderr)


# train


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    from deconvviz.models import REFERENCE, TrainingSettings

    parser.add_argument(
        "--root", required=True, metavar="DIR", help="folder with MNIST's training images and labels (IDX)"
    )
    parser.add_argument("--download", action="store_true", help="let torchvision download them into --root first")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="weights, curves and a checkpoint per epoch; goes on from there"
    )
    parser.add_argument(
        "--reference", action="store_true", help="the settings of the bundled weights, unless given below"
    )
    parser.add_argument("--channels", type=int, nargs=2, metavar=("C1", "C2"), help="filters of the two convolutions")
    parser.add_argument("--width", type=int, help="values between the two linear layers")
    parser.add_argument("--dropout", type=float, metavar="P", help="dropout before the last layer; 0 for none")
    parser.add_argument("--batch-norm", action=argparse.BooleanOptionalAction, help="batch normalisation")
    settings = parser.add_argument_group("settings", "see deconvviz.models.TrainingSettings")
    for field in dataclasses.fields(TrainingSettings):
        flag, default = f"--{field.name.replace('_', '-')}", getattr(TrainingSettings(), field.name)
        if isinstance(default, bool):
            settings.add_argument(flag, action=argparse.BooleanOptionalAction, default=None)
        else:
            kind = int if default is None else type(default)
            reference = getattr(REFERENCE, field.name)
            settings.add_argument(flag, type=kind, help=f"{default}; reference: {reference}")


def _train(given: argparse.Namespace) -> None:
    from deconvviz.data import load_mnist, mnist_test
    from deconvviz.models import REFERENCE, TrainingSettings, evaluate, save_trained, train_mnist

    asked = {f.name: getattr(given, f.name) for f in dataclasses.fields(TrainingSettings)}
    chosen = {name: value for name, value in asked.items() if value is not None}
    settings = dataclasses.replace(REFERENCE if given.reference else TrainingSettings(), **chosen)
    architecture = {name: getattr(given, name) for name in ("channels", "width", "dropout", "batch_norm")}
    images, labels = load_mnist(given.root, given.download)
    out = Path(given.out)
    model, result = train_mnist(
        images,
        labels,
        settings,
        checkpoints=out / "checkpoints",
        **{name: value for name, value in architecture.items() if value is not None},
    )
    test = evaluate(model, *mnist_test())
    save_trained(model, out / "mnist_cnn.safetensors", result, test)
    result.curves.save(out / "curves.safetensors")
    write_figure(result.curves.figure(), out / "curves.png")
    print(result.curves.diagnosis)
    print(f"test accuracy {test.accuracy:.2%} on {test.count:,} images")
    print(out / "mnist_cnn.safetensors")


COMMANDS = {
    "demo": Command("what the bundled network sees in the bundled digits, as one page", _demo_arguments, _demo),
    "layers": Command(
        "the layers of a model: shapes, strides, receptive fields, what is linearised", model_arguments, _layers
    ),
    "project": Command("what made units of a layer fire on an image, as a picture", _project_arguments, _project),
    "scan": Command("the strongest images of every channel over a dataset", _scan_only_arguments, _scan),
    "atlas": Command("a web site of every channel's strongest images and projections", _atlas_arguments, _atlas),
    **EVIDENCE,
    "train": Command("train the reference network on MNIST, and watch how it learns", _train_arguments, _train),
}
