"""The command line: parse, call, print. It exits with 2 and one sentence where a user's mistake shows."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from deconvviz import __version__
from deconvviz.cli.evidence import EVIDENCE
from deconvviz.cli.experiments import EXPERIMENTS
from deconvviz.cli.mining import MINING
from deconvviz.cli.pictures import PICTURES
from deconvviz.cli.training import TRAINING
from deconvviz.errors import DeconvVizError

COMMANDS = {**PICTURES, **MINING, **EXPERIMENTS, **EVIDENCE, **TRAINING}

# torch is imported by the commands that need it: `deconvviz --help` answers at once.


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
