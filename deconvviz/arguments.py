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


def whole(given: Any) -> int | None:
    """A 64-bit whole number as an int; None for anything else.

    Example:
        >>> whole(3), whole(np.int8(3)), whole(torch.tensor(3)), whole(np.array(3))
        (3, 3, 3, 3)
        >>> whole(True), whole(torch.tensor(True)), whole(3.0), whole("3"), whole(torch.tensor([3]))
        (None, None, None, None, None)
    """
    if isinstance(given, Tensor):
        return int(given) if not given.ndim and is_whole(given) else None
    if isinstance(given, np.ndarray):
        given = given.item() if given.ndim == 0 else None
    number = int(given) if _counts(given) else None
    return number if number is not None and abs(number) < 2**63 else None


def _counts(given: Any) -> bool:
    return not isinstance(given, bool) and isinstance(given, Integral)


def is_whole(given: Tensor) -> bool:
    """Whether a tensor contains whole numbers that can be read."""
    counts = not (given.dtype.is_floating_point or given.dtype.is_complex or given.dtype == torch.bool)
    return counts and not (given.is_meta or given.is_quantized or given.is_nested or given.layout != torch.strided)


def without_values(given: Tensor) -> str:
    """What kind of tensor cannot be read ("a sparse tensor", "one on the device meta", ...); '' for a readable one."""
    if given.is_meta:
        return "one on the device meta, which has no values"
    kind = "nested" if given.is_nested else "quantised" if given.is_quantized else ""
    kind = kind or ("sparse" if given.layout != torch.strided else "")
    return f"a {kind} tensor" if kind else ""


def listed(given: Any) -> list[Any] | None:
    """The items of an ordered collection, each read once: a list, an array, a generator; None for anything else.

    Example:
        >>> listed((1, 2)), listed(torch.tensor([1, 2])), listed(range(2)), listed(n for n in (1, 2))
        ([1, 2], [tensor(1), tensor(2)], [0, 1], [1, 2])
        >>> listed(1), listed("ab"), listed({1, 2}), listed(b"ab"), listed(torch.tensor(1)), listed({1: 2})
        (None, None, None, None, None, None)
    """
    if isinstance(given, Tensor) and (given.is_nested or given.layout != torch.strided):
        return None
    if isinstance(given, (Tensor, np.ndarray)):
        return list(given) if given.ndim else None
    unordered = isinstance(given, (str, bytes, bytearray, memoryview, Mapping, Set, io.IOBase, nn.Module))
    unordered = unordered and not isinstance(given, KeysView)
    return list(given) if isinstance(given, Iterable) and not unordered else None


def known(given: Any, names: Iterable[str]) -> bool:
    """Whether a value is one of some names."""
    return isinstance(given, str) and given in names


def once(given: Any) -> Any:
    """A value that can be read several times: iterators become lists, anything else is unchanged."""
    return list(given) if isinstance(given, Iterator) and not isinstance(given, io.IOBase) else given


def described(given: Any) -> str:
    """A value for the end of an error message: its repr or, if that is long, its shape or type."""
    if isinstance(given, Tensor) and (given.ndim or given.is_meta):
        kind = "" if given.dtype != torch.bool else "bool "
        return f"a {kind}tensor of shape {tuple(given.shape)}"
    if isinstance(given, np.ndarray) and given.ndim:
        return f"an array of shape {given.shape}"
    try:
        shown = repr(given)
    except Exception:  # an object's own
        shown = ""
    return shown if 0 < len(shown) <= 200 and len(shown.splitlines()) == 1 else f"a {type(given).__name__}"


def short_text(given: Any) -> str:
    """An object in a few words: its own `repr` if that is short and does not name an address, or else its type."""
    shown = described(given)
    return shown if len(shown) <= 60 and " at 0x" not in shown else getattr(given, "__name__", type(given).__name__)


def check_counts(least: int = 1, **given: Any) -> None:
    """Raise InputError if an option, given by name, is not a whole number of at least `least`."""
    for name, number in given.items():
        if not _counts(number) or not least <= int(number) < 2**63:
            raise InputError(f"{name} must be a whole number of at least {least}, not {described(number)}")


# Kinds of arguments, checked at the door


class Kind(NamedTuple):
    """A kind of argument: its description after "NAME is", and a function that converts a value to a tuple or None."""

    wanted: str
    made: Callable[[Any], Any]


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
            given = signature.bind(*args, **kwargs)
            for name in kinds.keys() & given.arguments.keys():
                given.arguments[name] = checked_as(kinds[name], name, given.arguments[name])
            return function(*given.args, **given.kwargs)

        return checked

    return decorate


