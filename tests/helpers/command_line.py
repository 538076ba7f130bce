"""Calls of the command line in this process."""

from __future__ import annotations

from deconvviz import cli


def run(*arguments: object, status: int = 0) -> None:
    """Run a command; its exit status must be `status`."""
    assert cli.main([str(argument) for argument in arguments]) == status
