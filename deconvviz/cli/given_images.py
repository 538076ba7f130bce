"""Images that a command takes one by one, or together as the inputs of one call."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deconvviz.cli.outputs import folder, place
from deconvviz.cli.shared import check_ending, image, picture_name, say
from deconvviz.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from deconvviz.net import DeconvNet

# ruff: noqa: PLC0415


def images_argument(parser: argparse.ArgumentParser) -> None:
    """Add the images that a command takes, and ``--together``."""
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="image files, .npy files of an input, or mnist:INDEX for bundled test images; numbers with --together",
    )
    parser.add_argument(
        "--together",
        action="store_true",
        help="give the model all images in one call: as its arguments if it takes several, otherwise as one list of "
        "images of any sizes, as detectors take it",
    )


def image_files(args: argparse.Namespace, rest: str) -> list[Path]:
    """The picture to write for each call: ``--out`` names the file or, of several images, the folder."""
    names = [picture_name(name, rest) for name in args.images[: 1 if args.together else None]]
    if len(set(names)) < len(names):  # images of one name from different folders
        names = [Path(f"{number}-{name}") for number, name in enumerate(names, 1)]
    files = [folder(args, ".") / name for name in names] if len(names) > 1 else [place(args, names[0])]
    for file in files:
        check_ending(file)
    return files


def calls(args: argparse.Namespace, net: DeconvNet) -> Iterator[tuple[str, Any]]:
    """For each call of the model the name of its image, and what it is called with.

    Raises InputError if the model takes other arguments than are given.
    """
    from deconvviz.recording.placement import required_arguments
    from deconvviz.results.words import counted

    arguments = required_arguments(net.model)
    if not args.together:
        if len(arguments) > 1:
            raise InputError(
                f"the model takes {', '.join(arguments)}; give --together with a file or a number for each of them"
            )
        yield from ((name, image(name, net)) for name in args.images)
        return
    if len(arguments) > 1 and len(arguments) != len(args.images):
        came = counted(len(args.images), "input")
        raise InputError(
            f"the model takes {', '.join(arguments)}, and {came} came; give a file or a number for each of them"
        )
    parts = tuple(_part(name, net) for name in args.images)
    yield ", ".join(args.images), parts if len(arguments) > 1 else ([part[0] for part in parts],)


def _part(name: str, net: DeconvNet) -> Tensor:
    """One of several inputs, with an axis of samples: a number, an array, or an image."""
    import torch

    from deconvviz.data.array_files import load_array
    from deconvviz.levels import picture_in
    from deconvviz.projection.model_call import prepared
    from deconvviz.recording.placement import Placement

    typed = Placement.of(net.model).typed
    if (number := _number(name)) is not None:
        return typed(torch.tensor([number]))  # type: ignore[no-any-return]
    if name.lower().endswith(".npy") and picture_in(array := load_array(name)) is None:
        if array.dtype.kind not in "fiub":
            raise InputError(f"{name!r} holds {array.dtype}, not numbers")
        native = array.astype(array.dtype.newbyteorder("="))
        return typed(torch.from_numpy(native)[None])  # type: ignore[no-any-return]
    return prepared(image(name, net), net.model, net.preprocess).first


def _number(text: str) -> float | None:
    """The number that an argument is, unless a file has this name."""
    try:
        return None if os.path.lexists(text) else float(text)
    except ValueError:
        return None


def print_each(args: argparse.Namespace, found: Iterable[tuple[str, Sequence[str], dict[str, Any]]]) -> None:
    """Print what is found for each call as soon as it is: its image if there are several, lines, and facts in JSON."""
    from deconvviz.results.base import printable

    facts, one_call = [], len(args.images) == 1 or args.together
    for name, lines, one in found:
        facts.append({"image": name, **one})
        if one_call:
            say(args, "\n".join(lines), one)
        elif not args.json:
            print("\n".join(map(printable, (name, *lines))), flush=True)
    if not one_call and args.json:
        say(args, "", {"images": facts})
