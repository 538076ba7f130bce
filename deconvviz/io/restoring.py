"""Temporary settings that are restored however they end, even by Ctrl-C at any moment.

Python raises KeyboardInterrupt between any two steps of the main thread. That can be after something was set and before
this was noted, or while it is being restored. `Restored` closes these gaps: a signal that arrives while something is
set or restored waits until that is done.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` calls, without looking for a name of the handler
import contextlib
import signal
import sys
import threading
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch.overrides import _get_current_function_mode_stack as function_modes
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack as dispatch_modes

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

# Signals that interrupt a program, if a function handles them; for the first one Python sets one.
INTERRUPTS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGBREAK") if hasattr(signal, name)
]


class Restored(contextlib.ExitStack):
    """A stack of contexts, and of calls that restore something, that no signal can interrupt half way.

    `enter_context` and `callback` add to the stack: first the call that restores something, then the setting. At the
    end torch's modes, gradients and autocast are also restored for this thread, even if an interrupt has kept torch's
    own contexts from doing so.
    """

    def __init__(self, *contexts: contextlib.AbstractContextManager[Any]) -> None:
        """Prepare to enter contexts in the order given."""
        super().__init__()
        self.contexts = contexts
        self.inside: _Modes | None = None

    def __enter__(self) -> Self:
        self.held = _Interrupts.hold(sys._getframe(1))
        try:
            super().__enter__()
            self.callback(_Modes().put_back)
            for context in self.contexts:
                super().enter_context(context)
            self.set_up()
            self.inside = _Modes()
            _Interrupts.deliver()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def set_up(self) -> None:
        """Called on entering; subclasses override it."""

    @staticmethod
    def hear_signals() -> None:
        """Let a signal end a wait while entering."""
        _Interrupts.deliver()

    def enter_context(self, cm: contextlib.AbstractContextManager[T, Any]) -> T:
        entered = super().enter_context(cm)
        if self.inside is not None:  # entering as a whole is noted at its end
            self.inside = _Modes()
        _Interrupts.deliver()  # now that it is on the stack
        return entered

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:  # no exception is hidden
        try:
            _close_blocks(traceback)
            if self.inside is not None:
                self.inside.put_back_stacks()  # what contexts that are left now expect
            super().__exit__(kind, error, traceback)
        finally:
            _Interrupts.release(self.held)


def _close_blocks(traceback: TracebackType | None) -> None:
    """End the blocks of `contextlib.contextmanager` that an interrupt kept from being left, such as torch's own.

    Python would end them when it frees the traceback, which is after the settings were restored.
    """
    while traceback is not None:
        frame, traceback = traceback.tb_frame, traceback.tb_next
        if frame.f_code in _ENTERING_OR_LEAVING:
            with contextlib.suppress(Exception):
                frame.f_locals["self"].gen.close()


_ENTERING_OR_LEAVING = {
    getattr(contextlib._GeneratorContextManager, name).__code__ for name in ("__enter__", "__exit__")
}


@dataclass(eq=False)
class _Holder:
    """A frame with an open `Restored`, and the line of its `with`."""

    frame: FrameType
    line: int


class _Interrupts:
    """Signals that arrive while a `Restored` is open."""

    holders: ClassVar[list[_Holder]] = []
    handlers: ClassVar[dict[int, Any]] = {}  # what was set for the signals
    waiting: ClassVar[list[int]] = []

    @classmethod
    def hold(cls, frame: FrameType) -> _Holder | None:
        if threading.get_ident() != threading.main_thread().ident:
            return None  # signals are handled in the main thread alone
        if not cls.holders:
            for number in INTERRUPTS:
                handler = _signal.getsignal(number)
                if callable(handler) and handler != cls.arrived:
                    cls.handlers[number] = handler
                    _signal.signal(number, cls.arrived)
        cls.holders.append(_Holder(frame, frame.f_lineno))
        return cls.holders[-1]

    @classmethod
    def release(cls, held: _Holder | None) -> None:
        if held is None:
            return
        cls.holders = [other for other in cls.holders if other is not held]
        if not cls.holders:
            for number, handler in cls.handlers.items():
                if _signal.getsignal(number) == cls.arrived:
                    _signal.signal(number, handler)
        cls.deliver()

    @classmethod
    def deliver(cls) -> None:
        """Handle the signals that have waited."""
        if threading.get_ident() == threading.main_thread().ident:
            while cls.waiting:
                number = cls.waiting.pop(0)
                cls.handlers[number](number, sys._getframe(1))

    @classmethod
    def arrived(cls, number: int, frame: FrameType | None) -> None:
        if cls.must_wait(frame):
            cls.waiting.append(number)
        else:
            cls.handlers[number](number, frame)

    @classmethod
    def must_wait(cls, frame: FrameType | None) -> bool:
        if any(frame is held.frame and frame.f_lineno == held.line for held in cls.holders):
            return True  # the block is being entered or left
        while frame is not None:
            if frame.f_code in _UNINTERRUPTED:
                return True
            frame = frame.f_back
        return False


_UNINTERRUPTED = {
    function.__code__
    for function in (
        *(Restored.__enter__, Restored.__exit__, Restored.enter_context),
        *(getattr(_Interrupts, name).__func__ for name in ("hold", "release", "deliver", "arrived", "must_wait")),
    )
}


def uninterrupted(function: T) -> T:
    """Decorate a function that C code calls and whose errors that code hides: a signal waits until a block ends."""
    _UNINTERRUPTED.add(function.__code__)  # type: ignore[attr-defined]
    return function


_CASTING = ("cpu", "cuda", "xpu", "mps")


class _Modes:
    """The modes that torch has set for this thread, and whether gradients and autocast are on."""

    def __init__(self) -> None:
        self.functions, self.operations = function_modes(), dispatch_modes()
        self.grad, self.autocast = torch.is_grad_enabled(), self._autocast()

    @staticmethod
    def _autocast() -> tuple[Any, ...]:
        kinds = ((kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in _CASTING)
        return torch.is_autocast_cache_enabled(), *kinds

    def put_back(self) -> None:
        self.put_back_stacks()
        if torch.is_grad_enabled() != self.grad:
            torch._C._set_grad_enabled(self.grad)
        if self._autocast() != self.autocast:
            cached, *kinds = self.autocast
            torch.set_autocast_cache_enabled(cached)
            for kind, enabled, dtype in kinds:
                torch.set_autocast_enabled(kind, enabled)
                torch.set_autocast_dtype(kind, dtype)
            torch.clear_autocast_cache()

    def put_back_stacks(self) -> None:
        if not _same_modes(function_modes(), self.functions):
            while function_modes():
                torch.overrides._pop_mode()
            for mode in self.functions:
                torch.overrides._push_mode(mode)
        if not _same_modes(dispatch_modes(), self.operations):
            while dispatch_modes():
                torch.utils._python_dispatch._pop_mode()
            for mode in self.operations:
                torch.utils._python_dispatch._push_mode(mode)


def _same_modes(modes: list[Any], others: list[Any]) -> bool:
    return len(modes) == len(others) and all(a is b for a, b in zip(modes, others, strict=True))
