"""Styles: which of an operation's mirrors is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from deconvviz.arguments import MAPPING, TEXT, checked_as


@dataclass(frozen=True)
class Style:
    """A named choice per family of operations.

    >>> STYLES["deconvnet"].choices["rectifier"]
    'deconvnet'
    >>> STYLES["guided"].but(overlap="mean").name
    'guided, overlap=mean'
    """

    name: str
    choices: Mapping[str, str]

    def __post_init__(self) -> None:
        checked_as(TEXT, "the name of a style", self.name)
        checked_as(MAPPING, "choices", self.choices)
        object.__setattr__(self, "choices", MappingProxyType(dict(self.choices)))

    def __reduce__(self) -> tuple[Any, ...]:  # a mappingproxy cannot be pickled
        return Style, (self.name, dict(self.choices))

    def but(self, **choices: str) -> Style:
        """This style with other choices for some families."""
        changed = ", ".join(f"{family}={choice}" for family, choice in choices.items())
        return Style(f"{self.name}, {changed}", {**self.choices, **choices})


STYLES: Mapping[str, Style] = MappingProxyType(
    {
        "deconvnet": Style("deconvnet", {"rectifier": "deconvnet", "lrn": "identity", "overlap": "sum"}),
        "guided": Style("guided", {"rectifier": "guided", "lrn": "identity", "overlap": "sum"}),
        "gradient": Style("gradient", {"rectifier": "gradient", "lrn": "gradient", "overlap": "sum"}),
    }
)
