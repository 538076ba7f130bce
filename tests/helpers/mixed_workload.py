"""Mixed work for long runs, and checks for what it may leave behind."""

from __future__ import annotations

import ctypes
import gc
import itertools
import multiprocessing
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.models import mnist_cnn
from deconvviz.recording.tape import Tape
from deconvviz.trace import Trace
from tests.helpers.autograd_reference import randomised
from tests.helpers.small_networks import CReLU, Fails, SharedReLU, SkipBesideReLU, SmallResidual, WritesThroughViews

# Model, channels, sides of images that it takes, a layer with positions
NETWORKS: tuple[tuple[Callable[[], nn.Module], int, tuple[int, int], tuple[str, ...]], ...] = (
    (SmallResidual, 3, (13, 40), ("wide", "fc", "twice_1", "relu")),
    (SkipBesideReLU, 2, (9, 40), ("second", "last")),
    (SharedReLU, 2, (9, 40), ("relu_1", "last")),
    (CReLU, 2, (9, 40), ("first", "last")),
    (WritesThroughViews, 2, (9, 40), ("last",)),
    (mnist_cnn, 1, (28, 28), ("conv2", "fc1")),
)
STYLES = ("deconvnet", "guided", "gradient")


def rounds(count: int, seed: int = 0, device: str = "cpu", life: int = 40) -> Iterator[int]:
    """Run one round after another: a trace and projections, or a call that fails.

    life: all models are created anew after this many rounds.
    """
    chance = random.Random(seed)
    nets: list[tuple[dv.DeconvNet, int, tuple[int, int], tuple[str, ...]]] = []
    for number in range(count):
        if number % life == 0:
            nets = [
                (dv.DeconvNet(randomised(make()).to(device), style), *rest)
                for (make, *rest), style in zip(NETWORKS, itertools.cycle(STYLES), strict=False)
            ]
        net, channels, sides, layers = chance.choice(nets)
        size = [chance.randint(*sides) for _ in range(2)]
        x = torch.randn(chance.randint(1, 3), channels, *size, device=device)
        chance.choice(MISTAKES if chance.random() < 0.2 else WORK)(net, x, chance.choice(layers), chance)
        yield number


def _projects(net: dv.DeconvNet, x: Tensor, layer: str, chance: random.Random) -> None:
    window = chance.choice(["auto", "full"])
    trace = net.trace(x, [layer])
    net.project(trace, layer, window=window)
    net.project(trace, layer, channel=0, seed="one", window=window)


def _projects_places(net: dv.DeconvNet, x: Tensor, layer: str, chance: random.Random) -> None:
    net.project(x, layer, channel=[0, 1], position="all" if layer != "fc" else ())


def _reconstructs(net: dv.DeconvNet, x: Tensor, layer: str, chance: random.Random) -> None:
    net.reconstruct(x, layer)
    net.layers(x[:1])


def _draws(net: dv.DeconvNet, x: Tensor, layer: str, chance: random.Random) -> None:
    net.project(x[:1], layer, channel=0).figure()


def _fails(call: Callable[[], Any]) -> None:
    try:
        call()
    except (dv.errors.DeconvVizError, ArithmeticError):
        return
    raise AssertionError("it should have failed")


WORK = (_projects,) * 6 + (_projects_places, _reconstructs) * 3 + (_draws,)
MISTAKES = (
    lambda net, x, layer, chance: _fails(lambda: net.project(x, "nowhere", channel=0)),
    lambda net, x, layer, chance: _fails(lambda: net.project(x, layer, channel=10_000)),
    lambda net, x, layer, chance: _fails(lambda: net.project(x * torch.nan, layer, channel=0)),
    lambda net, x, layer, chance: _fails(lambda: net.project(x[:, :0], layer, channel=0)),
    lambda net, x, layer, chance: _fails(lambda: dv.DeconvNet(Fails()).trace(torch.zeros(1, 1, 9, 9))),
    lambda net, x, layer, chance: _fails(lambda: dv.scan(net, x, layers=["nowhere"], progress=False)),
)


class Generated(torch.utils.data.Dataset[Tensor]):
    """Images (1, side, side) that are made when they are asked for; `seen` is told of each."""

    def __init__(self, count: int, side: int, seen: Callable[[int], None] = lambda index: None) -> None:
        self.count, self.side, self.seen = count, side, seen

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        self.seen(index)
        return torch.randn(1, self.side, self.side, generator=torch.Generator().manual_seed(index))


def scanned() -> nn.Module:
    """A network for `Generated`."""
    return nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU())


# Memory and objects


def give_back() -> None:
    """Return freed memory to the system, including what the C library's allocator keeps for later calls."""
    gc.collect()
    if sys.platform == "linux":
        getattr(ctypes.CDLL(None), "malloc_trim", lambda keep: None)(0)


def resident() -> float:
    """The resident size of this process in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def held() -> dict[str, int]:
    """Counts of the resources that a run may fail to release."""
    gc.collect()
    found = gc.get_objects()
    return {
        "open files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "threads of the system": len(os.listdir("/proc/self/task")),
        "processes": len(multiprocessing.active_children()),
        "dispatch modes": torch._C._len_torch_dispatch_stack(),
        "function modes": torch._C._len_torch_function_stack(),
        "hooks of all modules": len(nn.modules.module._global_forward_hooks),
        "hooks": sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in of(found, nn.Module)),
        "modules": len(of(found, nn.Module)),
        "tapes and traces": len(of(found, Tape, Trace)),
        "tensors": len(of(found, Tensor)),
    }


def of(found: list[Any], *kinds: type) -> list[Any]:
    return [item for item in found if issubclass(type(item), kinds)]  # isinstance would ask what only looks like one
