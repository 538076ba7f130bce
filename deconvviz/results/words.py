"""Nouns and verbs that agree with their numbers."""

from __future__ import annotations

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


def listing(words: Sequence[str]) -> str:
    """Words in a row, with "and" before the last.

    >>> listing(["edges"]), listing(["edges", "brightness", "the centre"])
    ('edges', 'edges, brightness and the centre')
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
