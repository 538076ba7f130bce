"""Shared parts of the commands: choosing the images, printing results, writing a figure."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from deconvviz.errors import InputError

if TYPE_CHECKING:
    from deconvviz.net import DeconvNet
    from deconvviz.results import Tabular

# ruff: noqa: PLC0415


DATA_HELP = (
    "mnist, a folder of images, a file (.csv, .json or .jsonl with paths and labels, .npy, .npz, .zip, .tar or "
    "'shards-{000..009}.tar', a video), hf:NAME[:SPLIT], torchvision:NAME with --root, path/to/file.py:factory or "
    "package.module:factory; the last two run the code in the file or module"
)


SLIDE_DPI = 200  # of pictures, so that they can be read on a slide


class Command(NamedTuple):
    """A subcommand: its summary in `--help`, its arguments, and the function that runs it."""

    summary: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


def data_arguments(parser: argparse.ArgumentParser, *, with_labels: bool = False) -> None:
    """Add the dataset that a command goes through, and the folder of torchvision's.

    with_labels: whether the command needs its labels.
    """
    parser.add_argument(
        "data", metavar="DATA", help=f"{DATA_HELP}; its labels are needed" if with_labels else DATA_HELP
    )
    parser.add_argument("--root", metavar="DIR", help="folder of the torchvision dataset")


def json_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` to a command that prints results."""
    parser.add_argument("--json", action="store_true", help="print unrounded JSON instead of a table")


def drawing_arguments(parser: argparse.ArgumentParser, where: str) -> None:
    """Add ``--overlay``, ``--sigma`` and ``--rate`` to a command that draws projections.

    where: what the energy is laid over.
    """
    parser.add_argument(
        "--overlay",
        type=float,
        metavar="[ALPHA]",
        help=f"show the energy of the projections laid over {where}, of at most this opacity (0.6 without a number)",
    )
    parser.add_argument(
        "--sigma",
        type=float,
        metavar="PIXELS",
        help="smooth the projections by a Gaussian of this deviation; the title says so (default: no smoothing; of "
        "--overlay, a twentieth of the receptive field)",
    )
    parser.add_argument("--rate", type=float, metavar="HZ", help="samples per second of signals, for an axis of time")


def say(args: argparse.Namespace, text: object, facts: dict[str, Any]) -> None:
    """Print the text or, with ``--json``, only the facts."""
    from deconvviz.results.base import plain, printable

    if not args.json:
        print("\n".join(map(printable, str(text).split("\n"))))
        return

    print(json.dumps(plain(facts), indent=2, allow_nan=False))


def report(args: argparse.Namespace, result: Tabular, *files: Path) -> None:
    """Print a result and the files that show it, and list the items that could not be read."""
    if hasattr(result, "broken"):
        list_broken(result)
    say(args, "\n".join(map(str, (result, *files))), {**result.as_json(), "files": files})


def remark(text: str) -> None:
    """Print a note on standard error. If that fails, the note is lost and the work continues."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr)


def list_broken(result: Any) -> None:
    """List the items of a dataset that could not be read."""
    from deconvviz.results.base import printable

    for item in result.broken[:20]:
        remark(f"left out: {printable(f'{item.name}: {item.reason}')}")
    if len(result.broken) > 20:
        remark(f"left out: {len(result.broken) - 20} more")


def first_few(names: Sequence[str]) -> str:
    """The first five names and the number of the remaining ones."""
    from deconvviz.results.base import printable

    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(map(printable, names[:5]))}{more}"


def image(argument: str, net: DeconvNet) -> Any:
    """The bundled test image (1, 1, 28, 28) for ``mnist:INDEX``, in the model's type; else the argument, as a path."""
    kind, _, index = argument.partition(":")
    if kind != "mnist" or not index.isdecimal():
        return argument
    from deconvviz.data import mnist_test
    from deconvviz.recording.placement import Placement

    images, _ = mnist_test()
    if len(index) > 9 or int(index) >= len(images):
        raise InputError(f"the bundled test images are mnist:0 to mnist:{len(images) - 1}, not {argument!r}")
    return Placement.of(net.model).typed(images[int(index)][None])


