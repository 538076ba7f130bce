"""The commands scan, top and atlas, which go through a dataset."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from deconvviz.cli.model_options import loaded, model_arguments
from deconvviz.cli.outputs import Outputs, at_default_name, check_outside_inputs, folder, out_argument, place
from deconvviz.cli.shared import (
    Command,
    check_ending,
    data_arguments,
    dataset,
    drawing_arguments,
    first_few,
    json_argument,
    lines_of,
    list_broken,
    picture_name,
    remark,
    report,
)
from deconvviz.errors import InputError

if TYPE_CHECKING:
    from deconvviz.net import DeconvNet
    from deconvviz.results import TopActivations

# ruff: noqa: PLC0415


def _scan_arguments(parser: argparse.ArgumentParser, workers: str = "") -> None:
    model_arguments(parser)
    data_arguments(parser)
    parser.add_argument("--k", type=int, help="number of strongest units per channel (9)")
    parser.add_argument("--per-image", type=int, metavar="N", help="at most N units of one image (1)")
    parser.add_argument("--batch-size", type=int, metavar="N", help="images per batch (64)")
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help=f"worker processes that load images (for a folder as many as are useful, otherwise 0){workers}",
    )
    parser.add_argument("--state", metavar="DIR", help="save progress in DIR; the same command resumes from it")
    parser.add_argument("--classes", metavar="FILE", help="class names, one per line (as the dataset has them)")
    parser.add_argument(
        "--labels",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="find the label that fits each channel, if the images have labels",
    )
    parser.add_argument(
        "--on-error", choices=("skip", "raise"), help="skip items that cannot be read, or stop at the first one (skip)"
    )


def _layers_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--layers", nargs="+", metavar="LAYER", help="layers (default: all convolution and linear layers)"
    )


def _top_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--top", metavar="FILE", help="use the result of `deconvviz scan` instead of a new scan")


def _scan_only_arguments(parser: argparse.ArgumentParser) -> None:
    _scan_arguments(parser)
    _layers_argument(parser)
    out_argument(parser, "file for the result", "top.safetensors", "FILE")
    json_argument(parser)


def _atlas_arguments(parser: argparse.ArgumentParser) -> None:
    _scan_arguments(parser, workers=", and threads that judge channels and encode pictures (one per core)")
    _layers_argument(parser)
    parser.add_argument("--out", metavar="DIR", help="folder for the web site (atlas)")
    parser.add_argument("--title", metavar="TEXT", help="title of the page (model and dataset)")
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--channel", type=int, nargs="+", metavar="C", help="channels of each layer to project (all)")
    some.add_argument(
        "--limit", type=int, metavar="N", help="project only the first N channels of each layer that fire"
    )
    _top_argument(parser)
    parser.add_argument(
        "--evidence",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="say of each channel whether its projections are specific to it",
    )
    parser.add_argument(
        "--synthesize",
        action="store_true",
        help="also make a synthetic picture for each channel that is projected, which takes long",
    )


def _top_arguments(parser: argparse.ArgumentParser) -> None:
    _scan_arguments(parser)
    parser.add_argument("--layer", required=True, help="a name that `deconvviz layers MODEL` lists")
    parser.add_argument("--channel", type=int, nargs="+", metavar="C", help="channels (default: the first that fire)")
    parser.add_argument("--most", type=int, default=9, metavar="N", help="how many channels, if none is named (9)")
    parser.add_argument("--per-page", type=int, default=12, metavar="N", help="channels on each page of a PDF (12)")
    parser.add_argument(
        "--scale", choices=("each", "shared"), default="each", help="scale of the pictures (%(default)s)"
    )
    drawing_arguments(parser, "the patches")
    _top_argument(parser)
    out_argument(parser, "picture to write; of many channels a PDF has several pages", "top-LAYER.png", "FILE")
    json_argument(parser)


def _rank() -> int:
    """The rank of this process in a distributed job, or 0 without one. Rank 0 writes the result.

    Raises InputError if the environment variables of the job are invalid or incomplete.
    """
    variables = {name: os.environ.get(name, "") for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT")}
    for name in ("WORLD_SIZE", "RANK"):
        if variables[name] and not variables[name].isdecimal():
            raise InputError(f"the environment variable {name} is a whole number from 0, not {variables[name]!r}")
    if int(variables["WORLD_SIZE"] or 1) < 2:
        return 0
    if missing := [name for name, value in variables.items() if not value]:
        raise InputError(
            f"the environment says WORLD_SIZE={variables['WORLD_SIZE']}, so this is one of several processes, but not "
            f"{missing[0]}; start them with torchrun, or unset WORLD_SIZE"
        )
    return int(variables["RANK"])


def _join() -> None:
    """Join the distributed job, if there is one; print a note if only part of its environment is set."""
    import torch

    rank, several = _rank(), int(os.environ.get("WORLD_SIZE") or 1) > 1
    if not several:
        if os.environ.get("RANK", "0") not in ("0", ""):
            said = f"RANK={os.environ['RANK']} is set, but WORLD_SIZE is not"
            remark(f"note: {said}; this process scans everything and writes the result")
        return
    if not torch.distributed.is_initialized():
        try:
            torch.distributed.init_process_group("gloo")
        except (RuntimeError, ValueError) as error:
            where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            said = str(error).partition("\n")[0]
            raise InputError(f"process {rank} of this job cannot connect to the others at {where} ({said})") from error


def _scanned(
    args: argparse.Namespace, check: Callable[[DeconvNet, Any], None] | None = None
) -> tuple[DeconvNet, Any, Any]:
    """The network, the dataset, and the result of its scan; check: what is called before a scan."""
    from deconvviz.mining.label_scores import with_classes
    from deconvviz.mining.scan import scan
    from deconvviz.results import TopActivations

    net, _ = loaded(args)
    data = dataset(args, net)
    if saved := getattr(args, "top", None):
        top = TopActivations.load(saved)
        _check_scan(args, top)
        return net, data, with_classes(top, _classes(args))
    if check is not None:
        check(net, data)
    _join()
    top = scan(net, data, layers=args.layers, **_of_the_scan(args))
    return net, data, top


def _of_the_scan(args: argparse.Namespace) -> dict[str, Any]:
    """The given options that concern the scan alone; the others keep the defaults of `scan`."""
    names = ("k", "batch_size", "state", "per_image", "workers", "on_error", "labels")
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    return given | {"classes": _classes(args)}


def _classes(args: argparse.Namespace) -> list[str]:
    return lines_of(args.classes) if args.classes else []


def _check_scan(args: argparse.Namespace, top: TopActivations) -> None:
    """Raise InputError if an option for the scan contradicts the given result of a scan."""
    was: dict[str, Any] = {"batch_size": top.provenance.batch_size, "per_image": top.provenance.per_image}
    was |= {"k": top.k} if top.values else {}
    for name, value in was.items():
        if getattr(args, name) not in (None, value):
            option = f"--{name.replace('_', '-')}"
            raise InputError(
                f"{option} is {getattr(args, name)}, and the scan in {args.top!r} has {value}; leave it out"
            )


def _scan(args: argparse.Namespace) -> None:
    out = place(args, "top.safetensors")
    outputs = Outputs(args, out)
    _, _, top = _scanned(args)
    if _rank() == 0:
        outputs.save(top, out)
        report(args, top, out)


def _top(args: argparse.Namespace) -> None:
    from deconvviz.figures.top_projections import top_pages
    from deconvviz.mining.asked_channels import check_asked_channels
    from deconvviz.mining.project_top import project_top

    for name in ("most", "per_page"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} is a number of channels from 1, not {getattr(args, name)}")
    out = place(args, picture_name("top", args.layer))
    check_ending(out)
    outputs = Outputs(args, out)
    args.layers = [args.layer]
    net, data, top = _scanned(args, lambda net, data: check_asked_channels(net, data, args.layers, args.channel))
    if _rank() == 0:
        list_broken(top)
        channels = args.channel or _first_that_fire(top, args.layer, args.most)
        projections = project_top(net, data, top, layer=args.layer, channel=channels)
        drawn = {"scale": args.scale, "overlay": args.overlay, "sigma": args.sigma, "rate": args.rate}
        per_page = args.per_page if out.suffix.lower() == ".pdf" else len(projections)
        outputs.write_figure(top_pages(projections, per_page, **drawn), out)
        report(args, projections, out)


def _first_that_fire(top: TopActivations, layer: str, count: int) -> list[int]:
    from deconvviz.mining.matching import check_scanned

    check_scanned(top, [layer])
    fire = (top.values[layer][:, 0] > 0).nonzero().flatten().tolist()
    if not fire:
        raise InputError(f"no channel of {layer!r} fires on this dataset, so there is nothing to project")
    return list(fire[:count])


def _atlas(args: argparse.Namespace) -> None:
    from deconvviz.atlas.before_scan import check_before_scan
    from deconvviz.atlas.build import build_atlas
    from deconvviz.atlas.inventory import MANIFEST
    from deconvviz.atlas.output_folder import check_folder, left_alone
    from deconvviz.io.locks import alone
    from deconvviz.io.restoring import Restored

    classes = _classes(args)
    builds = _rank() == 0
    if args.top and not builds:  # nothing to scan, and only rank 0 writes
        return
    out = folder(args, "atlas")
    if builds:
        if args.out is None and os.path.lexists(out / MANIFEST):
            raise at_default_name(out)
        check_folder(out)
        check_outside_inputs(args, out)
    with Restored(alone(out) if builds else contextlib.nullcontext()):
        if builds and (others := left_alone(out)):
            remark(f"note: files in {str(out)!r} that are not part of the atlas stay: {first_few(others)}")
        net, data, top = _scanned(
            args, lambda net, data: check_before_scan(net, data, args.layers or (), args.channel, args.limit)
        )
        if builds:
            page = build_atlas(
                net,
                data,
                top,
                out=out,
                layers=args.layers,
                channel=None if args.channel is None else dict.fromkeys(args.layers or top.layers, args.channel),
                limit=args.limit,
                title=args.title,
                classes=classes,
                evidence=args.evidence,
                synthesize=args.synthesize,
                workers=args.workers,
            )
            list_broken(top)
            print(page)


MINING = {
    "scan": Command("find the strongest images of every channel in a dataset", _scan_only_arguments, _scan),
    "top": Command(
        "draw the strongest images of channels and their projections (Figure 2 of the paper)", _top_arguments, _top
    ),
    "atlas": Command("build a web site of every channel's strongest images and projections", _atlas_arguments, _atlas),
}
