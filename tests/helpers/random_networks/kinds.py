"""How kinds of steps are entered.

A kind is a function of (draw, value) that returns Python source: statements, and in the last line the expression of what
is made; None where it does not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.helpers.random_networks.network import Draw, Value

Kind = Callable[["Draw", "Value"], "str | None"]
KINDS: dict[str, list[tuple[str, Kind]]] = {}  # by family, with the function's name


def kind(family: str) -> Callable[[Kind], Kind]:
    def register(function: Kind) -> Kind:
        KINDS.setdefault(family, []).append((function.__name__, function))
        return function

    return register
