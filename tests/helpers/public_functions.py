"""The public functions and their parameters, looked up in the public modules, and a small network to call them with."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

import deconvviz as dv
from deconvviz import models, results

MODULES = ("evidence", "experiments", "figures", "images", "models", "data", "rules")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    return nn.Sequential(*layers).eval()


MODEL = network()
NET = dv.DeconvNet(MODEL)
X = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
DATA, LABELS = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(2)), torch.tensor([0, 1] * 3)
MANY = torch.rand(36, 1, 8, 8, generator=torch.Generator().manual_seed(3))  # enough for `mixed_channels`
TOP = dv.scan(NET, DATA, layers=["0", "2"], k=2, progress=False)
BOXES = torch.tensor([[[0, 4], [0, 4]]] * 2)
WEIGHTS = [network().state_dict(), MODEL.state_dict()]
QUIET = {"progress": False}


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """All that a user calls: functions of the public modules, constructors and methods, by name."""
    for module in (dv, *(importlib.import_module(f"deconvviz.{name}") for name in MODULES)):
        for name in getattr(module, "__all__", vars(module)):
            item = getattr(module, name)
            home = getattr(item, "__module__", None)
            if name.startswith("_") or (not hasattr(module, "__all__") and home != module.__name__):
                continue
            if inspect.isfunction(item):
                yield name, item
    for kind in (dv.DeconvNet, dv.DeconvNetAttribution, dv.NeuronDeconvNetAttribution, models.MnistCNN, results.Result):
        for name, item in vars(kind).items():
            if name == "__init__" or not name.startswith("_"):
                function = getattr(item, "__func__", item)
                if inspect.isfunction(function):
                    yield f"{kind.__name__}.{name}", function


FUNCTIONS = dict(functions())
PARAMETERS = {name: dict(inspect.signature(function).parameters) for name, function in FUNCTIONS.items()}
CAPTUMS = ("DeconvNetAttribution.attribute", "NeuronDeconvNetAttribution.attribute")  # whose signatures are Captum's
INTERNAL = ("DeconvNet.sent_back", "DeconvNet.check_samples", "to_input")  # called by the library itself


def taking(parameter: str) -> set[str]:
    """The names of the functions that have a parameter of this name."""
    return {name for name, parameters in PARAMETERS.items() if parameter in parameters} - {*INTERNAL}
