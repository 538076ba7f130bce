"""Random networks: source drawn from a seed, so that a network that fails can be printed, run and made smaller.

Steps are drawn one after the other, each run at once on what those before made; what fails, explodes or mixes samples
is not taken. All numbers follow from names, so that a network of which steps were taken away keeps those that it has.

    >>> network = random_network(4)
    >>> model, x = network.built(), network.images()
    >>> model(x).shape[:2]
    torch.Size([3, 3])
"""

from __future__ import annotations

import random
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests.helpers.autograd_reference import Call, ReferenceRun
from tests.helpers.random_networks import parts as random_parts
from tests.helpers.random_networks import rarities as random_rarities  # noqa: F401  registers its kinds
from tests.helpers.random_networks.kinds import KINDS
from tests.helpers.random_networks.parts import constant

PROBE = 3  # channels of the last layer
LARGEST = 2500  # numbers per sample
LOCAL = ("filter", "filter", "rectifier", "pool", "sum", "resize")  # families of networks whose units see windows
GLOBAL = ("linear", "matrix", "dynamic_convolution", "odd_filter", "sampled", "fractional")
DETACHES = re.compile(r"detach\(\)|parts\.(straight|hard|nearest)")
OFTEN = {"filter": 5, "rectifier": 3, "norm": 3, "pool": 2, "sum": 2, "gate": 2, "place": 2, "complex": 2, "write": 2}
NAMES: dict[str, Any] = {"torch": torch, "nn": nn, "F": F, "np": np, "parts": random_parts, "checkpoint": checkpoint}


class Value(NamedTuple):
    """What a step made. shape: with the samples."""

    name: str
    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        return self.shape[1]

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.shape[2:]

    @property
    def rank(self) -> int:
        return len(self.sizes)

    @property
    def axes(self) -> tuple[int, ...]:
        return tuple(range(2, len(self.shape)))

    @property
    def count(self) -> int:  # type: ignore[override]
        return torch.Size(self.shape[1:]).numel()


@dataclass(frozen=True)
class Step:
    """Source that makes a value from others.

    smooth: whether its derivative by autograd is what finite differences say. alone: whether it is for one sample only.
    """

    kind: str
    made: str
    source: str
    channels: int
    rank: int
    keeps_shape_of: str = ""
    smooth: bool = True
    alone: bool = False
    loss: str = ""

    def lines(self) -> list[str]:
        *before, last = self.source.split("\n")
        return [*before, f"{self.made} = {last}", *([f"loss = {self.loss}"] if self.loss else [])]

    def reads(self, names: Sequence[str]) -> list[str]:
        text = self.source + self.loss
        return [name for name in names if re.search(rf"\b{name}\b", text)]


@dataclass(frozen=True)
class Network:
    """The source of a network. parts: of its modules and constants, by name."""

    seed: int
    shape: tuple[int, ...]
    parts: dict[str, str]
    steps: tuple[Step, ...]

    @property
    def smooth(self) -> bool:
        return all(step.smooth for step in self.steps)

    @property
    def coarse(self) -> bool:
        """Whether numbers pass through a half-precision type, to which autograd rounds the signal and deconvviz does not."""
        return any("half()" in step.source or "bfloat16" in step.source for step in self.steps)

    @property
    def single(self) -> bool:
        """Whether numbers pass through single precision."""
        return any("float()" in step.source or "torch.float32" in step.source for step in self.steps)

    @property
    def alone(self) -> bool:
        return any(step.alone for step in self.steps)

    @property
    def source(self) -> str:
        last, lossy = self.steps[-1], any(step.loss for step in self.steps)
        text = "\n".join(step.source for step in self.steps)
        lines = ["class Network(nn.Module):", "    def __init__(self):", "        super().__init__()"]
        lines += [f"        {line}" for name, line in self.parts.items() if re.search(rf"self\.{name}\b", text)]
        probe = f"nn.Conv{last.rank}d({last.channels}, {PROBE}, 1)"
        lines += [f'        self.probe = parts.drawn({probe}, "{self.seed} probe {last.channels}")', ""]
        lines += ["    def forward(self, v0):", *(f"        {line}" for step in self.steps for line in step.lines())]
        lines += [f"        return {'(' if lossy else ''}self.probe({last.made}){', loss)' if lossy else ''}"]
        return "\n".join(lines) + "\n"

    def built(self) -> nn.Module:
        scope = dict(NAMES)
        if random_parts.as_written:  # `torch.autograd.grad` cannot get through a reentrant checkpoint
            scope["checkpoint"] = lambda function, x, use_reentrant: function(x)
        exec(compile(self.source, f"<random network {self.seed}>", "exec"), scope)
        return scope["Network"]().eval()

    def images(self, name: str = "x") -> Tensor:
        return constant(f"{self.seed} {name}", *self.shape)

    def script(self) -> str:
        """A program to run at the root of the repository."""
        return (
            "import numpy as np\nimport torch\nimport torch.nn.functional as F\n"
            "from torch import nn\nfrom torch.utils.checkpoint import checkpoint\n\nimport deconvviz as dv\n"
            "from tests.helpers.random_networks import parts\n\n\n"
            f"{self.source}\n\nmodel = Network().eval()\n"
            f'x, y = parts.constant("{self.seed} x", *{self.shape}), parts.constant("{self.seed} y", *{self.shape})\n'
        )

    def smaller(self) -> list[Network]:
        """The same network with one step less, for each that can be spared."""
        found = [replace(self, steps=self.steps[:-1])] if len(self.steps) > 1 else []
        for place, step in enumerate(self.steps[:-1]):
            names = [step.made]
            if not any(later.reads(names) for later in self.steps[place + 1 :]):
                found.append(replace(self, steps=self.steps[:place] + self.steps[place + 1 :]))
        for place, step in enumerate(self.steps):
            if step.keeps_shape_of and step.source != step.keeps_shape_of:
                plain = replace(step, kind="", source=step.keeps_shape_of, smooth=True, alone=False, loss="")
                found.append(replace(self, steps=(*self.steps[:place], plain, *self.steps[place + 1 :])))
        return found


