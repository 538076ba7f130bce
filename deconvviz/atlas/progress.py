"""What is said while an atlas is built: a bar on a terminal, and elsewhere lines, since a bar would fill a log."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from deconvviz.io.progress_bar import on_a_terminal, progress_bar
from deconvviz.synthesis.synthesis import ASCENT_STEPS

SECONDS_BETWEEN = 30.0  # lines within a layer
# With synthetic pictures, which take longer than units, tqdm does not know how much time is left.
_WITH_PICTURES = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"


@dataclass
class Work:
    """Work of one kind.

    Attributes:
        total: How much there is.
        first: How much of it an earlier build has done.
        done: How much is done.
        seconds: How long what is new has taken.
    """

    total: int
    first: int
    done: int = field(init=False)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.done = self.first

    @property
    def left(self) -> float | None:
        """About how many seconds are left; None if that is not known."""
        rest, new = self.total - self.done, self.done - self.first
        if not rest:
            return 0.0
        return self.seconds / new * rest if new else None


class BuildProgress:
    """Shows how many units were projected, and how many synthetic pictures were made."""

    def __init__(self, units: Work, pictures: Work, layers: int, *, shown: bool) -> None:
        """Begin.

        Args:
            units: The work on units.
            pictures: The work on synthetic pictures.
            layers: Number of layers.
            shown: Whether to show anything.
        """
        bar = shown and on_a_terminal()
        total, first = units.total + pictures.total, units.first + pictures.first
        how: dict[str, Any] = {"bar_format": _WITH_PICTURES} if pictures.total else {"smoothing": 0.05}
        self._bar = progress_bar(total=total, initial=first, unit="unit", desc="atlas", shown=bar, **how)
        self._lines = shown and not bar
        self._units, self._pictures, self._layers = units, pictures, layers
        self._steps = 0  # of the picture that is being made
        self._begun = self._said = self._made = time.monotonic()
        self._layer = self._name = ""

    def begin_layer(self, number: int, name: str) -> None:
        """Note which layer comes; number: counted from 0."""
        self._layer, self._name = f"{name} ({number + 1} of {self._layers})", name
        self._show(0)

    def add(self, units: int) -> None:
        """Note that more units were projected."""
        self._units.done += units
        self._show(units)

    @contextlib.contextmanager
    def synthesis(self, *, total: int) -> Iterator[BuildProgress]:
        """Follow work on synthetic pictures by `update`; total: steps of single pictures."""
        self._made, before = time.monotonic(), self._pictures.done
        yield self
        self._steps, self._pictures.done = 0, before + total // ASCENT_STEPS

    def update(self, steps: int) -> None:
        """Note that more steps of synthetic pictures were taken."""
        now = time.monotonic()
        self._pictures.seconds += now - self._made
        self._made = now
        whole, self._steps = divmod(self._steps + steps, ASCENT_STEPS)
        self._pictures.done += whole
        self._show(whole)

    def _show(self, more: int) -> None:
        """Show a change: so many more units or pictures."""
        if self._pictures.total:
            self._bar.set_postfix_str(f"{self._name}{self._ending()}", refresh=False)
        elif not more:
            self._bar.set_postfix_str(self._name)
        self._bar.update(more)
        if time.monotonic() - self._said > SECONDS_BETWEEN:
            self.say()

    def say(self) -> None:
        """Say how far the build is."""
        self._said = time.monotonic()
        done = f"{self._units.done:,} of {self._units.total:,} units"
        if self._pictures.total:
            done += f" and {self._pictures.done:,} of {self._pictures.total:,} synthetic pictures"
        self.tell(f"{self._layer}: {done}, {duration(self._said - self._begun)}{self._ending()}")

    def _ending(self) -> str:
        """How long the rest will take, if that is known."""
        self._units.seconds = time.monotonic() - self._begun - self._pictures.seconds
        parts = self._units.left, self._pictures.left
        left = sum(part for part in parts if part is not None)
        return f", about {duration(left)} left" if left and None not in parts else ""

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
