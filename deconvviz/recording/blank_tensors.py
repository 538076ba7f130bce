"""Tensors whose numbers nobody reads, and the results of operations on them, which are not computed.

An operation runs once to find out the shape of its result. After that it costs almost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deconvviz.io.memory import zeros
from deconvviz.recording.tape import mapped

AT_MOST = 10_000  # results in the cache


class Blank(NamedTuple):
    """Shape, stride, type and device of a tensor, without its numbers."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, tensor: Tensor) -> Blank:
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)

    def tensor(self) -> Tensor:
        """A tensor of zeros of this kind."""
        last = sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        flat = zeros((0 if 0 in self.shape else 1 + last,), self.dtype, self.device)
        return flat.as_strided(self.shape, self.stride)


_results: dict[Any, Any] = {}  # by operation and arguments: its result, with a `Blank` for each tensor


def blank_result(func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The result of a function that returns new tensors, with zeros for numbers.

    The shapes of the result must depend only on the shapes of the tensors among the arguments.

    Raises:
        TypeError: If an argument has no hash.
    """
    key = func, _key(args), _key(kwargs), torch.get_default_dtype()
    if key not in _results:
        if len(_results) >= AT_MOST:
            _results.clear()
        _results[key] = mapped(func(*args, **kwargs), Blank.of)
    return mapped(_results[key], lambda blank: blank.tensor(), Blank)


def _key(item: Any) -> Any:
    """The part of an argument that can determine the shape of a result. 1, 1.0 and True are different."""
    if isinstance(item, Tensor):
        return Blank.of(item)
    if isinstance(item, (list, tuple)):
        return tuple(map(_key, item))
    if isinstance(item, Mapping):
        return tuple((name, _key(part)) for name, part in item.items())
    return type(item), item
