"""Rules for operations of one's own: a custom operator, and a `torch.autograd.Function`.

    python examples/custom_operation.py

Without a rule, an operation that has a derivative is linearised: its mirror is its vector-Jacobian product, and every
result lists it. With a rule, it is treated as the rule says. `rules.check` says whether the rule is right.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import deconvviz as dv
from deconvviz import rules

# A custom operator: a 3 x 3 box filter. torch has no derivative for it, so without a rule it would be refused.


@torch.library.custom_op("examples::box_filter", mutates_args=())
def box_filter(x: Tensor) -> Tensor:
    kernel = torch.full((x.shape[1], 1, 3, 3), 1 / 9, dtype=x.dtype, device=x.device)
    return nn.functional.conv2d(x, kernel, padding=1, groups=x.shape[1])


@rules.mirror(torch.ops.examples.box_filter, batchwise=True)
def box_filter_mirror(op: rules.Step, signal: Tensor) -> Tensor:
    """The filter is symmetric, so it is its own adjoint."""
    return box_filter(signal)


# An autograd function: rounding, whose backward is that of the identity (the straight-through estimator).


class Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient


# And one that is a rectifier: without a rule the deconvnet would linearise it. Under the style "deconvnet" it gets the
# rectifiers' mirror, under the other styles its own derivative.


class Thresholded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)  # type: ignore[attr-defined]
        return torch.where(x > 0.1, x, 0.0)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradient * (x > 0.1)


@rules.mirror(Thresholded, when=("rectifier", "deconvnet"), batchwise=True)
def thresholded_mirror(op: rules.Step, signal: Tensor) -> Tensor:
    return signal.clamp(min=0)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = Thresholded.apply(self.first(box_filter(x)))
        return self.second(Rounded.apply(x * 8) / 8)


def main() -> None:
    torch.manual_seed(0)
    print("the box filter:", rules.check(box_filter, torch.randn(2, 3, 8, 8).double(), against="adjoint"))
    relu_of_signal = rules.check(
        Thresholded.apply, torch.randn(2, 3).double(), "deconvnet", against=lambda x, signal: signal.clamp(min=0)
    )
    print("the rectifier:", relu_of_signal)
    projection = dv.DeconvNet(Network()).project(torch.rand(1, 1, 16, 16), "second", 0)
    print("linearised:", ", ".join(projection.provenance.linearised))


if __name__ == "__main__":
    main()
