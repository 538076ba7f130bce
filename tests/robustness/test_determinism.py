"""The same input gives the same result: to the last bit, or to rounding where torch promises no more."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import deconvviz as dv
from tests.helpers.autograd_reference import randomised, relative_error
from tests.helpers.small_networks import SmallResidual

ROOT = Path(__file__).parents[2]
ROUNDING = 1e-10  # of float64; in float32 a unit's own activation may be a small difference of large numbers


def network() -> nn.Module:
    torch.manual_seed(5)
    return randomised(SmallResidual())


def images() -> Tensor:
    return torch.randn(2, 3, 33, 29, generator=torch.Generator().manual_seed(6))


def everything(model: nn.Module, x: Tensor, samples: slice = slice(None)) -> dict[str, Tensor]:
    """Results of every kind, on whole maps and on windows."""
    net, x = dv.DeconvNet(model), x[samples]
    found = {}
    for layer in ("wide", "fc"):
        for window in ("auto", "full"):
            found[f"{layer} {window}"] = net.project(x, layer, channel=[0, 1], window=window).pixels
        found[f"{layer} whole"] = net.reconstruct(x, layer).pixels
    found["places"] = net.project(x, "wide", channel=[0, 3], position=(1, 2)).pixels
    found["units"] = net.project_units(x, "wide", [(0, 1, (2, 3)), (0, 2, (0, 0))]).pixels
    top = dv.scan(net, x, layers=["wide", "fc"], k=2, batch_size=2, progress=False)
    return found | {f"{name} of {layer}": part[layer] for layer in ("wide", "fc") for name, part in parts(top).items()}


def parts(top: dv.results.TopActivations) -> dict[str, dict[str, Tensor]]:
    return {"values": top.values, "images": top.images, "positions": top.positions}


def unequal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> list[str]:
    return [name for name, value in expected.items() if not torch.equal(found[name], value)]


def digest(found: dict[str, Tensor]) -> str:
    summed = hashlib.sha256()
    for name, value in found.items():
        summed.update(name.encode() + value.contiguous().numpy().tobytes())
    return summed.hexdigest()


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    return everything(network(), images())


# Run to run


def test_again_after_other_work(expected):
    model, x = network(), images()
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(3, 70, 5), nn.ReLU(), nn.Conv2d(70, 9, 3)))
    for _ in range(3):
        assert unequal(everything(model, x), expected) == []
        net.project(torch.randn(5, 3, 40, 41), "2")  # of other sizes, drawing random numbers
        torch.randn(100, 300) @ torch.randn(300, 200)
    assert all(float(value.abs().max()) > 0 for name, value in expected.items() if "wide" in name)


def test_in_another_process():
    code = f"""
import torch
torch.set_num_threads({torch.get_num_threads()})
torch.rand(7)
from tests.robustness import test_determinism as it
print(it.digest(it.everything(it.network(), it.images())))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [digest(everything(network(), images()))]


# What changes the rounding, and no more


def test_what_else_is_in_the_batch_changes_rounding_alone():
    """torch chooses its kernels by the size of the batch, and other kernels add up in another order."""
    model, x = network().double(), images().double()
    together = everything(model, x)
    for n in range(len(x)):
        alone = everything(model, x, slice(n, n + 1))
        for name in ("wide auto", "wide full", "wide whole", "fc full", "fc whole", "places"):
            here = together[name].unflatten(0, (len(x), -1))[n]
            assert relative_error(alone[name], here) < ROUNDING, name


def test_the_number_of_threads_changes_rounding_alone():
    model, x = network().double(), images().double()
    before, expected = torch.get_num_threads(), everything(model, x)
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found = everything(model, x)
            for name, value in expected.items():
                if value.is_floating_point():
                    assert relative_error(found[name], value) < ROUNDING, name
                else:
                    assert torch.equal(found[name], value), name
    finally:
        torch.set_num_threads(before)


# Around the call


class Dispatching(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class Calling(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def switched(switch, on, off) -> Iterator[None]:
    switch(on)
    try:
        yield
    finally:
        switch(off)


SURROUNDINGS = {
    "inference mode": torch.inference_mode,
    "gradients": torch.enable_grad,
    "no gradients": torch.no_grad,
    "anomalies": lambda: torch.autograd.detect_anomaly(check_nan=True),
    "deterministic": lambda: switched(torch.use_deterministic_algorithms, True, False),
    "double by default": lambda: switched(torch.set_default_dtype, torch.float64, torch.float32),
    "half by default": lambda: switched(torch.set_default_dtype, torch.float16, torch.float32),
    "a device": lambda: torch.device("cpu"),
    "another device": lambda: torch.device("meta"),  # as "cuda" for all that is not told where to be
    "another device by default": lambda: switched(torch.set_default_device, "meta", None),
    "counting": lambda: FlopCounterMode(display=False),
    "dispatching": Dispatching,
    "calling": Calling,
    "saving": torch.autograd.graph.save_on_cpu,
    "refusing to save": lambda: torch.autograd.graph.disable_saved_tensors_hooks("none here"),
}


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_what_is_switched_on_around_a_call_changes_nothing(name, expected):
    model, x = network(), images()
    with SURROUNDINGS[name]():
        found = everything(model, x.clone())
    assert unequal(found, expected) == []
    assert not found["fc full"].requires_grad


# CUDA


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore::UserWarning")  # of operations that have no deterministic form
def test_on_cuda_to_rounding_and_exactly_where_asked(expected, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    model, x = network().cuda(), images().cuda()
    first, second = everything(model, x), everything(model, x)
    for name, value in first.items():
        if value.is_floating_point():
            assert relative_error(second[name], value) < 1e-4, name
    with switched(torch.use_deterministic_algorithms, True, False):
        assert unequal(everything(model, x), everything(model, x)) == []
