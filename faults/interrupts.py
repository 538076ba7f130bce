"""Interrupts calls at random moments and checks that nothing stays changed: `python -m faults.interrupts`.

An interrupt arrives where Python would deliver it: at the start of a function, after a call, or at the end of a loop
iteration, in the code of the library, of torch, of Captum or of the model. There, the installed handler of SIGINT is
called with the current frame, as Python does. Some interrupts are real signals, sent by another thread after a random
time. After each one, the model and the process are compared with their earlier state.
"""

from __future__ import annotations

import argparse
import dis
import functools
import gc
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import torch
from captum.attr import visualization  # noqa: F401  what is imported late would be interrupted half way
from torch import Tensor, nn
from torch.nn.modules import module as every_module

import deconvviz as dv
from deconvviz import evidence, experiments
from deconvviz.io import restoring
from deconvviz.recording import isolation

# Instructions behind which the interpreter looks for signals, by the beginning of their names.
_DELIVERS = ("RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE", "CALL", "PRECALL")


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Tensor:
        return signal * 2


class Merged(nn.Conv2d):
    """Merges its weights in place in `train(False)`, and undoes that in `train(True)`."""

    merged = False

    def train(self, mode: bool = True) -> Merged:
        super().train(mode)
        if mode == self.merged:
            self.weight.data.mul_(0.5 if mode else 2)
            self.merged = not mode
        return self