class Draw:
    """What kinds of steps draw from: numbers, modules, constants, and the values that there are."""

    def __init__(self, seed: int) -> None:
        self.seed, self.random = seed, random.Random(seed)
        self.integer = self.random.randint
        self.parts: dict[str, str] = {}
        self.root = nn.Module()
        self.values: list[Value] = []
        self.tensors: dict[str, Tensor] = {}
        self.alone_allowed = self.random.random() < 0.15
        self.smooth_only = self.random.random() < 0.5
        self.local = self.random.random() < 0.3
        self.detached = ""  # how values are detached so far
        self.begin()

    def begin(self) -> None:
        """A new step."""
        self._smooth, self._alone, self._loss = True, False, ""

    def choice(self, options: Sequence[Any]) -> Any:
        """One of them; a function among them is called only where it is the one."""
        chosen = self.random.choice(options)
        return chosen() if callable(chosen) else chosen

    @property
    def modules(self) -> dict[str, nn.Module | None]:
        return self.root._modules

    def coin(self) -> bool:
        return self.random.random() < 0.5

    def rough(self) -> None:
        self._smooth = False

    def lost(self, source: str) -> None:
        self._loss = source

    def alone(self) -> bool:
        """Whether the network is for one sample at a time, for which the step may ask."""
        wanted = self.alone_allowed
        self._alone |= wanted
        return wanted

    def module(self, source: str, wrap: str = "") -> str:
        name = f"m{len(self.parts)}"
        text = f'parts.drawn({source}, "{self.seed} {name}")'
        return self._added(name, f"{wrap}({text})" if wrap else text)

    def hooked(self, source: str) -> str:
        before = self.choice(["None", "lambda m, i: (i[0] * 0.8,)", "lambda m, i: i[0].sin()"])
        after = self.choice(["lambda m, i, o: o * i[0].mean(1, keepdim=True)", "lambda m, i, o: torch.tanh(o)"])
        name = f"m{len(self.parts)}"
        return self._added(name, f'parts.hooked(parts.drawn({source}, "{self.seed} {name}"), {before}, {after})')

    def _added(self, name: str, text: str) -> str:
        self.parts[name] = f"self.{name} = {text}"
        setattr(self.root, name, eval(text, dict(NAMES)))
        return f"self.{name}"

    def shared(self, source: str) -> str:
        known = [name for name, line in self.parts.items() if source in line]
        return f"self.{known[0]}" if known else self.module(source)

    def constant(self, *shape: int) -> str:
        name = f"c{len(self.parts)}"
        self.parts[name] = f'self.register_buffer("{name}", parts.constant("{self.seed} {name}", *{shape}))'
        self.root.register_buffer(name, constant(f"{self.seed} {name}", *shape))
        return f"self.{name}"

    def square(self, value: Value) -> str:
        return self.constant(value.sizes[-1], value.sizes[-1])

    def alike(self, value: Value) -> list[str]:
        return [other.name for other in self.values if other.shape == value.shape]

    def other(self, value: Value) -> str:
        """A value of the same shape; where there is no other one, the same."""
        found = self.alike(value)
        return self.choice([name for name in found if name != value.name] or found)

    def taken(self, family: str) -> Step | None:
        """A step of this family, run; None where it does not fit."""
        self.begin()
        value = self.values[-1] if self.random.random() < 0.75 else self.choice(self.values)
        if value.rank == 0:
            return None
        kind, make = self.choice(KINDS[family])
        if self.local and kind in GLOBAL:
            return None
        known, made = len(self.parts), f"v{len(self.values)}"
        try:
            source = make(self, value)
            fits = (self._smooth or not self.smooth_only) and (self.alone_allowed or not self._alone)
            if source is not None and source != value.name and fits:
                step = Step(f"{family}: {kind}", made, source, 0, 0, "", self._smooth, self._alone, self._loss)
                result = self._run(step)
                if result is not None and self._settled(f"{family}: {kind}", source):
                    self.values.append(Value(made, tuple(result.shape)))
                    kept = value.name if result.shape == value.shape else ""
                    return replace(step, channels=result.shape[1], rank=result.ndim - 2, keeps_shape_of=kept)
        except (RuntimeError, ValueError, IndexError, TypeError, AssertionError, ZeroDivisionError):
            pass  # too small for it, or not for so many axes
        for name in list(self.parts)[known:]:
            del self.parts[name]
            self.modules.pop(name, None)
            self.root._buffers.pop(name, None)
        return None

    def _settled(self, kind: str, source: str) -> bool:
        """Whether the reference knows what this step's detach does: it cannot stop at one and pass another.

        So values are cut off once, or detached beside another way any number of times.
        """
        if not DETACHES.search(source):
            return True
        found = "cut off" if kind.endswith("cut_off") else "beside another way"
        first, self.detached = not self.detached, self.detached or found
        return first or self.detached == found == "beside another way"

    def _run(self, step: Step) -> Tensor | None:
        source, results = "\n".join(step.lines()), []
        for samples in (slice(None), slice(1), slice(1, None)):
            tensors = {name: tensor[samples].clone() for name, tensor in self.tensors.items()}
            scope = {**NAMES, "self": self.root, **tensors}
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(source, scope)
            results.append(scope[step.made])
        made, *alone = results
        if not isinstance(made, Tensor) or made.dtype != torch.float64 or not 3 <= made.ndim <= 5 or len(made) != 2:
            return None
        if not 0 < made[0].numel() <= LARGEST or made.shape[1] > 24 or not 1e-2 < float(made.std()) < 30:
            return None
        if not step.alone and not torch.allclose(made, torch.cat(alone), 1e-6, 1e-8):  # samples met
            return None
        self.tensors[step.made] = made
        return made


