"""The filters of a layer, as it computes with them.

They are read where a convolution or a linear layer runs, not from a parameter called `weight`: so weights that are
normalised, standardised, pruned, parametrised or rounded in training are those that take effect.

A module is run alone, on zeros that just fit its kernel. What only a run of the whole model shows is taken from a
recorded one: layers that are functional calls, and the shape of the maps that a linear layer reads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deconvviz.errors import InputError, unknown_layer
from deconvviz.operations.registry import is_pointwise
from deconvviz.projection.finite_checks import is_finite
from deconvviz.projection.receptive_field import channel_axis
from deconvviz.recording.layer_names import CONVOLUTIONS, WEIGHTED, check_layers, module_called
from deconvviz.recording.recorder import record
from deconvviz.recording.tape import Operation, Tape, Value

aten: Any = torch.ops.aten


class LayerFilters(NamedTuple):
    """See `deconvviz.results.Filters`."""

    weight: Tensor
    groups: int = 1
    transposed: bool = False


def filters_of(model: nn.Module, layer: str, tape: Tape | None = None) -> LayerFilters:
    """The filters of a layer.

    Args:
        model: The model.
        layer: The layer's name.
        tape: A recorded run of the model, or None to look at the layer alone.

    Raises:
        UnknownLayerError: If there is no such layer.
        InputError: If the layer has no filters, or a linear layer reads no maps.
    """
    if tape is None:
        return _of_module(model, layer)
    operation = next((one for one in tape.operations if one.where == layer and _weight_in(one) is not None), None)
    if operation is None:
        if layer not in tape.layers:
            raise unknown_layer(model, layer, tape.layers)
        run = {one.where for one in tape.operations if _weight_in(one) is not None}
        raise _without_filters(layer, [*tape.layers], run)
    return _filters_in(operation, layer, tape)


def _of_module(model: nn.Module, layer: str) -> LayerFilters:
    names = {name or "output": module for name, module in model.named_modules()}
    module = module_called(layer, model)
    if module is None:
        raise unknown_layer(model, layer, names)
    check_layers([layer], [layer], model)
    if isinstance(module, nn.Linear):
        raise InputError(
            f"layer {layer!r} is linear, and its filters are pictures only where it reads maps, which a run shows; "
            f"give trace=net.trace(x)"
        )
    if not isinstance(module, CONVOLUTIONS):
        raise _without_filters(layer, [*names], {name for name, one in names.items() if isinstance(one, WEIGHTED)})
    try:
        tape = record(module, _zeros_for(module))
    except (RuntimeError, TypeError) as error:  # a part of a program, which may take more than maps
        raise InputError(
            f"layer {layer!r} does not run alone, and its filters show in a run; give trace=net.trace(x)"
        ) from error
    operation = next((one for one in tape.operations if _weight_in(one) is not None), None)
    if operation is None:  # the weights are made of the input
        raise InputError(f"layer {layer!r} has no filters of its own: it makes them of its input")
    return _filters_in(operation, layer, tape)


def _zeros_for(convolution: Any) -> Tensor:
    """An input that a convolution just takes."""
    like = next(convolution.parameters(), torch.zeros((), device="cpu"))
    padding = convolution.padding if isinstance(convolution.padding, tuple) else ()
    size = [1 + reach * (count - 1) for count, reach in zip(convolution.kernel_size, convolution.dilation, strict=True)]
    size = [extent + max(padding, default=0) for extent in size]  # what is reflected must be there
    return torch.zeros(1, convolution.in_channels, *size, dtype=like.dtype, device=like.device)


def _weight_in(operation: Operation) -> Value | None:
    """The weights of a convolution or a linear layer, unless they depend on the input."""
    kinds = (aten.convolution, F.linear)
    kind = getattr(operation.func, "overloadpacket", operation.func)
    weight = operation["weight"] if kind in kinds else None
    return weight if isinstance(weight, Value) and not weight.tracked else None


def _filters_in(operation: Operation, layer: str, tape: Tape) -> LayerFilters:
    weight = tape.data[operation["weight"].id].detach()
    if weight.is_meta or not is_finite(weight):
        said = "are on the device meta, which has no values" if weight.is_meta else "are not all finite"
        raise InputError(f"the filters of layer {layer!r} {said}")
    if operation.func is F.linear:
        return LayerFilters(_as_maps(weight, layer, operation["input"], tape).clone())
    groups, transposed = operation["groups"], operation["transposed"]
    if transposed:  # (inputs, filters of a group, kernel size)
        grouped = weight.unflatten(0, (groups, -1)).transpose(1, 2)
        weight = grouped.flatten(0, 1)
    return LayerFilters(weight.clone(), groups, transposed)


def _as_maps(weight: Tensor, layer: str, read: Value, tape: Tape) -> Tensor:
    """The weights of a linear layer in the shape of the maps that it reads."""
    makers, maps = tape.makers(), read
    while len(maps.shape) == 2 and (maker := makers.get(maps.id)) is not None and len(maker.inputs) == 1:
        (before,) = maker.inputs
        if before.shape != maps.shape and torch.Size(before.shape).numel() != torch.Size(maps.shape).numel():
            break
        if not (is_pointwise(maker) or len(before.shape) > 2):
            break
        maps = before
    shape = maps.shape[1:]
    if len(read.shape) != 2 or len(shape) < 2 or torch.Size(shape).numel() != weight.shape[1]:
        raise InputError(
            f"layer {layer!r} is linear and reads {weight.shape[1]} numbers that are no maps, so its filters are no "
            f"pictures; project its channels instead"
        )
    axis = channel_axis(tape, maps)
    whole: Tensor = weight.unflatten(1, shape).movedim(axis, 1)
    if whole.shape[2:].numel() == 1:
        raise InputError(
            f"layer {layer!r} is linear and reads maps of one pixel, so its filters are no pictures; project its "
            f"channels instead"
        )
    return whole


def _without_filters(layer: str, names: list[str], having: set[str]) -> InputError:
    """The error for a layer without filters. It names the nearest layer that has some: in it, else before it."""
    place = names.index(layer) if layer in names else 0
    inside = [name for name in names if name in having and name.startswith(f"{layer}.")]
    before = [name for name in names[:place] if name in having]
    after = [name for name in names[place:] if name in having]
    nearest = (inside or before[-1:] or after or [""])[0]
    said = f"; the nearest layer that has some is {nearest!r}" if nearest else ", and no other layer has any"
    return InputError(f"layer {layer!r} has no filters{said}")
