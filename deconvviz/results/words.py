"""Nouns and verbs that agree with their numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(0, "image"), counted(1, "image"), counted(2000, "image")
    ('0 images', '1 image', '2,000 images')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def agreeing(number: int, singular: str, plural: str) -> str:
    """The word that agrees with a number.

    >>> agreeing(1, "is", "are"), agreeing(0, "is", "are")
    ('is', 'are')
    """
    return singular if number == 1 else plural


def percent(share: float) -> str:
    """A share in whole percent.

    >>> percent(0.124), percent(-0.001)
    ('12%', '0%')
    """
    return f"{round(share, 2) + 0.0:.0%}"  # -0.0 + 0.0 is 0.0


def in_digits(value: float, most: int = 3) -> str:
    """A number as one writes it by hand: with so many digits, or all before the point; tiny ones with an exponent.

    >>> in_digits(0.01234), in_digits(999.6), in_digits(14703.2), in_digits(1.5e9), in_digits(-2e-7)
    ('0.0123', '1,000', '14,703', '1,500,000,000', '-2e-07')
    >>> in_digits(1500.0, 6), in_digits(1.25, 6)
    ('1,500', '1.25')
    """
    if not 1e-4 <= abs(value) < 1e15:
        return f"{value:.{most}g}"
    before = math.floor(math.log10(abs(float(f"{value:.{most}g}")))) + 1  # digits before the point, after rounding
    written = f"{value:,.{max(0, most - before)}f}"
    return written.rstrip("0").rstrip(".") if "." in written else written


def listing(words: Sequence[str]) -> str:
    """Words in a row, with "and" before the last.

    >>> listing(["edges"]), listing(["edges", "brightness", "the centre"])
    ('edges', 'edges, brightness and the centre')
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
