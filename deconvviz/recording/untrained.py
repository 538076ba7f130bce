"""Modules of a model whose weights are still random, because the file that was loaded has none for them."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

from torch import nn

# Per module: the file, and the version of each tensor. One that was written since, by training or loading, is another.
_random: weakref.WeakKeyDictionary[nn.Module, tuple[str, dict[str, int]]] = weakref.WeakKeyDictionary()


def mark_untrained(model: nn.Module, names: Iterable[str], file: str) -> None:
    """Note that the tensors `names` of a model are random, since `file` has none that fit."""
    for name in names:
        home, _, own = name.rpartition(".")
        module = model.get_submodule(home)
        noted = _random.get(module, ("", {}))[1]
        _random[module] = file, {**noted, own: getattr(module, own)._version}


def untrained(model: nn.Module) -> dict[str, str]:
    """The modules, by name, that have random weights, each with the file that has none for it."""
    if not _random:
        return {}
    return {name: _random[module][0] for name, module in model.named_modules() if _is_random(module)}


def _is_random(module: nn.Module) -> bool:
    noted = _random.get(module, ("", {}))[1]
    return any(getattr(getattr(module, name, None), "_version", -1) == version for name, version in noted.items())
