"""What a model is called with: one input or several, checked before it runs, explained when it does not fit."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from deconvviz.errors import DeconvVizError, InputError
from deconvviz.images import to_input
from deconvviz.normalisation import made_of
from deconvviz.projection.array_inputs import of_file
from deconvviz.projection.finite_checks import FiniteChecks, is_finite
from deconvviz.projection.half_precision import wide
from deconvviz.recording.placement import Placement
from deconvviz.recording.tape import Layer, mapped, paths
from deconvviz.results.words import agreeing


@dataclass(frozen=True)
class Call:
    """Arguments of one call of a model. Tensors given directly, not inside a list, have a batch axis."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def tensors(self) -> dict[str, Tensor]:
        """The floating-point tensors by where they stand: ``[0]``, ``[mask]``, ``[0][1]``."""
        every = paths({**dict(enumerate(self.args)), **self.kwargs})
        return {path: tensor for path, tensor in every if tensor.is_floating_point() or tensor.is_complex()}

    def named(self) -> dict[str, Tensor]:
        """The same tensors by what a message calls them."""
        tensors = self.tensors()
        return {f"argument {path}" if len(tensors) > 1 else "the input": tensor for path, tensor in tensors.items()}

    def watch(self, finite: FiniteChecks) -> None:
        """Have it checked whether the tensors are finite."""
        for name, tensor in self.named().items():
            finite.watch(tensor, partial(refuse_not_finite, name=name))

    @property
    def first(self) -> Tensor:
        return next(iter(self.tensors().values()))

    def part(self, numbers: Sequence[int], samples: int) -> Call:
        """The same call with some samples of the batch, by their numbers."""
        first, last = numbers[0], numbers[-1]
        together = list(numbers) == list(range(first, last + 1))
        rows = slice(first, last + 1) if together else torch.tensor(numbers)

        def cut(tensor: Tensor) -> Tensor:
            return tensor[rows] if tensor.shape[:1] == (samples,) else tensor

        return Call(mapped(self.args, cut), mapped(self.kwargs, cut))


def prepared(inputs: Any, model: nn.Module, preprocess: Any, finite: bool = True) -> Call:
    """A call of a model from what a user gives, placed as `Placement` says.

    inputs: a tensor (N, C, ...), an image, a path, or a list of images or paths; a path of an .npy file; a tuple of
        arguments; or a mapping of keyword arguments.
    finite: whether to look at every number now; otherwise the caller does, of what is read.

    Raises InputError where a tensor is empty, not finite, or of a type or shape that no network takes.
    """
    placement = Placement.of(model)
    if isinstance(inputs, Call):
        call = inputs
    elif isinstance(inputs, tuple):
        call = Call(inputs, {})
    elif isinstance(inputs, Mapping):
        call = Call((), dict(inputs))
    else:
        x = to_input(of_file(inputs, model), preprocess and placement.preprocess(preprocess))
        typed = x if x is inputs else placement.typed(x)
        made_of(typed, x)
        call = Call((typed,), {})
        _check_single(x)
    tensors = call.tensors()
    if not tensors:
        raise InputError("there is no floating-point tensor among the arguments, so there is nothing to project to")
    for name, tensor in call.named().items():
        check_dense(tensor, name)
        if 0 in tensor.shape:
            raise InputError(f"{name} has shape {tuple(tensor.shape)}, which is empty; give at least one sample")
        if finite:
            check_finite(tensor, name)
    placement.check_numbers(model, call.first)
    moved: Call = placement.moved(call)
    made_of(moved.first, call.first)
    return moved


def images_of(inputs: Any, model: nn.Module, preprocess: Any, what: str) -> Tensor:
    """The images (N, C, H, W) of an input, for what takes nothing else. Raises InputError for any other input."""
    call = prepared(inputs, model, preprocess)
    if len(call.args) != 1 or call.kwargs or not isinstance(call.args[0], Tensor) or call.first.ndim != 4:
        raise InputError(f"{what} is for networks that take one batch of images (N, C, H, W)")
    if call.first.is_meta:
        raise InputError(f"{what} needs numbers, and the input is on the device meta, which holds none")
    return call.first.detach()


def check_finite(tensor: Tensor, name: str = "the input") -> None:
    """Raise InputError where a tensor holds NaN or infinity."""
    if not is_finite(tensor):
        refuse_not_finite(tensor, name)


def refuse_not_finite(tensor: Tensor, name: str = "the input") -> None:
    """Raise InputError for a tensor that holds NaN or infinity."""
    bad = int((~torch.isfinite(tensor)).sum())
    values = agreeing(bad, "value that is", "values that are")
    raise InputError(f"{name} holds {bad} {values} NaN or infinite, of {tensor.numel()}; none may be")


