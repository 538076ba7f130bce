"""The names of a dataset, of its items and of its classes.

Attributes such as `names`, `samples` and `root` are conventions without guarantees. Unexpected values are ignored, and
nothing here raises an error, because it is called after the work is done. One item is looked up at a time.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset

from deconvviz.data.loaders import Collated


def name_of_item(dataset: Any, index: int) -> str:
    """The file name of an item, if the dataset has one for each item; otherwise its index.

    Example:
        >>> class Photos(list):
        ...     names = ["a.png", "b.png"]
        >>> name_of_item(Photos([0, 0]), 1), name_of_item([0, 0], 1), name_of_item(Photos([0, 0, 0]), 1)
        ('b.png', '1', '1')
    """
    if (part := _part(dataset, index)) is not None:
        return name_of_item(*part)
    for attribute in ("names", "samples"):
        try:
            held = _numbered_entries(dataset, attribute)
            if held is None or len(held) != len(dataset):
                continue
            named = held[index]
            if attribute == "samples" and isinstance(named, (tuple, list)):
                named = named[0]  # of (path, label)
            if isinstance(named, (str, bytes, os.PathLike)) and (name := os.fsdecode(named)):
                return name
        except Exception:
            continue
    return str(index)


def classes_of(dataset: Any) -> list[str]:
    """The names of the labels, if the dataset has them; those of a concatenation if all its parts have the same."""
    try:
        if isinstance(dataset, (Subset, Collated)):
            return classes_of(dataset.dataset)
        if isinstance(dataset, ConcatDataset):
            first, *others = map(classes_of, dataset.datasets)
            return first if all(other == first for other in others) else []
        held = _numbered_entries(dataset, "classes")
        return [] if held is None else [str(held[label]) for label in range(len(held))]
    except Exception:
        return []


def _part(dataset: Any, index: int) -> tuple[Any, int] | None:
    """The dataset that an item comes from, and its index there, if torch's own classes made one of others."""
    try:
        if isinstance(dataset, Subset):
            return dataset.dataset, int(dataset.indices[index])
        if isinstance(dataset, Collated):
            return dataset.dataset, index
        if isinstance(dataset, ConcatDataset):
            number = bisect.bisect_right(dataset.cumulative_sizes, index)
            return dataset.datasets[number], index - (dataset.cumulative_sizes[number - 1] if number else 0)
    except Exception:
        pass
    return None


def short_name(dataset: Any) -> str:
    """A one-line name of a dataset: its own name, its folder's name, or its type."""
    if isinstance(dataset, Collated):
        return short_name(dataset.dataset)
    if isinstance(dataset, Subset):
        return f"part of {short_name(dataset.dataset)}"
    name, root = _attribute(dataset, "name"), _attribute(dataset, "root")
    try:
        if isinstance(name, str) and name:
            return str(name)
        if isinstance(root, (str, os.PathLike)) and (folder := Path(root).resolve().name):
            return folder
    except Exception:  # there are paths without an absolute one
        pass
    return type(dataset).__name__


def _attribute(dataset: Any, name: str) -> Any:
    try:
        return (
            None if isinstance(dataset, Tensor) else getattr(dataset, name, None)
        )  # a tensor's `names` are those of its axes
    except Exception:
        return None


def _numbered_entries(dataset: Any, name: str) -> Any:
    """An attribute that has entries by number, or None."""
    held = _attribute(dataset, name)
    if isinstance(held, (list, tuple, np.ndarray)):
        return held
    by_number = hasattr(held, "__len__") and hasattr(held, "__getitem__")
    return held if by_number and not isinstance(held, (str, bytes, Mapping, Tensor)) else None
