"""Random networks: a graph of operations drawn from a seed, with skips, joins, reuse, in-place and functional calls.

The graph is drawn while a network is built, on the shapes that its operations give, and then run as drawn.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Step = Callable[[list[Tensor]], Tensor]


class RandomNetwork(nn.Module):
    """3 to 15 operations. `layers` names the modules whose outputs may be projected."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        torch.manual_seed(seed)
        draw = self.random
        self.shape = (2, draw.randint(1, 4), draw.randint(6, 17), draw.randint(6, 17))
        self.steps: list[tuple[Step, list[int]]] = []
        self.relu, self.relu_in_place = nn.ReLU(), nn.ReLU(inplace=True)
        values = [torch.randn(self.shape, dtype=torch.float64)]
        wanted = draw.randint(3, 15)
        for _ in range(10 * wanted):
            if len(self.steps) == wanted:
                break
            sources = [len(values) - 1 if draw.random() < 0.75 else draw.randrange(len(values)) for _ in range(3)]
            step = self._drawn([values[s] for s in sources])
            if step is None:
                continue
            try:
                with torch.no_grad():
                    made = step([values[s].clone() for s in sources])
            except (RuntimeError, IndexError):  # too small for it
                continue
            if made.numel() == 0 or made.numel() > 60_000 or not bool(torch.isfinite(made).all()):
                continue
            values.append(made)
            self.steps.append((step, sources))
        self.probe = nn.Conv2d(values[-1].shape[1], 3, 1).double()
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for step, sources in self.steps:
            values.append(step([values[s] for s in sources]))
        return self.probe(values[-1])

    def _added(self, module: nn.Module) -> nn.Module:
        for name, buffer in module.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.5)
        module = module.double().eval()
        self.add_module(f"m{len(self._modules)}", module)
        return module

    def _drawn(self, inputs: list[Tensor]) -> Step | None:
        """A random operation on values like `inputs`; None where the one drawn does not fit."""
        draw = self.random
        x, y = inputs[0], inputs[1]
        channels, height, width = x.shape[1:]
        kind = draw.choice(
            4 * ["convolution", "rectifier"]
            + 2 * ["pool", "sum", "join"]
            + ["norm", "transposed", "again", "write", "resize", "shuffle", "slice", "scale", "gate", "pad"]
        )
        if kind == "convolution":
            return self._single(self._added(self._convolution(channels, height, width)))
        if kind == "transposed":
            if max(height, width) > 12:
                return None
            stride = draw.choice([1, 2])
            options: dict[str, Any] = {"stride": stride, "padding": draw.choice([0, 1]), "output_padding": stride - 1}
            return self._single(self._added(nn.ConvTranspose2d(channels, draw.randint(1, 4), 3, **options)))
        if kind == "rectifier":
            return self._rectifier()
        if kind == "pool":
            return self._pool(height, width)
        if kind == "norm":
            norms = [nn.BatchNorm2d(channels), nn.LocalResponseNorm(draw.randint(1, 3)), nn.GroupNorm(1, channels)]
            return self._single(self._added(draw.choice(norms)))
        if kind == "sum":
            return self._sum() if x.shape == y.shape else None
        if kind == "join":
            same = [v for v in inputs if v.shape[2:] == x.shape[2:]]
            return (lambda v: torch.cat(v, 1)) if len(same) == 3 and sum(v.shape[1] for v in same) < 20 else None
        if kind == "again":
            fitting = [m for m in self._modules.values() if getattr(m, "in_channels", 0) == channels]
            return self._single(draw.choice(fitting)) if fitting else None
        if kind == "write":
            return _written_part
        if kind == "resize":
            mode = draw.choice(["nearest", "bilinear"])
            if draw.random() < 0.5:
                factor = draw.choice([2, 3])
                return lambda v: F.interpolate(v[0], scale_factor=factor, mode=mode)
            size = (draw.randint(3, 14), draw.randint(3, 14))
            return lambda v: F.interpolate(v[0], size=size, mode=mode)
        if kind == "shuffle":
            return (lambda v: F.channel_shuffle(v[0], 2)) if channels % 2 == 0 else None
        if kind == "slice":
            return (lambda v: v[0][:, :, 1:, ::2]) if min(height, width) > 3 else None
        if kind == "scale":
            factor = torch.randn(1, channels, 1, 1, dtype=torch.float64)
            return lambda v: v[0] * factor - 0.5
        if kind == "gate":
            return lambda v: v[0] * torch.sigmoid(v[0].mean((2, 3), keepdim=True))
        mode = draw.choice(["constant", "reflect", "replicate", "circular"])
        return (lambda v: F.pad(v[0], (1, 2, 0, 1), mode=mode)) if min(height, width) > 3 else None

    def _convolution(self, channels: int, height: int, width: int) -> nn.Module:
        draw = self.random
        groups = draw.choice([g for g in (1, 2, channels) if channels % g == 0])
        dilation = draw.choice([1, 1, 2])
        kernel = draw.choice([1, 2, 3])
        reach = dilation * (kernel - 1) + 1
        padding = draw.choice([0, 1, 2]) if kernel > 1 else 0
        if min(height, width) + 2 * padding < reach:
            kernel, padding = 1, 0
        mode = (
            draw.choice(["zeros", "zeros", "zeros", "reflect", "circular"]) if min(height, width) > padding else "zeros"
        )
        options: dict[str, Any] = {"stride": draw.choice([1, 1, 2]), "padding": padding, "dilation": dilation}
        bias = draw.random() < 0.7
        return nn.Conv2d(
            channels, groups * draw.randint(1, 3), kernel, groups=groups, bias=bias, padding_mode=mode, **options
        )

    def _rectifier(self) -> Step:
        plain = [F.relu, torch.relu, self.relu, F.relu6, F.leaky_relu, F.elu, F.gelu, F.silu, F.hardswish, F.softplus]
        choice = self.random.randrange(len(plain) + 3)
        if choice < len(plain):
            return self._single(plain[choice])
        if choice == len(plain):
            return lambda v: (v[0] * 1.0).relu_()
        if choice == len(plain) + 1:
            return lambda v: F.relu(v[0] + 0.1, inplace=True)
        return lambda v: self.relu_in_place(v[0] - 0.1)

    def _pool(self, height: int, width: int) -> Step | None:
        draw = self.random
        kernel, stride = draw.choice([2, 3]), draw.choice([1, 2, 3])
        options: dict[str, Any] = {"padding": draw.choice([0, 1]), "ceil_mode": draw.random() < 0.5}
        if min(height, width) < 2 * kernel:
            return None
        kind = draw.randrange(5)
        if kind == 0:
            return lambda v: F.avg_pool2d(v[0], kernel, stride, **options)
        if kind == 1:
            return lambda v: F.adaptive_avg_pool2d(v[0], (3, 2))
        if kind == 2:
            return lambda v: F.adaptive_max_pool2d(v[0], (3, 4))
        return lambda v: F.max_pool2d(v[0], kernel, stride, **options)

    def _sum(self) -> Step:
        if self.random.random() < 0.5:
            return lambda v: v[0] + v[1]

        def in_place(v: list[Tensor]) -> Tensor:
            made = v[0] * 1.0
            made += v[1]
            return made

        return in_place

    @staticmethod
    def _single(function: Callable[[Tensor], Tensor]) -> Step:
        return lambda v: function(v[0])


def _written_part(v: list[Tensor]) -> Tensor:
    """A copy, one channel of which is overwritten through a view, and one row added to."""
    made = v[0] * 1.0
    made[:, 0] = made[:, -1] * 0.5
    made[:, :, 1].add_(0.3)
    return made
