"""What tells one scan from another: digests of a model, a dataset and a transform, each with a name of its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import TensorDataset

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
    digest = hashlib.sha256()
    if isinstance(dataset, Tensor):
        digest.update(_bytes(dataset))
    elif isinstance(dataset, TensorDataset):
        for tensor in dataset.tensors:
            digest.update(_bytes(tensor))
    elif isinstance(dataset, ImageFolder):
        for name in dataset.names:
            digest.update(f"{name} {(dataset.root / name).stat().st_size}\n".encode("utf-8", "surrogateescape"))
    else:
        for item in _spread(dataset):
            digest.update(b"broken" if item is None else _bytes(image_of(item)) + str(label_of(item)).encode())
    return f"{kind} of {len(dataset)} items, {digest.hexdigest()[:16]}"


def _transform(dataset: Any, preprocess: Callable[[Any], Tensor] | None) -> str:
    if preprocess is None:
        return "none"
    named = re.sub(r" at 0x[0-9a-f]+", "", repr(preprocess))  # where a function lies in memory is no identity
    digest = hashlib.sha256()
    for item in _spread(dataset) if is_indexed(dataset) else []:
        try:
            digest.update(b"broken" if item is None else _bytes(prepared_image(item, preprocess)))
        except Exception:  # a broken item is found again, and reported, when its turn comes
            digest.update(b"broken")
    return f"{named}, {digest.hexdigest()[:16]}"


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
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(name.encode("utf-8", "surrogatepass") + (_bytes(tensor) if isinstance(tensor, Tensor) else b""))
    return digest.hexdigest()[:16]


def _bytes(image: Any) -> bytes:
    """What an image or tensor holds, with its shape and type."""
    if isinstance(image, Tensor):
        whole = image.detach().cpu().contiguous()
        return f"{tuple(whole.shape)} {whole.dtype}".encode() + whole.flatten().view(torch.uint8).numpy().tobytes()
    if isinstance(image, (Image.Image, np.ndarray)):
        array = np.asarray(image)
        return f"{array.shape} {array.dtype}".encode() + array.tobytes()
    return repr(type(image)).encode()
