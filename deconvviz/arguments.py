"""Validation of arguments: whole numbers, channels, classes and positions from Python, numpy or torch.

A number that counts or points must be an int, or numpy's or torch's equivalent. Booleans are refused, although Python
treats them as 0 and 1: a mask passed as indices would select the first two. Sets have no order, and bytes are text.
"""

from __future__ import annotations

import functools
import inspect
import io
import math
import os
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping, Set
from numbers import Integral, Real
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from deconvviz.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")


def whole(value: Any) -> int | None:
    """A 64-bit whole number as an int; None for anything else.

    Example:
        >>> whole(3), whole(np.int8(3)), whole(torch.tensor(3)), whole(np.array(3))
        (3, 3, 3, 3)
        >>> whole(True), whole(torch.tensor(True)), whole(3.0), whole("3"), whole(torch.tensor([3]))
        (None, None, None, None, None)
    """
    if isinstance(value, Tensor):
        return int(value) if not value.ndim and is_whole(value) else None
    if isinstance(value, np.ndarray):
        value = value.item() if value.ndim == 0 else None
    number = int(value) if _counts(value) else None
    return number if number is not None and abs(number) < 2**63 else None


def _counts(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral)


def is_whole(value: Tensor) -> bool:
    """Whether a tensor contains whole numbers that can be read."""
    counts = not (value.dtype.is_floating_point or value.dtype.is_complex or value.dtype == torch.bool)
    return counts and not (value.is_meta or value.is_quantized or value.is_nested or value.layout != torch.strided)


def without_values(value: Tensor) -> str:
    """The kind of a tensor whose values cannot be read, such as "a sparse tensor"; '' for a readable tensor."""
    if value.is_meta:
        return "one on the device meta, which has no values"
    kind = "nested" if value.is_nested else "quantised" if value.is_quantized else ""
    kind = kind or ("sparse" if value.layout != torch.strided else "")
    return f"a {kind} tensor" if kind else ""


def listed(value: Any) -> list[Any] | None:
    """The items of an ordered collection, each read once: a list, an array, a generator; None for anything else.

    Example:
        >>> listed((1, 2)), listed(torch.tensor([1, 2])), listed(range(2)), listed(n for n in (1, 2))
        ([1, 2], [tensor(1), tensor(2)], [0, 1], [1, 2])
        >>> listed(1), listed("ab"), listed({1, 2}), listed(b"ab"), listed(torch.tensor(1)), listed({1: 2})
        (None, None, None, None, None, None)
    """
    if isinstance(value, Tensor) and (value.is_nested or value.layout != torch.strided):
        return None
    if isinstance(value, (Tensor, np.ndarray)):
        return list(value) if value.ndim else None
    unordered = isinstance(value, (str, bytes, bytearray, memoryview, Mapping, Set, io.IOBase, nn.Module))
    unordered = unordered and not isinstance(value, KeysView)
    return list(value) if isinstance(value, Iterable) and not unordered else None


def known(value: Any, names: Iterable[str]) -> bool:
    """Whether a value is one of some names."""
    return isinstance(value, str) and value in names


def once(value: Any) -> Any:
    """A value that can be read several times: iterators become lists, anything else is unchanged."""
    return list(value) if isinstance(value, Iterator) and not isinstance(value, io.IOBase) else value


def described(value: Any) -> str:
    """A value for the end of an error message: its repr or, if that is long, its shape or type."""
    if isinstance(value, Tensor) and (value.ndim or value.is_meta):
        kind = "" if value.dtype != torch.bool else "bool "
        return f"a {kind}tensor of shape {tuple(value.shape)}"
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape}"
    try:
        shown = repr(value)
    except Exception:  # the object's own `__repr__` may raise anything
        shown = ""
    return shown if 0 < len(shown) <= 200 and len(shown.splitlines()) == 1 else f"a {type(value).__name__}"


def short_text(value: Any) -> str:
    """An object in a few words: its own `repr` if that is short and does not name an address, or else its type."""
    shown = described(value)
    return shown if len(shown) <= 60 and " at 0x" not in shown else getattr(value, "__name__", type(value).__name__)


def check_counts(least: int = 1, **counts: Any) -> None:
    """Raise InputError if an option, given by name, is not a whole number of at least `least`."""
    for name, number in counts.items():
        if not _counts(number) or not least <= int(number) < 2**63:
            raise InputError(f"{name} must be a whole number of at least {least}, not {described(number)}")


# Kinds of arguments, checked when a function is called


class Kind(NamedTuple):
    """A kind of argument: its description after "NAME is", and a function that converts a value to a tuple or None."""

    wanted: str
    convert: Callable[[Any], Any]


def takes(**kinds: Kind) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Check arguments of a function, by name, before it runs. Raises InputError for an argument of a wrong kind.

    Example:
        >>> @takes(count=whole_from(1))
        ... def twice(count):
        ...     return 2 * count
        >>> twice(np.int8(100))
        200
        >>> twice("a")
        Traceback (most recent call last):
        deconvviz.errors.InputError: count is a whole number from 1, not 'a'
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(*args, **kwargs)
            for name in kinds.keys() & bound.arguments.keys():
                bound.arguments[name] = checked_as(kinds[name], name, bound.arguments[name])
            return function(*bound.args, **bound.kwargs)

        return checked

    return decorate