def check_dense(tensor: Tensor, name: str) -> None:
    """Raise InputError for a sparse, nested or quantised tensor."""
    if tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized:
        kind = str(tensor.layout).removeprefix("torch.").removeprefix("_")
        kind = "nested" if tensor.is_nested else "quantised" if tensor.is_quantized else kind
        cure = "x.dequantize()" if tensor.is_quantized else "x.to_dense()"
        raise InputError(f"{name} is a {kind} tensor; give a dense one, such as {cure} makes")


def checked_signal(signal: Any, activations: Tensor, layer: str) -> Tensor:
    """A signal for a whole layer in the type of its activations. Raises InputError for what cannot be sent back."""
    if not isinstance(signal, Tensor):
        raise InputError(f"the signal is a tensor of the shape of layer {layer!r}, not {type(signal).__name__}")
    check_dense(signal, "the signal")
    if signal.shape != activations.shape:
        shapes = tuple(signal.shape), tuple(activations.shape)
        raise InputError(f"the signal has shape {shapes[0]} and layer {layer!r} {shapes[1]}; they must be equal")
    if signal.is_meta:
        raise InputError("the signal is on the device meta, which has no values; give one that has values")
    if signal.is_complex() and not activations.is_complex():
        raise InputError(f"the signal is complex and the activations of layer {layer!r} are not; give a real one")
    check_finite(signal, "the signal")
    return signal.detach().to(activations.device, wide(activations.dtype))


def _check_single(x: Tensor) -> None:
    if x.ndim < 2:
        raise InputError(f"the input has shape {tuple(x.shape)}; it must have a batch axis and channels, (N, C, ...)")
    if not (x.is_floating_point() or x.is_complex()):
        raise InputError(f"the input is {x.dtype}; convert it to floating point, scaled as the model expects")


# What to say when a model does not take its input

CONVOLUTION_AXES = {"Conv1d": 1, "Conv2d": 2, "Conv3d": 3}
LAST = "end the preprocess with .movedim(-1, 0)"
AXES = {1: "C, L", 2: "C, H, W", 3: "C, D, H, W"}


def refuse_misfit(model: nn.Module, call: Call, error: Exception) -> None:
    """Raise InputError with what does not fit, if that is why a model raised `error`; otherwise do nothing."""
    if isinstance(error, DeconvVizError):
        return
    reason = ""
    if isinstance(error, TypeError):
        reason = unbound(model, call)
    elif isinstance(error, (RuntimeError, ValueError, IndexError)):
        reason = misfit(model, call.first, error)
    if reason:
        raise InputError(reason) from error


def unbound(model: nn.Module, call: Call) -> str:
    """Which arguments a model is missing or does not know, or '' where they are those of its `forward`."""
    try:
        inspect.signature(model.forward).bind(*call.args, **call.kwargs)
    except TypeError as error:
        return f"{type(model).__name__} does not take these arguments: {error}"
    return ""


def check_batch_axis(call: Call, layers: Iterable[Layer]) -> None:
    """Raise InputError if a convolution among the layers has run on an input without a batch axis."""
    for layer in layers:
        rank = CONVOLUTION_AXES.get(layer.kind)
        if rank and len(layer.value.shape) == rank + 1:
            raise InputError(
                f"the input of shape {tuple(call.first.shape)} has no batch axis; "
                f"give x[None], or a batch (N, {AXES[rank]})"
            )


def misfit(model: nn.Module, x: Tensor, error: Exception) -> str:
    """Why a model cannot take `x`, or '' where the input is not known to be the reason."""
    shape = tuple(x.shape)
    parameter = next(model.parameters(), None)
    if parameter is not None and parameter.device != x.device:
        return f"the input is on {x.device} and the model on {parameter.device}; move one of them"
    if parameter is not None and parameter.dtype != x.dtype:
        return f"the input is {x.dtype} and the model {parameter.dtype}; convert one of them"
    for name, module in model.named_modules():
        if rank := CONVOLUTION_AXES.get(type(module).__name__):
            wanted = f"(N, {AXES[rank].replace('C', str(module.in_channels))})"
            if x.ndim != rank + 2 or shape[1] != module.in_channels:
                last = x.ndim == rank + 2 and shape[-1] == module.in_channels
                cure = f"; its channels seem to be last, so give x.movedim(-1, 1), or {LAST}" if last else ""
                return f"the input has shape {shape}; the first convolution, {name!r}, takes {wanted}{cure}"
            break
        if isinstance(module, nn.Linear) and shape[-1] != module.in_features:
            return f"the input has shape {shape}; the first linear layer, {name!r}, takes (N, {module.in_features})"
    said = str(error).partition("\n")[0]
    if '" not implemented for ' in said:
        return (
            f"the model does not run in {x.dtype} on the device {x.device.type} ({said}); "
            f"give model and input in a wider type, such as model.float() makes"
        )
    sizes = re.search(r"size|shape|dimension", said, re.IGNORECASE)
    return f"the model does not take an input of shape {shape}: {said}" if sizes else ""
