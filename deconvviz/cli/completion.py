"""The command that prints shell completion scripts."""

from __future__ import annotations

import argparse
from typing import Any

from deconvviz.cli.shared import Command

# ruff: noqa: PLC0415


def _completion_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))


def _completion(args: argparse.Namespace) -> None:
    import shtab

    from deconvviz.cli import COMMANDS, build_parser

    parser = build_parser(*COMMANDS)
    files = dict.fromkeys(("FILE", "IMAGE"), shtab.FILE)
    folders = dict.fromkeys(("DIR", "DATA", "CHECKPOINTS"), shtab.DIRECTORY)
    for action in _actions(parser):
        if action.metavar in files | folders:
            action.complete = (files | folders)[action.metavar]
    print(shtab.complete(parser, args.shell))


def _actions(parser: argparse.ArgumentParser) -> list[Any]:
    """The arguments of a parser and of its commands."""
    actions: list[Any] = []
    for action in parser._actions:
        actions.append(action)
        if isinstance(action, argparse._SubParsersAction):
            actions += [inner for command in action.choices.values() for inner in _actions(command)]
    return actions


COMPLETION = {
    "completion": Command(
        "print a script that lets a shell complete commands and options", _completion_arguments, _completion
    )
}
