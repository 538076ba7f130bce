"""What is known of a model beside its weights: what its outputs are called, and whether its weights are random."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from torch import nn

_classes: weakref.WeakKeyDictionary[nn.Module, tuple[str, ...]] = weakref.WeakKeyDictionary()
# Of models with random weights, the version of each parameter; one that was written since is another.
_versions_when_random: weakref.WeakKeyDictionary[nn.Module, list[int]] = weakref.WeakKeyDictionary()


def note_classes(model: nn.Module, names: Sequence[str]) -> None:
    """Note what the classes of a model are called, in the order of its outputs."""
    _classes[model] = tuple(names)


def classes_of_model(model: nn.Module) -> tuple[str, ...]:
    """What the classes of a model are called; () if that is not known."""
    return _classes.get(model, ())


def note_random(model: nn.Module) -> None:
    """Note that all weights of a model are random."""
    _versions_when_random[model] = _versions(model)


def has_random_weights(model: nn.Module) -> bool:
    """Whether the weights of a model are known to be random, and were not written since.

    >>> model = nn.Linear(2, 2)
    >>> note_random(model)
    >>> has_random_weights(model), has_random_weights(nn.Linear(2, 2))
    (True, False)
    """
    return model in _versions_when_random and _versions_when_random[model] == _versions(model)


def _versions(model: nn.Module) -> list[int]:
    return [parameter._version for parameter in model.parameters()]
