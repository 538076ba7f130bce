"""When layers settle by themselves: one layer's weights vary inside the final network, beside a lock-step control.

*Alone*: the final network with one layer's weights from each checkpoint; the distance of that layer's pictures to the
final ones. *In lock-step*: the same, with weights on the straight line from the first checkpoint to the last, all
layers at one common rate: the mean over layers of how much of their way their weights have gone. A layer is *late* by
the time at which half of the distance is left alone, minus the same in lock-step.

Weights that are interpolated at one rate give no order, and neither does noise: "lower layers settle first" is said if
lateness rises with depth in each of at least three training runs, by a t test over them, and by a test that shuffles
the layers of each run. The t test assumes that runs vary normally, which three runs cannot show. The shuffles assume
nothing but that layers without an order could as well have been exchanged, and then claim one in at most 5 % of the
cases, whatever the distribution; two layers need six runs for it, since two can be shuffled in two ways only.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deconvviz.experiments._run_checkpoints import RunCheckpoint, times_of
from deconvviz.intervals import LEVEL, paired_difference
from deconvviz.io.restoring import Restored
from deconvviz.recording.layer_names import module_called
from deconvviz.results.words import agreeing, counted, in_digits

FEWEST_RUNS = 3  # training runs from which an order of layers is said
ROUNDING = 1e-6  # the distance of pictures up to which they are the same but for rounding
SHUFFLES = 9999  # random orders of the layers of each run


@dataclass(frozen=True)
class Settling:
    """How layers of one run settle by themselves; layers without weights of their own are missing.

    Attributes:
        times: The checkpoints' times.
        alone: Per layer (measured, T), distances to the final pictures with this layer's weights from each checkpoint.
        lockstep: The same with weights of the common rate.
    """

    times: tuple[float, ...]
    alone: dict[str, Tensor]
    lockstep: dict[str, Tensor]

    def half_times(self, layer: str) -> Tensor:
        """(2,), the times from which at most half of the distance is left: alone, and in lock-step."""
        both = (half_time(distances[layer].mean(0), self.times) for distances in (self.alone, self.lockstep))
        return torch.tensor(list(both), dtype=torch.float64)

    def lateness(self) -> dict[str, float]:
        """Per layer, how much later half of the distance is left alone than in lock-step; 0 if nothing changes."""
        halves = {layer: self.half_times(layer) for layer in self.alone}
        return {layer: float(half[0] - half[1]) for layer, half in halves.items()}


def settling_of(
    model: nn.Module, checkpoints: Sequence[RunCheckpoint], layers: Sequence[str], drawn: Callable[[str], Tensor]
) -> Settling:
    """How the layers of one run settle by themselves; the model has the last checkpoint's weights afterwards.

    Args:
        model: The model.
        checkpoints: The run.
        layers: Layer names.
        drawn: The pictures of a layer's units with the model's present weights, (measured, pixels).
    """
    own = {layer: _weights(module_called(layer, model)) for layer in layers}
    own = {layer: weights for layer, weights in own.items() if weights}
    kept: dict[str, list[list[Tensor]]] = {layer: [] for layer in own}
    for checkpoint in checkpoints:
        checkpoint.load_into(model)
        for layer, weights in own.items():
            kept[layer].append([weight.detach().clone() for weight in weights])
    times = times_of([checkpoint.name for checkpoint in checkpoints])
    way = _common_way(kept, len(times))
    alone, lockstep = {}, {}
    for layer, weights in own.items():
        final, states = drawn(layer), kept[layer]
        on_the_line = ([a + share * (b - a) for a, b in zip(states[0], states[-1], strict=True)] for share in way)
        alone[layer] = _distances(weights, iter(states), functools.partial(drawn, layer), final)
        lockstep[layer] = _distances(weights, on_the_line, functools.partial(drawn, layer), final)
        _copy(weights, states[-1])
    return Settling(times, alone, lockstep)


def _weights(module: nn.Module | None) -> list[Tensor]:
    if module is None:
        return []
    return [tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point()]


def _copy(weights: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    with Restored(torch.no_grad()):
        for weight, value in zip(weights, values, strict=True):
            weight.copy_(value)


def _distances(
    weights: Sequence[Tensor], states: Iterator[list[Tensor]], drawn: Callable[[], Tensor], final: Tensor
) -> Tensor:
    """(measured, T), distances to the final pictures with each state of a layer's weights."""
    columns = []
    for state in states:
        _copy(weights, state)
        columns.append(distance(drawn(), final))
    return torch.stack(columns, 1)


def _common_way(kept: Mapping[str, Sequence[Sequence[Tensor]]], count: int) -> list[float]:
    """What share of their way from the first weights to the last layers have gone, (T,): the mean over layers."""
    shares = []
    for states in kept.values():
        flat = [torch.cat([value.cpu().double().flatten() for value in state]) for state in states]
        whole = float((flat[0] - flat[-1]).norm())
        if whole > 0:
            shares.append([1 - float((state - flat[-1]).norm()) / whole for state in flat])
    return [sum(column) / len(shares) for column in zip(*shares, strict=True)] if shares else [1.0] * count


