"""The identity of a scan: model, dataset and transform as plain values, each with a name."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils.data import TensorDataset

from deconvviz.data.datasets import OF_FILES
from deconvviz.data.digests import Digest
from deconvviz.data.items import IMAGE_KEYS, image_of, label_of, prepared_image
from deconvviz.data.source import Source
from deconvviz.recording.rounding import differing

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # addresses in memory differ from process to process


def identity_of(model: nn.Module, source: Source, preprocess: Callable[[Any], Tensor] | None) -> dict[str, Any]:
    """Model, dataset and transform as plain values that are equal if these are the same.

    Every weight and buffer counts, and the `repr` of the modules. For a tensor every number counts, for a folder every
    name and file size, for other datasets the length and 16 items, for an iterable its first image. A transform counts
    by its name or repr, and by its results for up to 16 items.
    """
    items = source.spread()
    return {
        "model": f"{type(model).__name__} {_digest_of_tensors(model)}",
        "structure": _structure(model),
        "dataset": _dataset(source, items, preprocess),
        "transform": _transform(items, preprocess),
    }


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """The first difference between two identities: its name, and the old and new value in words.

    For a structure, this is the first line that differs; activations are compared up to rounding.

    Example:
        >>> difference({"k": 3}, {"k": 4})
        ('k', '3', '4')
    """
    for name, value in now.items():
        held = before.get(name)
        if name == "layers on the first image":
            if layer_difference := _layer_differing(held, value):
                return layer_difference
        elif name == "structure" and held != value:
            lines = itertools.zip_longest(str(held).split("\n"), str(value).split("\n"), fillvalue="")
            old_line, new_line = next((old, new) for old, new in lines if old != new)
            return name, repr(old_line.strip()), repr(new_line.strip())
        elif held != value:
            return name, repr(held), repr(value)
    return None


def _layer_differing(before: Any, now: Any) -> tuple[str, str, str] | None:
    if before is None or now is None:  # none of the items that were tried could be read
        return None
    if list(before) != list(now):
        return "layers", repr(list(before)), repr(list(now))
    for layer, shown in now.items():
        if layer_difference := differing(before[layer], shown):
            return f"output of layer {layer!r} on the first image", *layer_difference
    return None


def _structure(model: nn.Module) -> str:
    try:
        return _ADDRESS.sub("", repr(model))
    except Exception:  # the `__repr__` of a user's module may fail
        return type(model).__name__


def _dataset(source: Source, items: Sequence[Any], preprocess: Any) -> str:
    data, digest = source.data, Digest()
    kind = type(data).__name__
    if not source.indexed:
        first = source.first(preprocess)
        return f"an iterable that begins with {Digest(*(first if isinstance(first, tuple) else (first,))).text}"
    if isinstance(data, Tensor):
        digest.add(data)
    elif isinstance(data, TensorDataset):
        for tensor in data.tensors:
            digest.add(tensor)
    elif isinstance(data, OF_FILES):
        for name, content in data.contents():
            digest.add(name)
            digest.add(content)
    else:
        for item in items:
            for part in _parts(item):
                digest.add(part)
            digest.add(None if item is None else label_of(item))
    return f"{kind} of {len(data)} items, {digest.text}"


def _parts(item: Any) -> Iterator[Any]:
    """The image of an item, or each of its inputs."""
    if isinstance(item, Mapping) and not set(IMAGE_KEYS) & set(item):
        yield from item.values()
    else:
        image = None if item is None else image_of(item)
        yield from image if isinstance(image, (tuple, list)) else (image,)


def _transform(items: Sequence[Any], preprocess: Callable[[Any], Tensor] | None) -> str:
    if preprocess is None:
        return "none"
    digest = Digest()
    for item in items:
        result = None
        with contextlib.suppress(Exception):  # a broken item is found again, and reported, when its turn comes
            result = None if item is None else prepared_image(item, preprocess)
        digest.add(result)
    return f"{_ADDRESS.sub('', repr(preprocess))}, {digest.text}"


def _digest_of_tensors(model: nn.Module) -> str:
    digest = Digest()
    # Buffers that are not saved count, too.
    for name, tensor in {**model.state_dict(), **dict(model.named_buffers(remove_duplicate=False))}.items():
        digest.add(name)
        digest.add(tensor)
    return digest.text
