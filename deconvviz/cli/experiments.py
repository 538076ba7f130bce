"""The commands that repeat the experiments of the paper."""

from __future__ import annotations

from deconvviz.cli.shared import Command

# occlude


# invariance


# correspond


# evolve


# diagnose


# probe


EXPERIMENTS: dict[str, Command] = {}