def distance(a: Tensor, b: Tensor) -> Tensor:
    """The distance between rows of `a` and `b` (units, pixels), of unit length or empty: (units,) in float64.

    Example:
        >>> distance(torch.eye(3), torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 0, 0]])).tolist()
        [0.0, 1.0, 1.0]
    """
    apart: Tensor = (a.double() - b.double()).norm(dim=1) / 2**0.5
    apart[apart < ROUNDING] = 0.0
    apart[a.any(1) != b.any(1)] = 1.0
    return apart


def half_time(remaining: Tensor, times: Sequence[float]) -> float:
    """The time from which (T,) stays at or below half of its first value, on the line between two checkpoints.

    Example:
        >>> half_time(torch.tensor([1.0, 0.75, 0.25, 0.0]), [0, 10, 20, 30])
        15.0
    """
    half = float(remaining[0]) / 2
    above = (remaining > half).nonzero().flatten().tolist()
    if not above or above[-1] + 1 >= len(times):
        return float(times[0]) if not above else float(times[-1])
    last, following = above[-1], above[-1] + 1
    share = (float(remaining[last]) - half) / float(remaining[last] - remaining[following])
    return float(times[last] + share * (times[following] - times[last]))


# What it means


def verdict_of(settled: Mapping[str, float], settling: Sequence[Settling]) -> str:
    """What was found, in words.

    Args:
        settled: When each layer settles with all those below it; NaN if its pictures are blank.
        settling: How layers settle by themselves, one per run.
    """
    blank = [layer for layer, time in settled.items() if math.isnan(time)]
    settled = {layer: time for layer, time in settled.items() if layer not in blank}
    empty = f"the pictures of {', '.join(blank)} are blank at every checkpoint"
    if not settled:
        return f"Nothing was measured: {empty}."
    listed = ", ".join(f"{layer} at {in_digits(time, 6)}" for layer, time in settled.items())
    who, when = ("One layer settles", "this time") if len(settled) == 1 else ("Layers settle", "these times")
    said = f"{who}, with at most half of the initial distance left, at {when}: {listed}"
    said += f"; {empty}" if blank else ""
    late = [{layer: time for layer, time in run.lateness().items() if layer not in blank} for run in settling]
    if len(late[0]) < 2:
        return f"{said}."
    halves = {layer: settling[0].half_times(layer).tolist() for layer in late[0]}
    alone = ", ".join(
        f"{layer} at {in_digits(own)} (in lock-step {in_digits(control)})" for layer, (own, control) in halves.items()
    )
    return f"{said}. Alone in the final network, half of the distance is left in {alone}; {_order(late)}."


def _order(late: Sequence[Mapping[str, float]]) -> str:
    """late: per run, the lateness of each layer from the lowest to the uppermost."""
    fewest = fewest_runs(len(late[0]))
    if len(late) < fewest:
        runs = f"{counted(len(late), 'training run')} {agreeing(len(late), 'is', 'are')}"
        return f"{runs} too few to say which of {len(late[0])} layers settle first; use at least {fewest}"
    slopes = [_slope(list(run.values())) for run in late]
    smallest = min(map(abs, slopes))
    agreed = smallest > 1e-9 and all((a > 0) == (b > 0) for a, b in itertools.pairwise(slopes))
    values = torch.tensor([list(run.values()) for run in late], dtype=torch.float64)
    if not agreed or paired_difference(slopes).p > LEVEL or shuffled_p(values) > LEVEL:
        return f"beyond lock-step, {counted(len(late), 'training run')} show no order in which layers settle"
    first, last = ("lower", "upper") if slopes[0] > 0 else ("upper", "lower")
    return f"beyond lock-step, {first} layers settle before {last} ones in all {len(late)} training runs"


def fewest_runs(layers: int) -> int:
    """The number of training runs from which shuffled layers can show an order: both orders, of all that are possible.

    Example:
        >>> [fewest_runs(layers) for layers in (2, 3, 4)]
        [6, 3, 3]
    """
    return max(FEWEST_RUNS, math.ceil(math.log(2 / LEVEL) / math.log(math.factorial(layers))))


def shuffled_p(late: Tensor) -> float:
    """How often layers in a random order, shuffled in each run, have so large a slope of one sign, summed over runs.

    The order that was found counts as one of the draws, and ties count, so the probability of at most p is at most p if
    the layers of each run could have been exchanged.

    Args:
        late: (runs, layers), the lateness of each layer from the lowest to the uppermost.

    Example:
        >>> round(shuffled_p(torch.tensor([[0.0, 1.0, 2.0]] * 3)), 2)  # 2 of 6 ** 3 orders
        0.01
    """
    runs, layers = late.shape
    depth = torch.arange(layers, dtype=torch.float64)
    depth -= depth.mean()
    orders = torch.rand(SHUFFLES, runs, layers, generator=torch.Generator().manual_seed(0)).argsort(2)
    slopes = (late.double().expand(SHUFFLES, -1, -1).gather(2, orders) * depth).sum((1, 2))
    found = float((late.double() * depth).sum())
    slack = 1e-9 * float(late.double().abs().sum())  # sums in another order differ by rounding
    return (1 + int((slopes.abs() >= abs(found) - slack).sum())) / (1 + SHUFFLES)


def _slope(values: Sequence[float]) -> float:
    """The slope of a straight line through values, by their numbers."""
    y = torch.tensor(values, dtype=torch.float64)
    x = torch.arange(len(values), dtype=torch.float64)
    x -= x.mean()
    return float((x * y).sum() / x.square().sum())
