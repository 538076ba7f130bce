"""The command line: parse, call, print. It exits with 2 and one sentence where a user's mistake shows."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from deconvviz import __version__
from deconvviz.cli.completion import COMPLETION
from deconvviz.cli.evidence import EVIDENCE
from deconvviz.cli.experiments import EXPERIMENTS
from deconvviz.cli.mining import MINING
from deconvviz.cli.pictures import PICTURES
from deconvviz.cli.training import TRAINING
from deconvviz.errors import DeconvVizError

COMMANDS = {**PICTURES, **MINING, **EXPERIMENTS, **EVIDENCE, **TRAINING, **COMPLETION}

START = """See what a convolutional network sees. To start with:

  deconvviz demo                                   what a small network sees in digits, as web pages
  deconvviz layers torchvision:resnet18            what the layers of a model are called
  deconvviz project mnist mnist:0 --layer conv2    what made them fire on an image, as a picture

All commands: deconvviz --help"""

# torch is imported by the commands that need it: `deconvviz --help` answers at once.


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status: 0, 2 for a mistake, 130 for Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        print(START)
        return 0
    given = build_parser(arguments[0]).parse_args(arguments)
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


def build_parser(*chosen: str) -> argparse.ArgumentParser:
    """The parser, with the arguments of the chosen commands only: those of others may need slow imports."""
    parser = argparse.ArgumentParser(
        prog="deconvviz",
        description="See what a convolutional network sees: deconvnet projections of any PyTorch CNN.",
        epilog="Start with: deconvviz demo; deconvviz layers torchvision:resnet18; deconvviz COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"deconvviz {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.summary, description=command.summary)
        one.set_defaults(run=command.run)
        if name in chosen:
            command.arguments(one)
            one.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser
