"""Which layers are meant: what ``layer=`` and ``layers=`` take, everywhere, and which convolutions count as all."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Set
from typing import Any

from torch import nn

from deconvviz.arguments import described, listed
from deconvviz.errors import InputError, unknown_layer
from deconvviz.recording.tape import Tape
from deconvviz.recording.untrained import untrained

LayerName = str | nn.Module
Layers = LayerName | Iterable[LayerName] | None
CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.modules.conv._ConvNd,)
WEIGHTED: tuple[type[nn.Module], ...] = (*CONVOLUTIONS, nn.Linear)


def layer_name(layer: Any, model: nn.Module) -> str:
    """The name of one layer: a name as it is, for a module of the model the name of its first call.

    Raises InputError for anything else.
    """
    if isinstance(layer, str):
        return str(layer)
    if isinstance(layer, nn.Module):
        name = next((name for name, module in model.named_modules() if module is layer), None)
        if name is None:
            raise InputError(f"the layer {type(layer).__name__} is no module of the model {type(model).__name__}")
        return ".".join(part for part in name.split(".") if part != "_orig_mod") or "output"
    raise InputError(
        f"a layer is given by its name, as `DeconvNet.layers` lists it, or as a module of the model, "
        f"not as {described(layer)}"
    )


def layer_names(layers: Any, model: nn.Module) -> list[str] | None:
    """The names of the layers that are asked for, each once and in their order; None for None, the default ones.

    layers: a name, a module of the model, or any iterable of these, which is read once. A set has no order; its names
        come in that of the alphabet.

    Raises InputError for what is none, and for an empty list.
    """
    if layers is None:
        return None
    if isinstance(layers, (str, nn.Module)):
        return [layer_name(layers, model)]
    several = list(layers) if isinstance(layers, (Set, dict)) else listed(layers)
    names = [layer_name(layers, model)] if several is None else [layer_name(layer, model) for layer in several]
    if not names:
        raise InputError("there is no layer to look at; name at least one, or give layers=None for the default ones")
    return list(dict.fromkeys(sorted(names) if isinstance(layers, (set, frozenset)) else names))


def check_layers(names: Iterable[str], ran: Collection[str], model: nn.Module) -> None:
    """Raise UnknownLayerError for a name that is not among the layers that ran, in the order in which they ran.

    Raises InputError for a layer that depends on weights which the loaded file does not have.
    """
    for name in names:
        if name not in ran:
            raise unknown_layer(model, name, ran)
        for module, file in untrained(model).items():
            if _depends(name, module, list(ran), model):
                raise InputError(
                    f"layer {name!r} depends on the weights of {module!r}, which are random, since {file} has none "
                    f"that fit; choose a layer before it, or build the model as it was trained"
                )


def _depends(layer: str, module: str, ran: list[str], model: nn.Module) -> bool:
    """Whether a layer is a call of a module, contains one, or ran after one."""
    own, called = model.get_submodule(module), module_called(layer, model)
    if called is not None and any(part is own for part in called.modules()):
        return True
    return any(module_called(name, model) is own for name in ran[: ran.index(layer)])


def layers_of_kind(
    tape: Tape, model: nn.Module, kinds: tuple[type[nn.Module], ...] = CONVOLUTIONS, words: str = "convolution"
) -> list[str]:
    """Each call of a module of some kinds in a recorded run, in the order in which they ran, if it has its weights.

    Raises InputError where there is none; words: what was looked for.
    """
    names = [name for name in tape.layers if isinstance(module_called(name, model), kinds)]
    names = [name for name in names if tape.layers[name].value.carries_signal]
    random = [model.get_submodule(name) for name in untrained(model)]
    names = [name for name in names if not any(module_called(name, model) is module for module in random)]
    if not names:  # functional calls, such as those of an exported program
        functions = {CONVOLUTIONS: ("conv",), WEIGHTED: ("conv", "linear")}.get(kinds, ())
        calls = {name: layer for name, layer in tape.layers.items() if module_called(name, model) is None}
        names = [
            name for name, layer in calls.items() if layer.kind.startswith(functions) and layer.value.carries_signal
        ]
    if not names:
        raise InputError(f"the model {type(model).__name__} runs no {words}; name the layers that are meant")
    return names


def module_called(name: str, model: nn.Module) -> nn.Module | None:
    """The module whose call a layer is: for ``relu_1`` that of ``relu``; None for a functional call.

    The layer ``output`` is the call of the whole model, which may be a single convolution.
    """
    modules = {**dict(model.named_modules()), "output": model} | dict(model.named_children())
    return modules.get(name) or modules.get(re.sub(r"_\d+$", "", name))