def random_network(seed: int) -> Network:
    """3 to 12 steps, in one to three dimensions."""
    draw = Draw(seed)
    rank = draw.choice([1, 2, 2, 2, 2, 3])
    sizes = [draw.integer(*{1: (9, 30), 2: (5, 13), 3: (4, 6)}[rank]) + 4 * draw.local for _ in range(rank)]
    shape = (3, draw.integer(1, 4), *sizes)
    draw.values = [Value("v0", (2, *shape[1:]))]
    draw.tensors = {"v0": constant(f"{seed} x", *shape)[:2]}
    families = LOCAL if draw.local else tuple(KINDS)
    weights = [OFTEN.get(family, 1) for family in families]
    steps: list[Step] = []
    wanted = draw.integer(3, 12)
    for _ in range(8 * wanted):
        if len(steps) == wanted:
            break
        step = draw.taken(draw.random.choices(families, weights)[0])
        if step is not None:
            steps.append(step)
    while not steps:  # the image is too small for much
        if (step := draw.taken("filter")) is not None:
            steps.append(step)
    network = Network(seed, shape, draw.parts, tuple(steps))
    while len(network.steps) > 1 and not _has_gradients(network):
        network = replace(network, steps=network.steps[:-1])
    return network


def _has_gradients(network: Network) -> bool:
    """Whether autograd gets through it; it does not where something it needs was written over."""
    x = network.images()[: 1 if network.alone else None]
    random_parts.as_written = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call = Call("probe")
            run = ReferenceRun(network.built(), x, [call], "gradient")
            return call in run.activations and bool(run.sent_back(call, run.activations[call]).isfinite().all())
    except RuntimeError:
        return False
    finally:
        random_parts.as_written = False