class Model(nn.Module):
    """Changes everything that a model may change while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm = Merged(3, 4, 3), nn.BatchNorm2d(4)
        self.two, self.fc = nn.Conv2d(4, 4, 3), nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = x
        self.seen.append(x)
        with torch.autocast("cpu", enabled=False):
            x = torch.relu(self.norm(self.one(x)))
        with torch.enable_grad():
            x = Doubled.apply(x)
        self.two.weight.data = torch.renorm(self.two.weight.data, 2, 0, 1.0)
        x = self.two(x) + torch.rand(()) * 0
        return self.fc(x.amax((2, 3)))


def situation(model: nn.Module) -> dict[str, Any]:
    """All the state that an interrupted call must leave unchanged."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_hooks_always_called")
    return {
        "modes": [module.training for module in model.modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "containers": [len(value) for value in vars(model).values() if isinstance(value, list)],
        "hooks": [len(getattr(module, name)) for module in model.modules() for name in hooks],
        "hooks of all modules": [len(getattr(every_module, f"_global{name}")) for name in hooks[:3]],
        "tensors": [
            (name, id(tensor), tensor.data_ptr(), tensor.requires_grad, tensor.grad is None, tensor.flatten().tolist())
            for name, tensor in (*model.named_parameters(), *model.named_buffers())
        ],
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "autocast": [
            (kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda")
        ],
        "autocast's memory": torch.is_autocast_cache_enabled(),
        "modes of torch": (restoring.function_modes(), restoring.dispatch_modes()),
        "keys": (
            torch._C._dispatch_tls_local_include_set().raw_repr(),
            torch._C._dispatch_tls_local_exclude_set().raw_repr(),
        ),
        "default": (torch.get_default_dtype(), torch.empty(0).device),
        "compiling": torch._dynamo.eval_frame._stance.stance,
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "random numbers": torch.get_rng_state().tolist(),
        "autograd functions": (Doubled.__dict__["forward"].__func__, "__getattribute__" in type(Doubled).__dict__),
        "signals": [signal.getsignal(number) for number in restoring.INTERRUPTS],
        "open blocks": (len(restoring._Interrupts.holders), len(restoring._Interrupts.waiting)),
        "turn": _free(isolation._Process.turn),
        "search for unreachable objects": gc.get_threshold(),
        "warnings": list(warnings.filters),
        "threads": threading.active_count(),
    }


def _free(lock: Any) -> bool:
    """Whether another thread can acquire the lock."""
    found: list[bool] = []

    def tried() -> None:
        if lock.acquire(timeout=5):
            lock.release()
            found.append(True)

    thread = threading.Thread(target=tried)
    thread.start()
    thread.join()
    return bool(found)


def workloads() -> tuple[nn.Module, dict[str, Callable[[], Any]]]:
    """A model in training mode, and calls that run it."""
    torch.manual_seed(0)
    model = Model().train()
    x = torch.randn(2, 3, 10, 10)
    net, small = dv.DeconvNet(model), dv.DeconvNet(model, "gradient")
    images = list(x)
    return model, {
        "layers": lambda: net.layers(x),
        "trace": lambda: net.trace(x),
        "project": lambda: net.project(x, "two", channel=[0, 1]),
        "project at": lambda: small.project(x, "two", channel=0, position=(1, 1)),
        "project_units": lambda: net.project_units(x, "norm", [(0, 1, (2, 2)), (1, 0, (3, 3))]),
        "reconstruct": lambda: net.reconstruct(x, "two"),
        "scan": lambda: dv.scan(net, images, layers=["two"], k=1, batch_size=1, progress=False),
        "occlusion": lambda: experiments.occlusion(
            net, x[:1], layer="two", patch=5, stride=5, batch_size=1, progress=False
        ),
        "Captum": lambda: dv.NeuronDeconvNetAttribution(model, model.two).attribute(x, (0, 1, 1)),
        "compare": lambda: dv.compare(net, x[:1], layer="two", channel=0, methods=["deconvnet", "NeuronGradient"]),
        "selectivity": lambda: evidence.selectivity(net, x, "two", count=2, methods=["deconvnet"]),
    }


# The moment of an interrupt


@functools.cache
def _moments(code: CodeType) -> frozenset[int]:
    """Offsets of instructions before which an interrupt may arrive."""
    found, due = set(), False
    for instruction in dis.get_instructions(code):
        if due:
            found.add(instruction.offset)
        due = instruction.opname.startswith(_DELIVERS)
    return frozenset(found)


def _places(frame: FrameType | None) -> list[str]:
    """Where a frame is, and the three frames that called it."""
    places: list[str] = []
    while frame is not None and len(places) < 4:
        places.append(f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}")
        frame = frame.f_back
    return places


class At:
    """Interrupts the n-th function that is called, before the k-th of its moments."""

    def __init__(self, call: int, moment: int) -> None:
        self.call, self.moment = call, moment
        self.calls, self.where = 0, ""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "call":
            self.calls += 1
            if self.calls != self.call or not _moments(frame.f_code):
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            return self.inside
        return None

    def inside(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode" and not self.where and frame.f_lasti in _moments(frame.f_code):
            self.moment -= 1
            if self.moment < 0:
                self.where = " from ".join(_places(frame))
                sys.settrace(None)
                handler = signal.getsignal(signal.SIGINT)
                assert callable(handler)
                handler(signal.SIGINT, frame)
        return self.inside


def interrupted(run: Callable[[], Any], at: At) -> bool:
    """Whether the interrupt ended the call."""
    sys.settrace(at)
    try:
        run()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def counted(run: Callable[[], Any]) -> int:
    """The number of functions that `run` calls."""
    at = At(0, 0)
    interrupted(run, at)
    return at.calls


def signalled(run: Callable[[], Any], delay: float) -> bool:
    """Whether a real signal, sent after so many seconds, ended the call."""

    def send() -> None:
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    try:
        try:
            thread.start()
            run()
        finally:
            thread.join()
        time.sleep(0)
    except KeyboardInterrupt:
        return True
    return False


def trial(total: int, seed: int, names: list[str] | None = None, real: int = 0) -> tuple[Counter[str], list[str]]:
    """Interrupt `count` times; return the number of interrupts by outcome, and what stayed changed."""
    lot, done, wrong = random.Random(seed), Counter[str](), []
    model, runs = workloads()
    chosen = names or list(runs)
    calls, length = {}, {}
    for name in chosen:
        for _ in range(2):  # imports and sets up what the first call needs
            runs[name]()
        started = time.perf_counter()
        runs[name]()
        length[name], calls[name] = time.perf_counter() - started, counted(runs[name])
    gc.collect()
    before = situation(model)
    attempts = 0
    while done.total() < total and attempts < 20 * total:
        attempts += 1
        name = chosen[attempts % len(chosen)]
        if done.total() < total - real:
            at = At(lot.randint(1, calls[name]), min(lot.randrange(12), lot.randrange(12)))
            ended, where = interrupted(runs[name], at), at.where
            if not where:
                continue
        else:
            ended, where = signalled(runs[name], lot.random() * length[name]), "a signal"
        done["ended" if ended else "went on"] += 1
        after = situation(model)
        if done.total() % 500 == 0:
            print(f"{done.total()} interrupts, {len(wrong)} left something changed", flush=True)
        if left := [key for key in before if before[key] != after[key]]:
            wrong.append(f"{name}, at {where}: {', '.join(left)}")
            model, runs = workloads()
            before = situation(model)
    return done, wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m faults.interrupts", description=__doc__.partition("\n")[0])
    parser.add_argument("calls", nargs="*", help=f"some of: {', '.join(workloads()[1])} (all)")
    parser.add_argument("--total", type=int, default=5000, help="interrupts (%(default)s)")
    parser.add_argument("--signals", type=int, default=300, help="how many of them are real signals (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()
    done, wrong = trial(given.total, given.seed, given.calls or None, given.signals)
    for line in wrong:
        print(line)
    minutes = (time.monotonic() - started) / 60
    print(f"{done.total()} interrupts, {dict(done)}, {len(wrong)} left something changed, {minutes:.1f} minutes")
    return bool(wrong) or done.total() < given.total


if __name__ == "__main__":
    sys.exit(main())
