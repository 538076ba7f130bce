"""What each channel that a unit reads adds to it.

A network of rectifiers is linear as long as no unit switches on or off. So the run is made linear: each pointwise
function is replaced by a factor, what it made of its input over that input, and divisors, gates and the statistics of
norms are held as they were. A unit's contributions are the signal that it sends back through this, times the numbers
that were recorded where the signal ends. With the biases that are met on the way they add up to the unit's activation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deconvviz.operations.rectifiers import RECTIFIERS
from deconvviz.operations.registry import is_pointwise, rule_for
from deconvviz.operations.styles import STYLES
from deconvviz.operations.vector_jacobian import linearised, run_again
from deconvviz.projection.backward import Met, Seeds, check_constants, send_back, undisturbed
from deconvviz.projection.half_precision import widened
from deconvviz.projection.partial_tapes import PartialTape
from deconvviz.projection.receptive_field import channel_axis
from deconvviz.recording.tape import Operation, Tape, Value, mapped

aten: Any = torch.ops.aten

STYLE = STYLES["gradient"]  # what it keeps of a run is what is needed here
SMALLEST_INPUT = 1e-6  # below which a function that is not zero at zero adds nothing
_NORMS = (aten.native_layer_norm, F.group_norm, F.instance_norm)
_GATES = ("aten.sigmoid", "aten.hardsigmoid", "aten._softmax")
_SHAPING = (
    "aten.view",
    "aten._unsafe_view",
    "aten.reshape",
    "aten.unsqueeze",
    "aten.expand",
    "aten.clone",
    "aten.squeeze",
)


def contributions(part: PartialTape, whole: Tape, seeds: Seeds, apart: bool) -> dict[str, Tensor]:
    """What each channel of the sources adds to units of a layer.

    Args:
        part: What runs between the sources and the layer, recorded in `STYLE`.
        whole: The whole run, which tells where channels lie.
        seeds: The units; their values do not count.
        apart: Whether the layer keeps samples apart. If not, there must be one sample.

    Returns:
        Per source (units, channels), on the CPU.
    """
    check_constants(whole)
    tape, layer = widened(part.tape, STYLE, part.layer)
    tape = linear(tape)
    axes = {name: channel_axis(whole, value) for name, value in part.sources.items()}
    found: dict[str, list[Tensor]] = {name: [] for name in part.sources}
    units = replace(seeds, values=torch.ones_like(seeds.values))

    def arrive(batch: slice, arrived: dict[int, Tensor]) -> None:
        count = batch.stop - batch.start
        samples = seeds.samples[batch].to(layer.device)
        for name, value in part.sources.items():
            numbers = tape.data[value.id]
            if apart:
                numbers = numbers.unflatten(0, (tape.samples, -1))[samples]
            signal = arrived.get(value.id)
            products = torch.zeros_like(numbers) if signal is None else signal.reshape(numbers.shape) * numbers
            products = products.real if products.is_complex() else products
            by_unit = products.reshape(count, -1, *value.shape[1:]) if apart else products[None]
            other = [axis for axis in range(1, by_unit.ndim) if axis != axes[name] + 1]
            found[name].append((by_unit.sum(other) if other else by_unit).cpu())

    send_back(tape, STYLE, layer, units, apart=apart, arrive=arrive, met=Met())
    return {name: torch.cat(parts) for name, parts in found.items()}


def linear(tape: Tape) -> Tape:
    """The tape with factors in place of functions, divisors, gates and statistics."""
    writer = _LinearTape(tape)
    for operation in tape.operations:
        with undisturbed(operation.made.device if any(operation.outputs) else torch.device("cpu")):
            writer.add(operation)
    return replace(tape, operations=writer.operations, data=writer.data)


class _LinearTape:
    """A linear tape as it is written."""

    def __init__(self, tape: Tape) -> None:
        self.tape, self.data = tape, tape.data.copy()
        self.operations: list[Operation] = []
        self._makers = tape.makers()
        self._ids = min([0, *self.data])

    def add(self, operation: Operation) -> None:
        """Append what stands for an operation."""
        carriers = list({value.id: value for value in operation.inputs if value.carries_signal}.values())
        rule = rule_for(operation, STYLE)
        if rule.function is not linearised or not carriers or not any(operation.outputs):
            self.operations.append(operation)
            return
        packet = getattr(operation.func, "overloadpacket", operation.func)
        if packet is aten.mul and len(carriers) == 2:
            self._multiply(operation, carriers)
        elif packet is aten.div and operation["rounding_mode"] is None and len(carriers) == 2:
            divisor = self.tape.data[operation["other"].id]
            self._scale(operation, operation["self"], 1 / divisor)
        elif packet in _NORMS and operation["use_input_stats"] is not False and len(carriers) == 1:
            self._normalise(operation, carriers[0])
        elif len(carriers) == 1 and carriers[0].shape == operation.made.shape and self._is_function(operation):
            self._apply(operation, carriers[0])
        else:
            self.operations.append(operation)

    def _is_function(self, operation: Operation) -> bool:
        packet = getattr(operation.func, "overloadpacket", operation.func)
        known = packet in RECTIFIERS or packet is F.local_response_norm
        return operation.drawn is None and (known or is_pointwise(operation))

    def _again(self, operation: Operation, numbers: Any) -> Tensor:
        args, kwargs = (mapped(part, numbers, Value) for part in (operation.args, operation.kwargs))
        result = run_again(operation.func, args, kwargs)
        first: Tensor = result[0] if isinstance(result, (tuple, list)) else result
        return first

    def _apply(self, operation: Operation, carrier: Value) -> None:
        """A pointwise function f: times (f(x) - f(0)) / x."""
        x = self.tape.data[carrier.id]

        def at(point: Tensor) -> Tensor:
            return self._again(operation, lambda value: point if value is carrier else self.tape.data[value.id])

        zero = at(torch.zeros_like(x))
        if not bool(torch.isfinite(zero).all()):
            self.operations.append(operation)
            return
        within = x.abs() > torch.where(zero == 0, 0.0, SMALLEST_INPUT)
        self._scale(operation, carrier, torch.where(within, (at(x) - zero) / torch.where(within, x, 1.0), 0.0))

    def _multiply(self, operation: Operation, carriers: list[Value]) -> None:
        """A product: the gate is held; without a gate, each factor gets half of it."""
        gates = [value for value in carriers if self._is_gate(value)]
        passed = [value for value in carriers if value not in gates]
        numbers = {value: self.tape.data[value.id] for value in carriers}
        if len(passed) == 1:
            self._scale(operation, passed[0], numbers[gates[0]])
            return
        halves = [replace(operation.made, id=self._new_id()) for _ in carriers]
        for half, value, other in zip(halves, carriers, reversed(carriers), strict=True):
            self._scale(operation, value, numbers[other] / 2, half)
        summed = replace(operation, func=aten.add.Tensor, args=tuple(halves), kwargs={}, inputs=tuple(halves))
        self.operations.append(summed)

    def _is_gate(self, value: Value) -> bool:
        maker = self._makers.get(value.id)
        while maker is not None and maker.label in _SHAPING:
            maker = self._makers.get(maker.inputs[0].id)
        return maker is not None and maker.label in _GATES

    def _normalise(self, operation: Operation, x: Value) -> None:
        """A norm: the mean is taken off, and the divisor is held."""
        made = operation.made
        numbers = self.tape.data[x.id]
        axes, groups = _normalised_axes(operation, x)
        centred = _centred(numbers, axes, groups)
        normal = self._again(operation, lambda value: numbers if value is x else self.tape.data[value.id])
        if isinstance(operation["bias"], Value):
            bias = self.tape.data[operation["bias"].id]
            layer_norm = operation.label == "aten.native_layer_norm"
            normal = normal - (bias if layer_norm else bias.view(-1, *[1] * (len(made.shape) - 2)))
        kept = centred != 0
        factor = self._constant(torch.where(kept, normal / torch.where(kept, centred, 1.0), 0.0))
        between = replace(x, id=self._new_id())
        self.operations.append(
            replace(operation, func=_centred, args=(x, axes, groups), kwargs={}, inputs=(x,), outputs=(between,))
        )
        self._product(operation, between, factor, made)

    def _scale(self, operation: Operation, carrier: Value, factor: Tensor, made: Value | None = None) -> None:
        self._product(operation, carrier, self._constant(factor), operation.made if made is None else made)

    def _product(self, operation: Operation, carrier: Value, factor: Value, made: Value) -> None:
        self.operations.append(
            replace(
                operation, func=aten.mul.Tensor, args=(carrier, factor), kwargs={}, inputs=(carrier,), outputs=(made,)
            )
        )

    def _constant(self, numbers: Tensor) -> Value:
        value = Value(self._new_id(), tuple(numbers.shape), numbers.dtype, numbers.device, tracked=False)
        self.data[value.id] = numbers
        return value

    def _new_id(self) -> int:
        self._ids -= 1
        return self._ids


def _normalised_axes(operation: Operation, x: Value) -> tuple[tuple[int, ...], int]:
    """The axes along which a norm takes its statistics, and into how many groups it divides the channels."""
    rank = len(x.shape)
    if operation.func is F.group_norm:
        return tuple(range(2, rank + 1)), int(operation["num_groups"])
    if operation.func is F.instance_norm:
        return tuple(range(2, rank)), 0
    return tuple(range(rank - len(operation["normalized_shape"]), rank)), 0


def _centred(x: Tensor, axes: Sequence[int], groups: int) -> Tensor:
    """Less its mean along some axes; with groups, those of a tensor whose axis 1 is divided into them."""
    divided = x.unflatten(1, (groups, -1)) if groups else x
    centred = divided - divided.mean(tuple(axes), keepdim=True)
    return centred.flatten(1, 2) if groups else centred
