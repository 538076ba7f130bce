"""Rules for your own operations: a custom operator, and a `torch.autograd.Function`.

    python examples/custom_operation.py --out custom_operation.png

Without a rule, an operation with a derivative is linearised: its mirror is its vector-Jacobian product, and every
result lists it. A rule defines another mirror. `rules.check` tests whether a rule is right.
"""

from __future__ import annotations

import argparse

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import deconvviz as dv
from deconvviz import rules
from deconvviz.data import mnist_test
from deconvviz.images import as_rgb, signed_as_rgb
from deconvviz.models import mnist_cnn

# A custom operator: a 3 x 3 box filter. It has no derivative, so without a rule it would be refused.


@torch.library.custom_op("examples::box_filter", mutates_args=())
def box_filter(x: Tensor) -> Tensor:
    kernel = torch.full((x.shape[1], 1, 3, 3), 1 / 9, dtype=x.dtype, device=x.device)
    return nn.functional.conv2d(x, kernel, padding=1, groups=x.shape[1])


@rules.mirror(torch.ops.examples.box_filter, batchwise=True)
def box_filter_mirror(op: rules.Step, signal: Tensor) -> Tensor:
    """The filter is symmetric, so it is its own adjoint."""
    return box_filter(signal)


# An autograd function: rounding with the backward pass of the identity (a straight-through estimator).


class Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient


# An autograd function that is a rectifier. Without a rule, it would be linearised. The rule gives it the mirror of
# rectifiers in the style "deconvnet"; other styles use its own derivative.


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


class Altered(nn.Module):
    """The reference network up to conv2 with all three: it filters images, replaces relu1, and rounds its output."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = mnist_cnn()

    def forward(self, x: Tensor) -> Tensor:
        x = self.plain.pool1(Thresholded.apply(self.plain.conv1(box_filter(x))))
        return self.plain.conv2(Rounded.apply(x * 8) / 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="custom_operation.png")
    given = parser.parse_args()

    torch.manual_seed(0)
    print("the box filter:", rules.check(box_filter, torch.randn(2, 3, 8, 8).double(), against="adjoint"))
    relu_of_signal = rules.check(
        Thresholded.apply, torch.randn(2, 3).double(), style="deconvnet", against=lambda x, signal: signal.clamp(min=0)
    )
    print("the rectifier:", relu_of_signal)

    digit, net = mnist_test()[0][3:4], dv.DeconvNet(mnist_cnn())
    channels = net.trace(digit, "conv2").activations["conv2"].amax((0, 2, 3)).topk(5).indices.tolist()
    plain = net.project(digit, "conv2", channel=channels)
    altered = dv.DeconvNet(Altered()).project(digit, "plain.conv2", channel=channels)
    print("linearised:", ", ".join(altered.provenance.linearised))
    drawn(digit, {"reference network": plain, "own operations": altered}).savefig(given.out, dpi=150)


def drawn(digit: Tensor, projections: dict[str, dv.results.Projection]) -> Figure:
    """Draw one row per network: the digit, and the projection of each channel."""
    figure, rows = plt.subplots(len(projections), 6, figsize=(8, 2.9), layout="constrained")
    for axes, (name, found) in zip(rows, projections.items(), strict=True):
        axes[0].imshow(as_rgb(digit[0]).numpy())
        axes[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for place, unit, pixels in zip(axes[1:], found.units, found.pixels, strict=True):
            place.imshow(signed_as_rgb(pixels).numpy())
            place.set_title(f"channel {unit.channel}", fontsize="small")
    for place in rows.flat:
        place.set(xticks=[], yticks=[])
    return figure


if __name__ == "__main__":
    main()
