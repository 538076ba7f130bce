"""An independent reference: the model's own autograd graph with other backward passes for rectifiers and LRN.

It does not use the library. Where Python calls a rectifier, it is replaced by a function with the same forward and
another backward pass; autograd does everything else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.overrides import TorchFunctionMode

from tests.helpers.elementary_norms import NORMS
from tests.helpers.rectified_recurrence import cell, recurrence

# Each with the number of its arguments, after the input and before `inplace`, that shape the function.
RECTIFIERS = {
    F.relu: 0,
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
    **dict.fromkeys((torch.relu, Tensor.relu, torch.selu, torch.celu, torch.rrelu, torch.threshold, Tensor.prelu), 9),
    **{getattr(torch._C._nn, name): 9 for name in ("elu", "hardswish", "hardtanh", "leaky_relu", "mish")},
    **{getattr(torch._C._nn, name): 9 for name in ("relu6", "silu", "rrelu_with_noise")},
}
IN_PLACE = {
    F.relu_: torch.relu,
    torch.relu_: torch.relu,
    Tensor.relu_: torch.relu,
    F.elu_: F.elu,
    F.selu_: F.selu,
    F.celu_: F.celu,
    F.leaky_relu_: F.leaky_relu,
    F.rrelu_: F.rrelu,
    F.hardtanh_: F.hardtanh,
    F.threshold_: F.threshold,  # type: ignore[attr-defined]
    **{
        getattr(torch._C._nn, f"{name}_"): getattr(torch._C._nn, name)
        for name in ("gelu", "hardswish", "mish", "relu6", "silu")
    },
}

TO_OTHERS = (Tensor.numpy, Tensor.__array__, Tensor.__dlpack__)  # they pass numbers to other libraries


class _Rectified(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Any, guided: bool, x: Tensor) -> Tensor:
        y = function(x)
        ctx.guided = guided
        ctx.save_for_backward(y > 0)
        return y

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Any:
        signal = signal.clamp(min=0)
        return None, None, signal * ctx.saved_tensors[0] if ctx.guided else signal


class _RectifiedInPlace(_Rectified):
    @staticmethod
    def forward(ctx: Any, function: Any, guided: bool, x: Tensor) -> Tensor:
        ctx.guided = guided
        x.copy_(function(x.clone()))
        ctx.mark_dirty(x)
        ctx.save_for_backward(x > 0)
        return x


class _LeftOut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Any, x: Tensor) -> Tensor:
        return function(x)

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Any:
        return None, signal


# torch's own derivative of some is wrong for one sample and a signal that is not contiguous.
WRITTEN_OUT = NORMS
RECURRENT: dict[Any, Any] = {torch.rnn_relu: recurrence, torch.rnn_relu_cell: cell}
# Norms without running statistics, which can run a second time.
PURE_NORMS = (F.group_norm, F.layer_norm, F.rms_norm, torch.group_norm, torch.layer_norm, torch.rms_norm)


class _Replaced(TorchFunctionMode):
    def __init__(self, style: str, through_detach: bool = False) -> None:
        super().__init__()
        self.style, self.through_detach = style, through_detach

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if self.through_detach and func in (Tensor.detach, torch.detach):
            return args[0].view_as(args[0])
        if func in WRITTEN_OUT:
            x = kwargs.pop("input") if "input" in kwargs else args[0]
            written = WRITTEN_OUT[func](x, *args[1:], **kwargs)
            return _laid_out(written, func(x.detach(), *args[1:], **kwargs)) if func in PURE_NORMS else written
        if func in TO_OTHERS:  # which refuse a tensor that requires gradients
            with torch._C.DisableTorchFunctionSubclass():
                return func(args[0].detach(), *args[1:], **kwargs)
        if self.style == "gradient":
            return func(*args, **kwargs)
        if func in RECTIFIERS or func in IN_PLACE:
            plain = IN_PLACE.get(func, func)
            shaping = RECTIFIERS[plain]
            in_place = kwargs.pop("inplace", False) or func in IN_PLACE or any(args[1 + shaping :])
            x = args[0] if args else kwargs.pop("input")
            kind = _RectifiedInPlace if in_place else _Rectified
            return kind.apply(lambda x: plain(x, *args[1 : 1 + shaping], **kwargs), self.style == "guided", x)
        if func in RECURRENT and not isinstance(args[3], list):  # which packed sequences have there
            return RECURRENT[func](lambda x: _Rectified.apply(torch.relu, self.style == "guided", x), *args, **kwargs)
        if func is F.local_response_norm:
            return _LeftOut.apply(lambda x: func(x, *args[1:], **kwargs), args[0])
        return func(*args, **kwargs)


def _laid_out(y: Tensor, like: Tensor) -> Tensor:
    """The tensor in the memory layout of `like`, which decides whether a view is a copy."""
    if y.stride() == like.stride():
        return y
    return torch.empty_strided(like.shape, like.stride(), dtype=y.dtype, device=y.device).copy_(y)


class Call(NamedTuple):
    """An output of a module: the number of the call (from 0), and the index if it returns several tensors."""

    module: str
    number: int = 0
    path: tuple[str, ...] = ()

    def tensor(self, output: Any) -> Tensor:
        for key in self.path:
            if isinstance(output, Mapping):
                output = next(part for name, part in output.items() if str(name) == key)
            else:
                output = output[int(key)] if isinstance(output, (list, tuple)) else getattr(output, key)
        return output


class ReferenceRun:
    """A run of a model with other backward passes for rectifiers and LRN, and the outputs of some modules.

    activations: the output of each requested call, as it was then.
    times: how often each requested module ran.
    """

    def __init__(self, model: nn.Module, x: Tensor, calls: Collection[Call], style: str = "deconvnet") -> None:
        self.activations: dict[Call, Tensor] = {}
        self.times: dict[str, int] = defaultdict(int)
        self._edges: dict[Call, Any] = {}
        self._x = x.detach().clone().requires_grad_()
        wanted = defaultdict(list)
        for call in calls:
            wanted[call.module].append(call)
        modules = dict(model.named_modules())
        training = [(module, module.training) for module in modules.values()]
        frozen = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        fast = torch.backends.mha.get_fastpath_enabled()
        handles = []
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            model.eval().requires_grad_(False)
            for through_detach in (False, True):  # used only if nothing arrives otherwise, as from a frozen network
                self.times.clear()
                for name, of_module in wanted.items():
                    missing = [call for call in of_module if call not in self.activations]
                    handles.append(modules[name].register_forward_hook(self._catching(name, missing)))
                with torch.enable_grad(), _Replaced(style, through_detach):
                    model(self._x.clone())  # a first layer may work in place
                while handles:
                    handles.pop().remove()
                if self.activations.keys() >= set(calls):
                    break
        finally:
            for handle in handles:
                handle.remove()
            torch.backends.mha.set_fastpath_enabled(fast)
            for module, mode in training:
                module.training = mode
            for parameter, required in frozen:
                parameter.requires_grad_(required)

    def _catching(self, name: str, calls: list[Call]) -> Callable[..., None]:
        def catch(module: nn.Module, args: object, output: Any) -> None:
            for call in calls:
                if call.number == self.times[name]:
                    tensor = call.tensor(output)
                    if not tensor.requires_grad:  # indices, or an output that does not depend on the input
                        continue
                    self.activations[call] = tensor.detach().clone()
                    # The edge stays that of this output, also where a later operation works in place.
                    self._edges[call] = get_gradient_edge(tensor)
            self.times[name] += 1

        return catch

    def pixels(self, call: Call, unit: tuple[int, ...], value: float | None = None) -> Tensor:
        """The projection (samples, C, ...) of one unit (index into the call's output), by default its activation."""
        seed = torch.zeros_like(self.activations[call])
        seed[unit] = self.activations[call][unit] if value is None else value
        return self.sent_back(call, seed)

    def sent_back(self, call: Call, seed: Tensor) -> Tensor:
        """The signal at the input, for a signal with the shape of the call's output."""
        (pixels,) = torch.autograd.grad((self._edges[call],), self._x, seed, retain_graph=True, allow_unused=True)
        return torch.zeros_like(self._x) if pixels is None else pixels


def reference(
    model: nn.Module,
    x: Tensor,
    layer: str,
    units: list[tuple[int, ...]],
    style: str = "deconvnet",
    of_sample: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Projections of units (sample, *index) of a module's output: activations (units,), pixels (units, C, ...).

    The seed is the activation. The pixels are those of the unit's sample, or of another one that is named.
    """
    call = Call(layer)
    run = ReferenceRun(model, x, [call], style)
    pixels = [run.pixels(call, unit)[unit[0] if of_sample is None else of_sample] for unit in units]
    return torch.stack([run.activations[call][unit] for unit in units]), torch.stack(pixels)


def relative_error(a: Tensor, b: Tensor) -> float:
    """||a - b|| / ||b||, the largest over the first axis."""
    a, b = a.flatten(1), b.flatten(1)
    return float(((a - b).norm(dim=1) / b.norm(dim=1)).max())


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Assert that `model` and the random state are unchanged at the end of the block."""

    def state() -> dict[str, Any]:
        found: dict[str, Any] = {"rng": torch.random.get_rng_state()}
        for name, module in model.named_modules():
            found[f"{name} training"] = module.training
            for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_hooks_with_kwargs"):
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
    """The model with random batch-norm statistics and affine weights, so that a wrong rule is visible."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            if module.affine:
                with torch.no_grad():
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_(0, 0.2)
    return model
