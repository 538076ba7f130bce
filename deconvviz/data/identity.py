"""What tells one scan from another: digests of a model, a dataset and a transform, each with a name of its own."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from deconvviz.data.digests import Digest
from deconvviz.data.folder import ImageFolder
from deconvviz.data.items import image_of, is_indexed, label_of, prepared_image

LOOKED_AT = 16  # items, evenly spread, of datasets that are not known from their files


def identity_of(model: nn.Module, dataset: Any, preprocess: Callable[[Any], Tensor] | None) -> dict[str, Any]:
    """Model, dataset and transform as plain values that are equal where those are the same.

    Every weight counts. Of a tensor every number counts, of a folder every name and file size; of other datasets the
    length and 16 items. A transform counts by its name or repr, and by what it makes of up to 16 items.
    """
    return {
        "model": f"{type(model).__name__} {_digest_of_tensors(dict(model.state_dict()))}",
        "dataset": _dataset(dataset),
        "transform": _transform(dataset, preprocess),
    }


def _dataset(dataset: Any) -> str:
    kind = type(dataset).__name__
    if not is_indexed(dataset):
        return kind
    digest = Digest()
    if isinstance(dataset, Tensor):
        digest.add(dataset)
    elif isinstance(dataset, TensorDataset):
        for tensor in dataset.tensors:
            digest.add(tensor)
    elif isinstance(dataset, ImageFolder):
        for name in dataset.names:
            digest.add(name)
            digest.add((dataset.root / name).stat().st_size)
    else:
        for item in _spread(dataset):
            digest.add(None if item is None else image_of(item))
            digest.add(None if item is None else label_of(item))
    return f"{kind} of {len(dataset)} items, {digest.text}"


def _transform(dataset: Any, preprocess: Callable[[Any], Tensor] | None) -> str:
    if preprocess is None:
        return "none"
    named = re.sub(r" at 0x[0-9a-f]+", "", repr(preprocess))  # where a function lies in memory is no identity
    digest = Digest()
    for item in _spread(dataset) if is_indexed(dataset) else []:
        made = None
        with contextlib.suppress(Exception):  # a broken item is found again, and reported, when its turn comes
            made = None if item is None else prepared_image(item, preprocess)
        digest.add(made)
    return f"{named}, {digest.text}"


def _spread(dataset: Any) -> list[Any]:
    """Up to 16 items, None for those that cannot be read."""
    items = []
    for index in sorted({round(place) for place in np.linspace(0, len(dataset) - 1, LOOKED_AT)}):
        try:
            items.append(dataset[index])
        except Exception:
            items.append(None)
    return items


def _digest_of_tensors(tensors: dict[str, Any]) -> str:
    digest = Digest()
    for name, tensor in tensors.items():
        digest.add(name)
        digest.add(tensor)
    return digest.text
