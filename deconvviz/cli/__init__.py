"""The command line: parse arguments, call the library, print the result.

A user's mistake ends with one sentence and exit status 2.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO

from deconvviz import __version__
from deconvviz.cli.completion import COMPLETION
from deconvviz.cli.decoding import DECODING
from deconvviz.cli.diff import DIFF
from deconvviz.cli.evidence import EVIDENCE
from deconvviz.cli.experiments import EXPERIMENTS
from deconvviz.cli.explore import EXPLORE
from deconvviz.cli.layer_pictures import LAYER_PICTURES
from deconvviz.cli.mining import MINING
from deconvviz.cli.model_options import with_joined_numbers
from deconvviz.cli.pictures import PICTURES
from deconvviz.cli.reading import READING
from deconvviz.cli.shared import remark
from deconvviz.cli.synthesis import SYNTHESIS
from deconvviz.cli.training import TRAINING
from deconvviz.errors import DeconvVizError, InputError, ModelError

COMMANDS = {
    **PICTURES,
    **LAYER_PICTURES,
    **EXPLORE,
    **MINING,
    **EXPERIMENTS,
    **DECODING,
    **EVIDENCE,
    **READING,
    **SYNTHESIS,
    **DIFF,
    **TRAINING,
    **COMPLETION,
}

WELCOME = """See what a convolutional network sees. To start with:

  deconvviz demo                                   build web pages that show what a small network sees in digits
  deconvviz layers torchvision:resnet18            list the layers of a model
  deconvviz project mnist mnist:0 --layer conv2    show what in an image activates a layer's units

All commands: deconvviz --help"""

# Only commands that need torch import it, so `deconvviz --help` is fast.


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0, 2 for a mistake, 130 for Ctrl-C."""
    _open_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        print(WELCOME)
        return 0
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names may not fit the terminal's encoding
            stream.reconfigure(errors="backslashreplace")
    args = None
    try:
        args = build_parser(arguments[0]).parse_args(arguments)
        with warnings.catch_warnings():
            warnings.filterwarnings("always", message="of the folder .* were left out|the labels are text")
            warnings.showwarning = _show
            _check_named(args)
            _run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        remark("interrupted")
        return 130
    except BrokenPipeError:
        _give_up_printing()
        return 0
    except SystemExit as end:
        if args is None:  # help, or arguments that do not parse
            raise
        return _failed(ModelError(f"the model's code ended the program (exit status {end.code})"))
    except Exception as error:
        if getattr(args, "debug", False):
            raise
        return _failed(error)
    return 0


def _run(args: argparse.Namespace) -> None:
    """Run a command, whose progress is lines where standard error is no terminal."""
    from deconvviz.io.progress_bar import lines_in_a_log  # noqa: PLC0415
    from deconvviz.io.restoring import Restored  # noqa: PLC0415

    with Restored(lines_in_a_log()):
        args.run(args)


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print the library's own warnings as notes, without the source line."""
    if category.__module__.startswith("deconvviz."):
        remark(f"note: {' '.join(str(message).splitlines())}")
    else:
        remark(warnings.formatwarning(message, category, filename, lineno, line).removesuffix("\n"))


def _open_streams() -> None:
    """Redirect closed standard streams (``>&-``) to the null device, so that no file gets their descriptor."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(getattr(sys, name), "closed", True):  # or missing
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  open until the program ends


def _check_named(args: argparse.Namespace) -> None:
    """Raise InputError for a name that none can have, or is empty, as an unset shell variable is."""
    for name in ("out", "weights", "state", "root", "top", "classes", "parts", "preprocess", "other", "pages"):
        if getattr(args, name, None) in ("", [""]):
            raise InputError(f"--{name} is empty; name a file or folder, or leave it out")
    for name, value in vars(args).items():
        for word in value if isinstance(value, list) else [value]:
            if isinstance(word, str) and "\0" in word and name not in ("layer", "layers"):  # which are not files
                raise InputError(f"{word!r} has a null character in it, which no name can have")


def _failed(error: Exception) -> int:
    """Print the error on one line and return exit status 2."""
    said = " ".join(str(error).splitlines())
    if isinstance(error, MemoryError) or "can't allocate memory" in said or "out of memory" in said:
        said = "there is not enough memory; give smaller images (--size), fewer of them or a smaller batch"
    elif isinstance(error, OSError) and not isinstance(error, DeconvVizError) and error.strerror:
        said = f"{error.strerror}: {error.filename!r}" if error.filename else error.strerror
    elif not isinstance(error, DeconvVizError):
        said = f"{': '.join(filter(None, (type(error).__name__, said)))} (--debug shows where)"
    remark(f"deconvviz: {said}")
    try:
        sys.stdout.flush()
    except OSError:
        _give_up_printing()
    return 2


def _give_up_printing() -> None:
    """Drop the remaining output: the reader is gone, and Python would try to flush again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As argparse does, with options of several numbers that end where the numbers do."""
        return super().parse_known_args(None if args is None else with_joined_numbers(args), namespace)

    def error(self, message: str) -> NoReturn:
        """Exit with the error on one line, even if an argument contains line breaks."""
        super().error(" ".join(message.splitlines()))


def build_parser(*chosen: str) -> argparse.ArgumentParser:
    """The parser, with the arguments of the chosen commands only, because those of others may need slow imports."""
    parser = _Parser(
        prog="deconvviz",
        description="See what a convolutional network sees: deconvnet projections of any PyTorch CNN.",
        epilog="Start with: deconvviz demo; deconvviz layers torchvision:resnet18; deconvviz COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"deconvviz {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.summary, description=command.summary)
        subparser.set_defaults(run=command.run)
        if name in chosen:
            command.arguments(subparser)
            subparser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser
