"""The kinds of arguments: which odd values each accepts, and other ways to write its right value."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch


def nothing(value: Any) -> Iterator[Any]:
    """No other way to write the value."""
    yield from ()


class Kind(NamedTuple):
    """A kind of argument.

    Attributes:
        fitting: The odd values, by their name in `anything`, that this kind accepts.
        same: Other ways to write a plain value, which must give the same result.
    """

    fitting: tuple[str, ...] = ()
    same: Callable[[Any], Iterator[Any]] = nothing


def whole_numbers(value: int) -> Iterator[Any]:
    yield from (np.int64(value), np.array(value), torch.tensor(value))


def counts(value: int) -> Iterator[Any]:
    yield from (np.int64(value), np.uint8(value))


def numbers(value: float) -> Iterator[Any]:
    yield from (np.float64(value),)


def lists(value: list[Any]) -> Iterator[Any]:
    yield from (tuple(value), iter(value), (item for item in value))


def paths(value: str) -> Iterator[Any]:
    yield pathlib.Path(value)


def flags(value: bool) -> Iterator[Any]:
    yield np.bool_(value)


INDEX = Kind(("None", "True"), whole_numbers)
KINDS = {
    "net": Kind(("a net",)),
    "x": Kind(("an image",)),
    "layer": Kind(),
    "layer or None": Kind(("None",)),
    "layers": Kind(("None",), lists),
    "index": Kind(("None",), whole_numbers),
    "position": Kind((), lists),
    "count": Kind((), counts),
    "random_state": Kind((), counts),
    "number": Kind(("-1", "1.5", "1e30", "a numpy number"), numbers),
    "share": Kind((), numbers),
    "flag": Kind(("True",), flags),
    "choice": Kind(),
    "text": Kind(("no text", "a text", "a Chinese text with a line break")),
    "path": Kind((), paths),
    "methods": Kind(("None",), lists),
    "mapping": Kind(),
    "style": Kind(),
    "model": Kind(("a net",)),
    "several": Kind((), lists),
    "one": Kind(),
}


NOTHING: Mapping[str, Any] = MappingProxyType({})
CALLABLE = ("a function", "a type", "a model")


class Call(NamedTuple):
    function: Callable[..., Any]
    arguments: dict[str, tuple[str, Any]]  # by name: its kind and a right value
    more: Mapping[str, Any] = NOTHING
    fitting: Mapping[str, tuple[str, ...]] = NOTHING  # by argument: more odd values it accepts
    skipped: Mapping[str, tuple[str, ...]] = NOTHING  # the caller's functions, whose errors are their own