def image_names(arguments: Sequence[str]) -> list[str]:
    """The images that the arguments name: files, or all images of a folder in the order of their names."""
    from deconvviz.data.folder import ImageFolder

    folders = {name: ImageFolder(name) for name in arguments if os.path.isdir(name)}
    return [
        path
        for name in arguments
        for path in ([str(folders[name].root / file) for file in folders[name].names] if name in folders else [name])
    ]


def evenly_spaced(names: Sequence[str], most: int) -> list[str]:
    """At most so many of some names, from the first on.

    >>> evenly_spaced("abcdefgh", 3)
    ['a', 'c', 'f']
    """
    count = min(most, len(names))
    return [names[n * len(names) // count] for n in range(count)]


def batch(arguments: Sequence[str], net: DeconvNet) -> Any:
    """The images that `image_names` lists, as one tensor (N, C, H, W), as the network gets it."""
    import torch

    from deconvviz.projection.model_call import prepared

    parts = [prepared(image(name, net), net.model, net.preprocess).first for name in image_names(arguments)]
    if len({part.shape[1:] for part in parts}) > 1:
        raise InputError("the images are of different sizes or types; give only photographs or only bundled digits")
    return torch.cat(parts)


def dataset(args: argparse.Namespace, net: DeconvNet | None = None) -> Any:
    """The dataset that a command was given by name, loaded once; the bundled test images in the type of the model."""
    from deconvviz.data.by_name import load_data
    from deconvviz.data.mnist import MnistTest
    from deconvviz.recording.placement import Placement

    if "loaded_data" not in args:
        args.loaded_data = load_data(args.data, args.root)
    data = args.loaded_data
    if net and isinstance(data, MnistTest) and (dtype := Placement.of(net.model).dtype) != data.tensors[0].dtype:
        data = args.loaded_data = MnistTest(dtype)
    return data


def lines_of(path: str) -> list[str]:
    """The lines of a text file. Raises InputError if it cannot be read."""
    from deconvviz.io.atomic import may_hang

    if may_hang(path):
        raise InputError(f"{path!r} cannot be read as text: it is a device, pipe or socket")
    try:
        return Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path!r} cannot be read as text: {getattr(error, 'strerror', None) or error}") from error


def picture_name(image: str, rest: str) -> Path:
    """The default name of an image's picture: a file in the current folder."""
    from deconvviz.io.atomic import safe_name

    stem = Path(image.replace(":", "-")).stem
    return Path(f"{safe_name(f'{stem}-{rest}')}.png")


def check_ending(out: Path) -> str:
    """The format for a picture's extension. Raises InputError if it cannot be written."""
    from matplotlib.figure import Figure

    kind = out.suffix.lower().lstrip(".")
    known = Figure().canvas.get_supported_filetypes().keys() - {"pgf"}  # needs LaTeX
    if kind not in known:
        listed = ", ".join(sorted(known))
        raise InputError(f"a picture cannot be written as {out.name!r}; its ending must be one of {listed}")
    return kind


def write_figure(figure: Any, out: Path, agreed: Callable[[Path], None] | None = None) -> None:
    """Write a figure, or several as pages of a PDF, atomically, in the format of the file's extension.

    After drawing, `agreed` is called with `out`; it raises an error if the file may not be written.
    """
    from deconvviz.io.atomic import replacing
    from deconvviz.io.ownership import picture_of

    first, *more = figure if isinstance(figure, list) else [figure]
    content = picture_of(first, check_ending(out), dpi=SLIDE_DPI, more=more)
    if agreed:
        agreed(out)
    with replacing(out) as beside:
        beside.write_bytes(content)
