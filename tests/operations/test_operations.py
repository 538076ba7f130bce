"""Every operation's rule: against autograd, the adjoint identity, and units in a batch against units alone."""

from __future__ import annotations

import pytest
import torch

from deconvviz.projection.backward import Met, keep_for, samples_apart, walk
from deconvviz.recording.recorder import record
from deconvviz.rules import STYLES, opaque
from tests.helpers.operation_cases import CASES
from tests.helpers.small_networks import FunctionNetwork

GRADIENT = STYLES["gradient"]


def recorded(case):
    x = torch.randn(case.shape, dtype=torch.float64)
    tape = record(FunctionNetwork(case.function), x, keep=keep_for(GRADIENT), layers=["output"], opaque=opaque())
    layer = tape.layers["output"].value
    return x, tape, layer, tape.data[layer.id]


def sent_back(tape, layer, signal, samples=None):
    arrived = walk(tape, GRADIENT, layer, signal, samples, met=Met())
    return arrived[tape.inputs[0].id]


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_style_is_the_gradient(name):
    case = CASES[name]
    x, tape, layer, _ = recorded(case)
    leaf = x.clone().requires_grad_()
    made = case.function(leaf)
    signal = torch.randn_like(made)
    (expected,) = torch.autograd.grad(made, leaf, signal)
    found = sent_back(tape, layer, signal)
    assert expected.norm() > 0
    assert (found - expected).norm() <= 1e-10 * expected.norm()


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.linear])
def test_linear_rules_are_adjoint(name):
    """<A x, y> = <x, A* y>, with A x = f(x) - f(0)."""
    case = CASES[name]
    x, tape, layer, made = recorded(case)
    linear = made - case.function(torch.zeros_like(x)).detach()
    y = torch.randn_like(made)
    left, right = (linear * y).sum(), (x * sent_back(tape, layer, y)).sum()
    assert torch.isclose(left, right, rtol=1e-9, atol=1e-9 * float(linear.norm() * y.norm()))


@pytest.mark.parametrize("name", [name for name in CASES if "max_pool" in name])
def test_unpooling_is_adjoint_to_reading_the_switches(name):
    """Pooling reads x at its switches, so <pool(x), y> = <x, unpool(y)>."""
    x, tape, layer, made = recorded(CASES[name])
    y = torch.randn_like(made)
    assert torch.isclose((made * y).sum(), (x * sent_back(tape, layer, y)).sum(), rtol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_units_in_one_batch_travel_as_alone(name):
    case = CASES[name]
    _, tape, layer, made = recorded(case)
    apart = layer.id in samples_apart(tape, GRADIENT)
    assert apart == case.apart
    if not apart:
        return
    count, samples = case.shape[0], torch.tensor([2, 0, 2, 1, 2])
    rows = made.shape[0] // count
    signals = torch.randn(len(samples) * rows, *made.shape[1:], dtype=torch.float64)
    together = sent_back(tape, layer, signals, samples)
    for unit, sample in enumerate(samples.tolist()):
        alone = torch.zeros_like(made)
        alone[sample * rows : (sample + 1) * rows] = signals[unit * rows : (unit + 1) * rows]
        expected = sent_back(tape, layer, alone)
        others = [n for n in range(count) if n != sample]
        assert float(expected[others].abs().max()) == 0
        assert torch.allclose(together[unit], expected[sample], rtol=1e-10, atol=1e-12)
