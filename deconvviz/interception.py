"""What torch has no hook for: autograd functions that are applied.

It is changed for the whole process while a model runs, and does nothing in other threads.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from threading import get_ident
from typing import Any

import torch

Applied = Callable[[Any, Callable[..., Any], tuple[Any, ...]], Any]
_FUNCTIONS: Any = type(torch.autograd.Function)  # the class of these classes


@contextlib.contextmanager
def functions_applied(applied: Applied) -> Iterator[None]:
    """Inside, `applied` is called with (kind, forward, its arguments) in place of an autograd function's forward.

    `apply` looks its class's `_backward_cls` up and then the `forward`, however that came to be there: inherited, as a
    class method, in a class that was made just now. A `forward` that is called by its name is left alone.
    """
    thread = get_ident()
    applying: Any = None

    def looked_up(kind: Any, name: str) -> Any:
        nonlocal applying
        found = type.__getattribute__(kind, name)
        if name not in ("_backward_cls", "forward") or get_ident() != thread:
            return found
        begun, applying = applying is kind, kind if name == "_backward_cls" else None
        if name == "_backward_cls" or not begun:
            return found

        @functools.wraps(found)
        def forward(*args: Any) -> Any:
            return applied(kind, found, args)

        return forward

    before = _FUNCTIONS.__dict__.get("__getattribute__")
    try:
        _FUNCTIONS.__getattribute__ = looked_up
        yield
    finally:
        if before is None:
            del _FUNCTIONS.__getattribute__
        else:
            _FUNCTIONS.__getattribute__ = before
