"""An independent reference: the model's own autograd graph, in which only rectifiers and LRN go back differently.

Nothing here knows the library. Rectifiers are replaced where Python calls them, by functions with the same
forward and another backward; autograd does everything else.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# Each with the number of its arguments, after the input and before `inplace`, that shape the function.
RECTIFIERS = {
    F.relu: 0,
    F.relu_: 0,
    torch.relu: 0,
    torch.relu_: 0,
    Tensor.relu: 0,
    Tensor.relu_: 0,
    F.relu6: 0,
    F.silu: 0,
    F.mish: 0,
    F.hardswish: 0,
    F.leaky_relu: 1,
    F.elu: 1,
    F.selu: 0,
    F.celu: 1,
    F.gelu: 9,
    F.softplus: 9,
    F.prelu: 9,
    F.rrelu: 3,
    F.hardtanh: 2,
    F.threshold: 2,
}
IN_PLACE = {F.relu_, torch.relu_, Tensor.relu_}


class _Rectified(torch.autograd.Function):
    @staticmethod
    def forward(ctx, function, guided, x):
        y = function(x)
        ctx.guided = guided
        ctx.save_for_backward(y > 0)
        return y

    @staticmethod
    def backward(ctx, signal):
        signal = signal.clamp(min=0)
        return None, None, signal * ctx.saved_tensors[0] if ctx.guided else signal


class _RectifiedInPlace(_Rectified):
    @staticmethod
    def forward(ctx, function, guided, x):
        ctx.guided = guided
        x.copy_(function(x.clone()))
        ctx.mark_dirty(x)
        ctx.save_for_backward(x > 0)
        return x


class _LeftOut(torch.autograd.Function):
    @staticmethod
    def forward(ctx, function, x):
        return function(x)

    @staticmethod
    def backward(ctx, signal):
        return None, signal


class _Replaced(TorchFunctionMode):
    def __init__(self, style: str) -> None:
        super().__init__()
        self.style = style

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if self.style == "gradient":
            return func(*args, **kwargs)
        if func in RECTIFIERS:
            in_place = kwargs.pop("inplace", False) or func in IN_PLACE
            rest = args[1 : 1 + RECTIFIERS[func]]
            plain = torch.relu if func in IN_PLACE else func
            kind = _RectifiedInPlace if in_place else _Rectified
            return kind.apply(lambda x: plain(x, *rest, **kwargs), self.style == "guided", args[0])
        if func is F.local_response_norm:
            return _LeftOut.apply(lambda x: func(x, *args[1:], **kwargs), args[0])
        return func(*args, **kwargs)


def reference(
    model: nn.Module, x: Tensor, layer: str, units: list[tuple[int, ...]], style: str = "deconvnet"
) -> tuple[Tensor, Tensor]:
    """Projections of units (sample, *index) of a module's output: activations (units,), pixels (units, C, ...).

    The seed is the activation. The pixels are those of the unit's sample.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    caught: list[Tensor] = []

    def catch(module: nn.Module, args: object, output: Tensor) -> Tensor:
        caught.append(output)
        return output.clone()  # a later in-place operation must not change what was caught

    dict(model.named_modules())[layer].register_forward_hook(catch)
    x = x.clone().requires_grad_()
    with _Replaced(style):
        model(x)
    output = caught[0]
    values, pixels = [], []
    for unit in units:
        seed = torch.zeros_like(output)
        seed[unit] = output[unit].detach()
        values.append(output[unit].detach())
        pixels.append(torch.autograd.grad(output, x, seed, retain_graph=True)[0][unit[0]])
    return torch.stack(values), torch.stack(pixels)


def relative_error(a: Tensor, b: Tensor) -> float:
    """||a - b|| / ||b||, the largest over the first axis."""
    a, b = a.flatten(1), b.flatten(1)
    return float(((a - b).norm(dim=1) / b.norm(dim=1)).max())


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Asserts that nothing about `model` and the random state is different afterwards."""

    def state() -> dict[str, object]:
        found: dict[str, object] = {"rng": torch.random.get_rng_state()}
        for name, module in model.named_modules():
            found[f"{name} training"] = module.training
            for kind in (
                "_forward_hooks",
                "_forward_pre_hooks",
                "_backward_hooks",
                "_forward_hooks_with_kwargs",
            ):
                found[f"{name} {kind}"] = list(getattr(module, kind))
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            found[name] = tensor.detach().clone()
            found[f"{name} identity"] = id(tensor)
            found[f"{name} requires_grad"] = tensor.requires_grad
            found[f"{name} grad"] = None if tensor.grad is None else tensor.grad.clone()
        return found

    before = state()
    try:
        yield
    finally:
        after = state()
        assert before.keys() == after.keys()
        for key, value in before.items():
            if isinstance(value, Tensor):
                assert torch.equal(value, after[key]), key
            else:
                assert value == after[key], key


def randomised(model: nn.Module) -> nn.Module:
    """The model with random batch-norm statistics and affine weights, so that a wrong rule shows."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            if module.affine:
                with torch.no_grad():
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_(0, 0.2)
    return model
