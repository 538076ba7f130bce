"""What torch has no hook for: autograd functions that are applied, and gradients that are switched off and on.

Both are changed for the whole process while a model runs, and do nothing in other threads.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from threading import get_ident
from typing import Any

import torch

Applied = Callable[[Any, Callable[..., Any], tuple[Any, ...]], Any]
_BLOCKS: Any = (torch.no_grad, torch.enable_grad, torch.inference_mode, torch.set_grad_enabled)
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


@contextlib.contextmanager
def gradients_switched(switched: Callable[[bool], bool]) -> Iterator[None]:
    """Inside, `switched` is told whenever gradients are switched off or on, and returns whether they were on before.

    A model runs without gradients here in any case, so that torch's own mode does not tell what the model wants.
    """
    thread = get_ident()
    outer: dict[int, list[bool]] = {}  # by a block's id: what held where it was entered
    busy = False  # a block uses `set_grad_enabled` itself

    def told(original: Callable[..., Any], tell: Callable[[Any], None]) -> Callable[..., Any]:
        @functools.wraps(original)
        def method(self: Any, *args: Any) -> Any:
            nonlocal busy
            if busy or get_ident() != thread:
                return original(self, *args)
            busy = True
            try:
                found = original(self, *args)
            finally:
                busy = False
            tell(self)
            return found

        return method

    def made(block: Any) -> None:  # `set_grad_enabled` holds from here on
        outer[id(block)] = [switched(_inside(block))]

    def entered(block: Any) -> None:
        before = switched(_inside(block))
        if not isinstance(block, torch.set_grad_enabled) or not outer.get(id(block)):
            outer.setdefault(id(block), []).append(before)

    def left(block: Any) -> None:
        if outer.get(id(block)):
            switched(outer[id(block)].pop())

    methods = [(kind, name, tell) for kind in _BLOCKS for name, tell in (("__enter__", entered), ("__exit__", left))]
    methods.append((torch.set_grad_enabled, "__init__", made))
    before = [(kind, name, kind.__dict__[name]) for kind, name, _ in methods]
    try:
        for (kind, name, tell), (*_, original) in zip(methods, before, strict=True):
            setattr(kind, name, told(original, tell))
        yield
    finally:
        for kind, name, original in before:
            setattr(kind, name, original)


def _inside(block: Any) -> bool:
    """Whether gradients are on inside of a block."""
    if isinstance(block, torch.set_grad_enabled):
        return bool(block.mode)
    if isinstance(block, torch.inference_mode):
        return not block.mode
    return isinstance(block, torch.enable_grad)
