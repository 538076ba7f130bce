"""What arguments may be: whole numbers, channels, classes, positions; of Python, numpy or torch, and none by accident.

A number that counts or points is an int, or what numpy and torch have for one. Truth values are none, though Python
lets them pass for 0 and 1: a mask given for indices would choose the first two. Sets have no order, and bytes are text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deconvviz.errors import InputError


def whole(given: Any) -> int | None:
    """A whole number of 64 bits as an int; None for anything else.

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
    """Whether a tensor holds whole numbers that can be read."""
    counts = not (given.dtype.is_floating_point or given.dtype.is_complex or given.dtype == torch.bool)
    return counts and not (given.is_meta or given.is_quantized or given.is_nested or given.layout != torch.strided)


def listed(given: Any) -> list[Any] | None:
    """The items of what has several in an order, each once read: a list, an array, a generator; None for anything else.

    >>> listed((1, 2)), listed(torch.tensor([1, 2])), listed(range(2)), listed(n for n in (1, 2))
    ([1, 2], [tensor(1), tensor(2)], [0, 1], [1, 2])
    >>> listed(1), listed("ab"), listed({1, 2}), listed(b"ab"), listed(torch.tensor(1)), listed({1: 2})
    (None, None, None, None, None, None)
    """
    if isinstance(given, Tensor) and (given.is_nested or given.layout != torch.strided):
        return None
    if isinstance(given, (Tensor, np.ndarray)):
        return list(given) if given.ndim else None
    unordered = isinstance(given, (str, bytes, bytearray, memoryview, Mapping, Set))
    return list(given) if isinstance(given, Iterable) and not unordered else None


def once(given: Any) -> Any:
    """What can be read several times: the items of an iterator in a list, anything else as it is."""
    return list(given) if isinstance(given, Iterator) else given


def described(given: Any) -> str:
    """What was given, to end a sentence with: as Python shows it, or by its shape or type where that is long."""
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


def check_counts(least: int = 1, **given: Any) -> None:
    """Raise InputError for an option, by name, that is no whole number of at least `least`."""
    for name, number in given.items():
        if not _counts(number) or not least <= int(number) < 2**63:
            raise InputError(f"{name} must be a whole number of at least {least}, not {described(number)}")
