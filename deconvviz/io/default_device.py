"""The device on which torch creates tensors unless it is told one: a caller may have set another than the CPU."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from deconvviz.io.restoring import Restored

P = ParamSpec("P")
R = TypeVar("R")


class CallersDefault(threading.local):
    """The default device that the caller has set, if it is not the CPU; the user's model runs with it."""

    device: torch.device | None = None


callers_default = CallersDefault()


def on_the_cpu(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that it creates its own tensors on the CPU, whatever the caller's default device is."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        device = torch.empty(0).device  # torch 2.6 has no other way to ask after set_default_device(None)
        if device.type == "cpu":
            with Restored():
                return function(*args, **kwargs)
        with Restored(torch.device("cpu")) as settings:
            settings.callback(setattr, callers_default, "device", callers_default.device)
            callers_default.device = device
            return function(*args, **kwargs)

    return called
