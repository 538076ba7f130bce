"""Two mirrors that serve any operation: its vector-Jacobian product, and the adjoint of what is linear."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from deconvviz.io.restoring import Restored
from deconvviz.operations.step import Signals, Step
from deconvviz.recording.eval_mode import EvalMode
from deconvviz.recording.tape import Value, mapped

PER_CHANNEL = ("weight", "bias", "running_mean", "running_var")


def linearised(op: Step, *signals: Tensor | None) -> Signals:
    """The vector-Jacobian product of the operation at its recorded inputs.

    Inputs and signal are made contiguous: some of torch's own derivatives, such as those of instance and batch
    normalisation for one sample, are wrong in other memory layouts.
    """
    if torch.Tag.pointwise in getattr(op.operation.func, "tags", ()):
        return _pulled_back(op, signals, lambda value: op.data(value).detach())
    contiguous = tuple(None if signal is None else signal.contiguous() for signal in signals)
    return _pulled_back(op, contiguous, lambda value: op.data(value).detach().contiguous())


def adjoint(op: Step, *signals: Tensor | None) -> Signals:
    """The adjoint of an operation that is linear in the inputs which carry a signal. It reads no recorded numbers."""

    def anywhere(value: Value) -> Tensor:
        return torch.zeros((), dtype=value.dtype, device=value.device).expand(op.shape(value))

    return _pulled_back(op, signals, anywhere)


def _pulled_back(op: Step, signals: tuple[Tensor | None, ...], point: Callable[[Value], Tensor]) -> Signals:
    """The signals at the inputs, by autograd through this one operation at `point`."""
    leaves: list[tuple[Value, Tensor]] = []
    # The weight of a pointwise operation is as large as its output.
    names = () if torch.Tag.pointwise in getattr(op.operation.func, "tags", ()) else PER_CHANNEL
    weights = [op[name] for name in names]
    output = op.made

    def numbers(item: Any) -> Any:
        if item.carries_signal:
            leaf = point(item).requires_grad_()
            leaves.append((item, leaf))
            return leaf.clone() if isinstance(op.operation.func, type) else leaf  # for one that works in place
        recorded = op.tape.data[item.id]
        along_batch = len(item.shape) == len(output.shape) and item.shape[:1] == output.shape[:1]
        follows = item.tracked or (along_batch and not any(item is weight for weight in weights))
        return op.rows(recorded) if follows else recorded

    drawn = op.operation.drawn
    with Restored(torch.enable_grad(), drawn.again() if drawn else nullcontext()):
        args, kwargs = mapped(op.operation.args, numbers, Value), mapped(op.operation.kwargs, numbers, Value)
        result = run_again(op.operation.func, args, kwargs)
    results = result if isinstance(result, (list, tuple)) else [result]
    pairs = [
        (r, s) for r, s in zip(results, signals, strict=True) if s is not None and getattr(r, "requires_grad", False)
    ]
    if not pairs:
        return []
    with Restored(_gradients_untouched(op)):
        gradients = torch.autograd.grad(
            [r for r, _ in pairs], [leaf for _, leaf in leaves], [s for _, s in pairs], allow_unused=True
        )
    return [(value, g) for (value, _), g in zip(leaves, gradients, strict=True) if g is not None]


@contextmanager
def _gradients_untouched(op: Step) -> Iterator[None]:
    """Parameters have no `grad` inside the block, since the backward of an autograd function may add to it."""
    is_function = isinstance(op.operation.func, type)
    tensors = [tensor for tensor, *_ in op.tape.constants.values()] if is_function else []
    before = {id(tensor): (tensor, tensor.grad) for tensor in tensors if tensor.is_leaf and tensor.requires_grad}
    try:
        for tensor, _ in before.values():
            tensor.grad = None
        yield
    finally:
        for tensor, gradient in before.values():
            tensor.grad = gradient


def run_again(func: Any, args: Any, kwargs: Any) -> Any:
    """Run a recorded operation again: an operator, a function, a module in eval mode or an autograd function."""
    if isinstance(func, type):
        return func.apply(*args, **kwargs)  # type: ignore[attr-defined]
    if not isinstance(func, nn.Module):
        return func(*args, **kwargs)
    with EvalMode(func):
        return func(*args, **kwargs)
