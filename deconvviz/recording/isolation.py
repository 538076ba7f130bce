"""Running a user's model without leaving a trace on it."""

from __future__ import annotations

import os
import threading
from typing import Any

import torch
from torch import nn

from deconvviz.arguments import is_net
from deconvviz.errors import InputError, ModelError
from deconvviz.io.default_device import callers_default
from deconvviz.recording.eval_mode import EvalMode
from deconvviz.recording.model_checks import check_whole
from deconvviz.recording.programs import as_modules
from deconvviz.recording.random_state import forked


class _Process:
    """State of the process: the lock under which a model runs, and whether torch's threads exist.

    A run temporarily changes the model and the whole process: modes, random state, torch's fast paths, the `forward` of
    autograd functions. So one thread at a time runs a model, and the others wait.
    """

    turn = threading.RLock()
    used_threads = False  # torch has started its own
    lost_threads = False  # a forked process has none of them, and torch would wait for them forever


def _reset_after_fork() -> None:
    # The thread that runs a model was not forked either, so the lock would never be released.
    _Process.turn, _Process.lost_threads = threading.RLock(), _Process.used_threads


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


def check_threads() -> None:
    """Raise InputError in a forked process in which torch would wait forever for threads that do not exist."""
    if torch.get_num_threads() > 1:
        _Process.used_threads = True
        if _Process.lost_threads:
            raise InputError(
                "this process was forked from one that had used torch's threads, which are not here; call "
                "torch.set_num_threads(1) first, or start processes by the method 'spawn'"
            )


def unwrapped(model: Any) -> nn.Module:
    """The model inside DataParallel, DistributedDataParallel, `torch.compile` and `DeconvNet`.

    TorchScript and exported programs become modules of Python.
    """
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif is_net(model):
            model = model.model
        elif isinstance(model := as_modules(model), nn.Module):
            if type(model).__call__ is not nn.Module.__call__ and hasattr(model, "predict") and part_of(model):
                raise ModelError(
                    f"the model {type(model).__name__} is called for predictions, not as a module{part_of(model)}"
                )
            return model
        else:
            raise ModelError(f"the model must be a torch.nn.Module, not {type(model).__name__}{part_of(model)}")


def part_of(holder: Any) -> str:
    """A clause that says which attribute of an object is the model, or ''."""
    if isinstance(holder, type) or not hasattr(holder, "__dict__"):
        return ""
    known = {**vars(holder), **getattr(holder, "_modules", {})}
    found = [name for name, value in known.items() if isinstance(value, nn.Module)]
    return f"; its attribute {' or '.join(map(repr, found[:3]))} is one" if found else ""


class as_it_was(EvalMode):
    """A context in which a model is in eval mode, and after which it and the random state are as before.

    Inside, torch takes no fast path in which operations would not be seen: neither compiled code nor that of its
    transformer layers. The default device is the caller's. Another thread that enters waits until this one has left.
    Other settings for the run are made through `enter_context` and `callback`.
    """

    def set_up(self) -> None:
        check_threads()
        turn = _Process.turn
        while not turn.acquire(timeout=0.1):
            self.hear_signals()
        self.callback(turn.release)
        self.look()
        check_whole(self.model, self.parts.parameters)
        self.enter_context(forked({parameter.device for parameter in self.parts.parameters}))
        self.enter_context(torch.compiler.set_stance("force_eager"))
        if callers_default.device is not None:
            self.enter_context(callers_default.device)
        self.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        self.enter_eval_mode()
