"""The mirror of each operation, as a table that users can extend, and the styles that choose among its entries.

A rule takes a recorded operation and the signal at its output, and returns the signal at its input::

    @mirror(torch.ops.aten.neg)
    def negate(op, signal):
        return -signal

`op` is a `Step`: ``op["name"]`` is an argument by its name in the schema, and `op.data` returns recorded numbers. A
rule returns one tensor, for the only input that carries a signal, or pairs of (value, signal); pairs for constants are
ignored. Numbers that a rule reads must be requested when the run is recorded, with `keeps`.

Many units travel as one batch: along axis 0, the signal holds the samples of the units, and `op.shape` and `op.data`
follow. This requires an operation that does not mix samples along axis 0 (`batchwise`). A unit after any other
operation travels alone through the recorded batch, which is slower but correct.

An operation without a rule is *linearised*: its mirror is its vector-Jacobian product at the recorded inputs, and every
result lists it. No operation is silently treated as another.

A *style* is a choice per family of operations, as data. The families:

=========  ===========================================================================================
rectifier  relu and similar: ``deconvnet`` relu(s), ``guided`` relu(s) * [y > 0], ``gradient`` s * f'(x),
           ``weighted`` relu(s) * relu(y) / r, where r is the root mean square of x
lrn        local response normalisation: ``identity`` or ``gradient``
overlap    max-pooling windows that share a switch: ``sum``, ``overwrite`` (the last window), ``mean``
=========  ===========================================================================================

Sources: Zeiler and Fergus 2014 (deconvnet), Springenberg et al. 2015 (guided), Simonyan et al. 2014 (gradient). The
library's own rules are in `deconvviz.operations`, one file per kind of operation.

A package can ship its own rules: it names a module in the entry-point group ``deconvviz.rules``, which is imported
together with this one. `check` tests rules.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm

from deconvviz.arguments import FUNCTION, NUMBER, TENSOR, described, known, takes
from deconvviz.errors import RuleError
from deconvviz.io.restoring import Restored
from deconvviz.operations.registry import (
    all_inputs,
    masks_and_indices,
    mirror,
    no_numbers,
    opaque,
    outputs,
    rule_for,
    style_of,
    window,
)
from deconvviz.operations.step import Signals, Step
from deconvviz.operations.styles import STYLES, Style
from deconvviz.operations.vector_jacobian import adjoint, linearised
from deconvviz.projection.backward import Met, keep_for, refuse_arrived, samples_apart, walk
from deconvviz.recording.recorder import record
from deconvviz.recording.tape import Tape, Value

__all__ = [
    "STYLES",
    "Checked",
    "Signals",
    "Step",
    "Style",
    "adjoint",
    "all_inputs",
    "check",
    "linearised",
    "masks_and_indices",
    "mirror",
    "no_numbers",
    "opaque",
    "outputs",
    "rule_for",
    "style_of",
    "window",
]


class Checked(NamedTuple):
    """What `check` found: relative errors, and whether units of several samples may share a walk."""

    error: float
    batch_error: float
    samples_apart: bool


@takes(function=FUNCTION, inputs=TENSOR, tolerance=NUMBER)
def check(
    function: Callable[[Tensor], Tensor],
    inputs: Tensor,
    *,
    style: str | Style = "gradient",
    against: str | Callable[[Tensor, Tensor], Tensor] = "autograd",
    tolerance: float = 1e-10,
) -> Checked:
    """Test the rules of the operations in `function` on a random signal, and raise an error if they are wrong.

    If the operations are `batchwise`, units of different samples are also projected as one batch and compared with
    single units.

    Args:
        function: A function or module from x to one tensor, using the operations whose rules to check.
        inputs: (samples, ...), at least two samples, in double precision for the default tolerance.
        style: The style to test. Under "gradient", every rule should agree with autograd.
        against: "autograd" for the function's own derivative; "adjoint" for the identity <A x, s> = <x, A* s> with A x
            = f(x) - f(0), for functions that are linear up to a constant; or a function of (x, signal) that returns the
            expected signal at x.
        tolerance: Largest accepted relative error.

    Raises:
        RuleError: If an error exceeds the tolerance; the message gives the error.

    Example:
        >>> check(torch.nn.Conv1d(2, 3, 2).double(), torch.randn(2, 2, 5).double(), against="adjoint").samples_apart
        True
    """
    if inputs.ndim < 2 or len(inputs) < 2:
        shape = tuple(inputs.shape)
        raise RuleError(f"a check needs two samples or more along axis 0 of inputs, not a tensor of shape {shape}")
    chosen = style_of(style)
    model = _Wrapped(function)
    tape = record(model, inputs, keep=keep_for(chosen), layers=["output"], opaque=opaque())
    if "output" not in tape.layers:
        raise RuleError("the function returned no tensor that depends on its input, so there is nothing to check")
    layer = tape.layers["output"].value
    activations = tape.data[layer.id]
    signal = torch.randn_like(activations)
    arrived = _sent_back(tape, chosen, layer, signal, None)
    if not callable(against) and not known(against, ("adjoint", "autograd")):
        raise RuleError(f"a rule is held against 'autograd', 'adjoint' or a function, not {described(against)}")
    if against == "adjoint":
        with Restored(torch.no_grad()):
            linear = activations - function(torch.zeros_like(inputs))
        left, right = (linear * signal).sum(), (inputs * arrived).sum()
        error = float((left - right).abs() / (vector_norm(linear) * vector_norm(signal)))
    else:
        expected = against(inputs, signal) if callable(against) else _autograd(function, inputs, signal)
        error = _relative(arrived, expected)
    apart = layer.id in samples_apart(tape, chosen)
    batch_error = _batch_error(tape, chosen, layer, signal) if apart else 0.0
    result = Checked(error, batch_error, apart)
    _refuse_errors(result, tape, "the function given" if callable(against) else against, tolerance)
    return result


def _refuse_errors(result: Checked, tape: Tape, against: str, tolerance: float) -> None:
    operations = ", ".join(dict.fromkeys(operation.label for operation in tape.operations))
    if not result.error <= tolerance:
        raise RuleError(
            f"the mirror of {operations} differs from {against} by {result.error:.1e}, above {tolerance:.0e}"
        )
    if not result.batch_error <= tolerance:
        raise RuleError(
            f"units of several samples sent back through {operations} as one batch differ from units alone by "
            f"{result.batch_error:.1e}, above {tolerance:.0e}; a rule that is not batchwise must be registered so"
        )


class _Wrapped(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def _sent_back(tape: Tape, style: Style, layer: Value, signal: Tensor, samples: Tensor | None) -> Tensor:
    met = Met()
    arrived = walk(tape, style, layer, signal, samples, met=met)[tape.inputs[0].id]
    met.finite.watch(arrived, refuse_arrived)
    met.finite.settle()
    return arrived


def _autograd(function: Callable[[Tensor], Tensor], x: Tensor, signal: Tensor) -> Tensor:
    with Restored(torch.enable_grad()):
        leaf = x.detach().clone().requires_grad_()
        return torch.autograd.grad(function(leaf), leaf, signal)[0]


def _batch_error(tape: Tape, style: Style, layer: Value, signal: Tensor) -> float:
    """The last sample's unit and the first's, twice, as one batch and alone."""
    count, rows = tape.samples, layer.shape[0] // tape.samples
    samples = torch.tensor([count - 1, 0, count - 1])
    parts = torch.stack([signal.unflatten(0, (count, rows))[n] * (u + 1) for u, n in enumerate(samples.tolist())])
    together = _sent_back(tape, style, layer, parts.flatten(0, 1), samples)
    worst = 0.0
    for unit, sample in enumerate(samples.tolist()):
        alone = torch.zeros_like(signal)
        alone[sample * rows : (sample + 1) * rows] = parts[unit]
        worst = max(worst, _relative(together[unit], _sent_back(tape, style, layer, alone, None)[sample]))
    return worst


def _relative(arrived: Tensor, expected: Tensor) -> float:
    if arrived.shape != expected.shape:
        raise RuleError(f"a signal of shape {tuple(arrived.shape)} arrived at x, not of {tuple(expected.shape)}")
    size = vector_norm(expected)
    return float(vector_norm(arrived - expected) / (size if size else 1))


def _load_entry_points() -> None:
    for entry in entry_points(group="deconvviz.rules"):
        try:
            entry.load()
        except Exception as error:
            raise RuleError(
                f"the rules of {entry.value!r} (entry point {entry.name!r}) do not load: {error}"
            ) from error


_load_entry_points()
