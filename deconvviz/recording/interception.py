"""Intercepting what torch has no hook for: calls of autograd functions, and switching gradients off and on.

Both patch torch for the whole process while a model runs. Other threads are not affected.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from threading import get_ident
from typing import Any

import torch

from deconvviz.io.restoring import uninterrupted

Applied = Callable[[Any, Callable[..., Any], tuple[Any, ...]], Any]
_BLOCKS: Any = (torch.no_grad, torch.enable_grad, torch.inference_mode, torch.set_grad_enabled)
_FUNCTIONS: Any = type(torch.autograd.Function)  # the class of these classes


@contextlib.contextmanager
def functions_applied(applied: Applied) -> Iterator[None]:
    """A context in which `applied` is called in place of an autograd function's forward.

    It is called with the class, its forward and the arguments. `apply` looks up `_backward_cls` and then `forward` on
    the class, wherever that is defined: in a base class, as a class method, or in a class that was just created. A
    `forward` that is called directly is not intercepted.
    """
    thread = get_ident()
    applying: Any = None

    @uninterrupted
    def looked_up(kind: Any, name: str) -> Any:
        nonlocal applying
        attribute = type.__getattribute__(kind, name)
        if name not in ("_backward_cls", "forward") or get_ident() != thread:
            return attribute
        is_applied, applying = applying is kind, kind if name == "_backward_cls" else None
        if name == "_backward_cls" or not is_applied:
            return attribute

        @functools.wraps(attribute)
        def forward(*args: Any) -> Any:
            return applied(kind, attribute, args)

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
    """A context in which `switched` is called whenever gradients are switched on (True) or off (False).

    It returns whether they were on before. A model always runs without gradients here, so torch's own mode does not
    tell whether the model wants them.
    """
    blocks = _GradientBlocks(switched)
    methods = [(kind, "__enter__", blocks.entered) for kind in _BLOCKS]
    methods += [(kind, "__exit__", blocks.left) for kind in _BLOCKS]
    methods.append((torch.set_grad_enabled, "__init__", blocks.created))
    originals = [(kind, name, kind.__dict__[name]) for kind, name, _ in methods]
    try:
        for (kind, name, notify), (*_, original) in zip(methods, originals, strict=True):
            setattr(kind, name, blocks.notifying(original, notify))
        yield
    finally:
        for kind, name, original in originals:
            setattr(kind, name, original)


class _GradientBlocks:
    """The blocks of this thread that switch gradients, such as `torch.no_grad`, and what held outside of each."""

    def __init__(self, switched: Callable[[bool], bool]) -> None:
        self._switched = switched
        self._thread = get_ident()
        self._outside: dict[int, list[bool]] = {}  # by a block's id: whether gradients were on where it was entered
        self._busy = False  # inside of a block's own method, which may use `set_grad_enabled`

    def notifying(self, original: Callable[..., Any], notify: Callable[[Any], None]) -> Callable[..., Any]:
        """A method that calls `original`, and then `notify` with the block."""

        @functools.wraps(original)
        def method(block: Any, *args: Any) -> Any:
            if self._busy or get_ident() != self._thread:
                return original(block, *args)
            self._busy = True
            try:
                result = original(block, *args)
            finally:
                self._busy = False
            notify(block)
            return result

        return method

    def created(self, block: Any) -> None:
        """A `set_grad_enabled` was created, which takes effect at once."""
        self._outside[id(block)] = [self._switched(_inside(block))]

    def entered(self, block: Any) -> None:
        """A block was entered."""
        before = self._switched(_inside(block))
        if not isinstance(block, torch.set_grad_enabled) or not self._outside.get(id(block)):
            self._outside.setdefault(id(block), []).append(before)

    def left(self, block: Any) -> None:
        """A block was left."""
        if self._outside.get(id(block)):
            self._switched(self._outside[id(block)].pop())


def _inside(block: Any) -> bool:
    """Whether gradients are on inside of a block."""
    if isinstance(block, torch.set_grad_enabled):
        return bool(block.mode)
    if isinstance(block, torch.inference_mode):
        return not block.mode
    return isinstance(block, torch.enable_grad)
