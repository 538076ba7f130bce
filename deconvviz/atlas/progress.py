"""What is said while an atlas is built: a bar on a terminal, and elsewhere lines, since a bar would fill a log."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

from deconvviz.io.progress_bar import on_a_terminal, progress_bar

SECONDS_BETWEEN = 30.0  # lines within a layer


class BuildProgress:
    """Shows how many units were projected."""

    def __init__(self, total: int, done: int, layers: int, *, shown: bool) -> None:
        """Begin.

        Args:
            total: Number of units of the atlas.
            done: How many of them an earlier build has projected.
            layers: Number of layers.
            shown: Whether to show anything.
        """
        bar = shown and on_a_terminal()
        self._bar = progress_bar(total=total, initial=done, unit="unit", desc="atlas", shown=bar, smoothing=0.05)
        self._lines = shown and not bar
        self._total, self._first, self._done, self._layers = total, done, done, layers
        self._begun = self._said = time.monotonic()
        self._layer = ""

    def begin_layer(self, number: int, name: str) -> None:
        """Note which layer comes; number: counted from 0."""
        self._layer = f"{name} ({number + 1} of {self._layers})"
        self._bar.set_postfix_str(name)

    def add(self, units: int) -> None:
        """Note that more units were projected."""
        self._done += units
        self._bar.update(units)
        if time.monotonic() - self._said > SECONDS_BETWEEN:
            self.say()

    def say(self) -> None:
        """Say how far the build is."""
        self._said = now = time.monotonic()
        spent, new = now - self._begun, self._done - self._first
        left = spent / new * (self._total - self._done) if new else 0.0
        ending = f", about {duration(left)} left" if left else ""
        self.tell(f"{self._layer}: {self._done:,} of {self._total:,} units, {duration(spent)}{ending}")

    def tell(self, line: str) -> None:
        """Print a line, unless there is a bar."""
        if self._lines:
            tell(line)

    def __enter__(self) -> BuildProgress:
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.close()


def tell(line: str) -> None:
    """Print a line on standard error. If that fails, the line is lost and the work continues."""
    with contextlib.suppress(Exception):
        print(line, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """A duration in words.

    >>> [duration(seconds) for seconds in (0.2, 59, 75, 3600, 4500)]
    ['1 s', '59 s', '1 min 15 s', '1 h', '1 h 15 min']
    """
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, hours = whole < 3600, whole // 3600
    large, small = divmod(whole, 60) if minutes else (hours, whole % 3600 // 60)
    names = ("min", "s") if minutes else ("h", "min")
    return f"{large} {names[0]}" + (f" {small} {names[1]}" if small else "")


def file_size(count: float) -> str:
    """A number of bytes in words.

    >>> [file_size(count) for count in (300, 45_000, 1_240_000, 9.6e9)]
    ['1 kB', '45 kB', '1.2 MB', '9.6 GB']
    """
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if count >= unit:
            return f"{count / unit:.2g} {name}" if count < 100 * unit else f"{count / unit:.0f} {name}"
    return f"{max(1, round(count / 1e3))} kB"