def checked_as(kind: Kind, name: str, given: Any) -> Any:
    """The converted argument. Raises InputError if it is of a wrong kind."""
    try:
        found = kind.made(given)
    except Exception:  # what is given may fail in any way when it is looked at
        found = None
    if found is None:
        raise InputError(f"{name} is {kind.wanted}, not {described(given)}")
    return found[0]


def _instance_of(*types: type) -> Callable[[Any], Any]:
    return lambda given: (given,) if isinstance(given, types) else None


def _number(given: Any) -> tuple[float] | None:
    real = isinstance(given, Real) and not isinstance(given, (bool, np.bool_))
    return (float(given),) if real and math.isfinite(float(given)) else None


def _whole(given: Any) -> tuple[int] | None:
    number = whole(given)
    return None if number is None else (number,)


def whole_from(least: int, below: int = 2**31) -> Kind:
    """A whole number in a range."""
    words = f"a whole number from {least}" + ("" if below == 2**31 else f" to {below - 1:,}")
    return Kind(words, lambda given: found if (found := _whole(given)) and least <= found[0] < below else None)


def instance(wanted: str, *types: type) -> Kind:
    """An object of one of some types."""
    return Kind(wanted, _instance_of(*types))


def optional(kind: Kind) -> Kind:
    """The same, or None."""
    return Kind(f"{kind.wanted} or None", lambda given: (None,) if given is None else kind.made(given))


def one_of(*names: str) -> Kind:
    """One of a few words."""
    wanted = " or ".join([", ".join(map(repr, names[:-1])), repr(names[-1])])
    return Kind(wanted, lambda given: (str(given),) if known(given, names) else None)


def several(kind: Kind, of: str) -> Kind:
    """A list, an array or a generator of one kind; `of`: what they are, in words."""

    def made(given: Any) -> tuple[list[Any]] | None:
        found = listed(given)
        parts = [kind.made(one) for one in found or ()]
        return None if found is None or None in parts else ([part[0] for part in parts],)

    return Kind(f"a list of {of}", made)


def mapping_of(kind: type, wanted: str) -> Kind:
    """A mapping from names to values of one type."""

    def made(given: Any) -> tuple[Any] | None:
        fits = isinstance(given, Mapping) and all(isinstance(a, str) and isinstance(b, kind) for a, b in given.items())
        return (given,) if fits else None

    return Kind(wanted, made)


def _has(*names: str) -> Callable[[Any], Any]:
    def made(given: Any) -> tuple[Any] | None:
        return (given,) if not isinstance(given, type) and all(hasattr(given, name) for name in names) else None

    return made


def _methods(given: Any) -> tuple[Any] | None:
    if given is None:
        return (None,)
    if isinstance(given, Mapping):
        return (given,) if all(isinstance(name, str) and callable(method) for name, method in given.items()) else None
    found = [given] if isinstance(given, str) else listed(given)
    return (found,) if found is not None and all(isinstance(name, str) for name in found) else None


def _path(given: Any) -> tuple[Any] | None:
    return (given,) if isinstance(given, (str, os.PathLike)) and isinstance(os.fspath(given), str) else None


def _dense(given: Any) -> tuple[Tensor] | None:
    if not isinstance(given, Tensor) or given.is_nested or given.layout != torch.strided:
        return None
    return None if given.is_meta or given.is_complex() else (given,)


WHOLE = Kind("a whole number", _whole)
RANDOM_STATE = whole_from(0, 2**32)
NUMBER = Kind("a finite number", _number)
FLAG = Kind("True or False", lambda given: (bool(given),) if isinstance(given, (bool, np.bool_)) else None)
TEXT = instance("a text", str)
PATH = Kind("a path", _path)
TENSOR = Kind("a dense tensor of real numbers", _dense)
MODULE = instance("a torch.nn.Module", nn.Module)
NET = Kind("a DeconvNet", _has("model", "style", "preprocess", "trace"))
MAPPING = instance("a mapping", Mapping)
METHOD_NAMES = Kind(
    "None or a list of names of methods", lambda given: None if isinstance(given, Mapping) else _methods(given)
)
METHODS_OR_FUNCTIONS = Kind("None, a list of names of methods, or a mapping from names to functions", _methods)
FUNCTION = Kind("a function", lambda given: (given,) if callable(given) else None)