def checked_as(kind: Kind, name: str, value: Any) -> Any:
    """The converted argument. Raises InputError if it is of a wrong kind."""
    try:
        converted = kind.convert(value)
    except Exception:  # inspecting a foreign object may raise anything
        converted = None
    if converted is None:
        raise InputError(f"{name} is {kind.wanted}, not {described(value)}")
    return converted[0]


def _instance_of(*types: type) -> Callable[[Any], Any]:
    return lambda value: (value,) if isinstance(value, types) else None


def _number(value: Any) -> tuple[float] | None:
    real = isinstance(value, Real) and not isinstance(value, (bool, np.bool_))
    return (float(value),) if real and math.isfinite(float(value)) else None


def _whole(value: Any) -> tuple[int] | None:
    number = whole(value)
    return None if number is None else (number,)


def whole_from(least: int, below: int = 2**31) -> Kind:
    """A whole number in a range."""
    words = f"a whole number from {least}" + ("" if below == 2**31 else f" to {below - 1:,}")
    return Kind(words, lambda value: number if (number := _whole(value)) and least <= number[0] < below else None)


def instance(wanted: str, *types: type) -> Kind:
    """An instance of one of several types."""
    return Kind(wanted, _instance_of(*types))


def optional(kind: Kind) -> Kind:
    """The same kind of argument, or None."""
    return Kind(f"{kind.wanted} or None", lambda value: (None,) if value is None else kind.convert(value))


def one_of(*names: str) -> Kind:
    """One of several strings."""
    wanted = " or ".join([", ".join(map(repr, names[:-1])), repr(names[-1])])
    return Kind(wanted, lambda value: (str(value),) if known(value, names) else None)


def list_of(kind: Kind, of: str) -> Kind:
    """A list, an array or a generator of arguments of one kind; `of` describes them."""

    def convert(value: Any) -> tuple[list[Any]] | None:
        items = listed(value)
        parts = [kind.convert(item) for item in items or ()]
        return None if items is None or None in parts else ([part[0] for part in parts],)

    return Kind(f"a list of {of}", convert)


def mapping_of(kind: type, wanted: str) -> Kind:
    """A mapping from names to values of one type."""

    def convert(value: Any) -> tuple[Any] | None:
        fits = isinstance(value, Mapping) and all(isinstance(a, str) and isinstance(b, kind) for a, b in value.items())
        return (value,) if fits else None

    return Kind(wanted, convert)


OF_A_NET = ("model", "style", "preprocess", "trace")  # attributes


def _has(*names: str) -> Callable[[Any], Any]:
    def convert(value: Any) -> tuple[Any] | None:
        return (value,) if not isinstance(value, type) and all(hasattr(value, name) for name in names) else None

    return convert


def is_net(given: Any) -> bool:
    """Whether something is a `DeconvNet`."""
    return not isinstance(given, nn.Module) and _has(*OF_A_NET)(given) is not None


def _module(given: Any) -> tuple[nn.Module] | None:
    module = given.model if is_net(given) else given
    return (module,) if isinstance(module, nn.Module) else None


def _methods(value: Any) -> tuple[Any] | None:
    if value is None:
        return (None,)
    if isinstance(value, Mapping):
        return (value,) if all(isinstance(name, str) and callable(method) for name, method in value.items()) else None
    names = [value] if isinstance(value, str) else listed(value)
    return (names,) if names is not None and all(isinstance(name, str) for name in names) else None


def _path(value: Any) -> tuple[Any] | None:
    return (value,) if isinstance(value, (str, os.PathLike)) and isinstance(os.fspath(value), str) else None


def _dense(value: Any) -> tuple[Tensor] | None:
    if not isinstance(value, Tensor) or value.is_nested or value.layout != torch.strided:
        return None
    return None if value.is_meta or value.is_complex() else (value,)


WHOLE = Kind("a whole number", _whole)
RANDOM_STATE = whole_from(0, 2**32)
NUMBER = Kind("a finite number", _number)
FLAG = Kind("True or False", lambda value: (bool(value),) if isinstance(value, (bool, np.bool_)) else None)
TEXT = instance("a text", str)
PATH = Kind("a path", _path)
TENSOR = Kind("a dense tensor of real numbers", _dense)
MODULE = Kind("a torch.nn.Module", _module)
NET = Kind("a DeconvNet", _has(*OF_A_NET))
MAPPING = instance("a mapping", Mapping)
METHOD_NAMES = Kind(
    "None or a list of names of methods", lambda value: None if isinstance(value, Mapping) else _methods(value)
)
SCORE_NAMES = Kind(
    "None or a list of names of scores", lambda value: None if isinstance(value, Mapping) else _methods(value)
)
METHODS_OR_FUNCTIONS = Kind("None, a list of names of methods, or a mapping from names to functions", _methods)
FUNCTION = Kind("a function", lambda value: (value,) if callable(value) else None)
CLASS_NAMES = list_of(TEXT, "names")
