"""What `repr` shows of a dataclass: one line, whatever its fields hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from deconvviz.results.shown_images import ShownImages

LONGEST = 60  # characters of a field


def summary(value: Any) -> str:
    """A dataclass or named tuple in one line: tensors by their shape, long fields by how many items they have.

    >>> from deconvviz.results import Unit
    >>> summary(Unit(0, "conv1", 3, (4, 5), 0.5))
    "Unit(sample=0, layer='conv1', channel=3, position=(4, 5), activation=0.5)"
    """
    named = value._fields if hasattr(value, "_fields") else [field.name for field in dataclasses.fields(value)]
    return f"{type(value).__name__}({', '.join(f'{name}={_field_text(held(value, name))}' for name in named)})"


def held(value: Any, name: str) -> Any:
    """A field as it is held in memory, where an attribute of that name may be made when it is read."""
    return vars(value)[name] if dataclasses.is_dataclass(value) else getattr(value, name)


def _field_text(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"tensor of shape {tuple(value.shape)}"
    if isinstance(value, ShownImages):
        return f"tensor of shape {value.shape}"
    if type(value).__name__ == "CroppedPixels":  # seen as the tensor that is made from it
        return f"tensor of shape {(len(value), *value.shape)}"
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST else f"{value[: LONGEST - 3]}...")
    if isinstance(value, (tuple, list, Mapping)):
        shown = "" if _holds_more(value) else repr(value)
        kind = f"{len(value)} item{'' if len(value) == 1 else 's'}"
        return shown if 0 < len(shown) <= LONGEST else kind
    shown = f"{type(value).__name__}(...)" if dataclasses.is_dataclass(value) else repr(value)
    return shown if len(shown) <= LONGEST and len(shown.splitlines()) == 1 else type(value).__name__


def _holds_more(value: Any) -> bool:
    """Whether a collection holds other than numbers and texts."""
    items = value.values() if isinstance(value, Mapping) else value
    return any(
        _holds_more(item)
        if isinstance(item, (tuple, list, Mapping))
        else not (item is None or isinstance(item, (str, int, float)))
        for item in items
    )
