"""The mirror of each operation, as a table that users can add to, and the styles that choose among its entries.

A rule takes a recorded operation and the signal at its output, and returns the signal at its input::

    @mirror(torch.ops.aten.neg)
    def negate(op, signal):
        return -signal

`op` is a `Step`: ``op["name"]`` is an argument by its name in the schema, `op.data` the numbers it kept. A rule
returns one tensor, for the only input that carries a signal, or pairs of (value, signal); pairs for constants
are passed over. What a rule reads must be asked for when the run is recorded: `keeps`.

Many units travel as one batch: along axis 0 the signal holds the samples of the units, which `op.shape` and
`op.data` follow. That needs an operation that leaves axis 0 alone (`batchwise`); a unit behind any other
operation travels alone through the recorded batch, slower and still right.

An operation without a rule is *linearised*: its mirror is its vector-Jacobian product at the recorded inputs,
and every result lists it. Nothing is treated as something else in silence.

A *style* is a choice per family of operations, as data. The families:

=========  ===========================================================================================
rectifier  relu and its kin: ``deconvnet`` relu(s), ``guided`` relu(s) * [y > 0], ``gradient`` s * f'(x)
lrn        local response normalisation: ``identity`` or ``gradient``
overlap    max-pooling windows that share a switch: ``sum``, ``overwrite`` (the last window), ``mean``
=========  ===========================================================================================

Sources: Zeiler and Fergus 2014 (deconvnet), Springenberg et al. 2015 (guided), Simonyan et al. 2014 (gradient).
The rules that come with the library are in `deconvviz.mirrors` and `deconvviz.plumbing`.
"""

from __future__ import annotations

from deconvviz import mirrors, plumbing  # noqa: F401  they register the library's rules
from deconvviz.registry import (
    LINEARISED,
    STYLES,
    Rule,
    Signals,
    Step,
    Style,
    adjoint,
    all_inputs,
    linearised,
    masks_and_indices,
    mirror,
    no_numbers,
    opaque,
    outputs,
    rule_for,
    style_of,
)

__all__ = [
    "LINEARISED",
    "STYLES",
    "Rule",
    "Signals",
    "Step",
    "Style",
    "adjoint",
    "all_inputs",
    "linearised",
    "masks_and_indices",
    "mirror",
    "no_numbers",
    "opaque",
    "outputs",
    "rule_for",
    "style_of",
]
