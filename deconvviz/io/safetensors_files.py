"""Safetensors files with JSON in their header: written atomically, read as untrusted input.

The safetensors library checks the tensors in the header against the file's size, and bounds the header. `checked`
validates the JSON in it against the types of a dataclass or a reader.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save

from deconvviz.io.atomic import replacing
from deconvviz.io.ownership import UNSIGNED, signed

WRITER = "written by"  # the metadata entry with the mark

# Errors that a damaged or forged file can cause; RecursionError is a RuntimeError, and so is a shape that overflows.
DAMAGE = (SafetensorError, KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError, RuntimeError)


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> Path:
    """Write a safetensors file, atomically, with the library's mark (`ownership`) in its metadata.

    The same tensors and metadata give the same bytes. Raises OSError if the disk fails.
    """
    content = signed(_with_metadata(save(dict(tensors)), metadata))  # a killed `save_file` would leave files behind
    with replacing(path) as beside:
        beside.write_bytes(content)
    return Path(path)


def _with_metadata(content: bytes, metadata: Mapping[str, str]) -> bytes:
    """A safetensors file with its metadata sorted by name; the safetensors library writes them in any order."""
    end = 8 + int.from_bytes(content[:8], "little")
    entries = {WRITER: UNSIGNED, **dict(sorted(metadata.items()))}
    header = json.dumps({"__metadata__": entries, **json.loads(content[8:end])}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return b"".join((len(header).to_bytes(8, "little"), header, memoryview(content)[end:]))


def manifest_of(stored: Any, key: str) -> Any:
    """The JSON that an open file has under `key`. Raises one of `DAMAGE` if there is none."""
    return json_of((stored.metadata() or {})[key])


def json_of(text: str) -> Any:
    """Parse the JSON `text`. Raises ValueError if it is invalid, has a duplicate name or is nested too deeply.

    Example:
        >>> json_of('{"a": 1, "a": 2}')
        Traceback (most recent call last):
        ValueError: 'a' comes twice
    """
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} comes twice")
    return entries


def checked(value: Any, hint: Any, name: str) -> Any:
    """Return `value` if it has the type `hint`; an int passes for a float. Raises a TypeError that describes `name`.

    Example:
        >>> checked((1, 2), tuple[int, ...], "shape")
        (1, 2)
        >>> checked({"a": (1, "b")}, dict[str, tuple[int, ...]], "sizes")
        Traceback (most recent call last):
        TypeError: sizes['a'][1] is a str, not int
    """
    if hint is Any:
        return value
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if not any(_fits_hint(value, option, name) for option in inner):
            raise TypeError(f"{name} is a {type(value).__name__}, not {hint}")
    elif origin is typing.Literal:
        if value not in inner:
            raise TypeError(f"{name} is {value!r}, not one of {', '.join(map(repr, inner))}")
    elif origin is tuple:
        _check_tuple(value, inner, name)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        _check_kind(value, dict, name)
        for key, item in value.items():
            checked(key, inner[0], f"a name in {name}")
            checked(item, inner[1], f"{name}[{key!r}]")
    elif isinstance(origin, type) and issubclass(origin, Sequence):
        _check_tuple(value, (inner[0], ...), name)
    elif hint is None or isinstance(hint, type):
        _check_kind(value, type(None) if hint is None else hint, name)
    return value


def check_fields(result: Any) -> None:
    """Check the fields of a dataclass against their annotations. Raises TypeError."""
    kind: Any = type(result)
    hints = _hints(kind)
    for field in dataclasses.fields(result):
        checked(vars(result)[field.name], hints[field.name], f"{kind.__name__}.{field.name}")


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _fits_hint(value: Any, hint: Any, name: str) -> bool:
    try:
        checked(value, hint, name)
    except TypeError:
        return False
    return True


def _check_tuple(value: Any, inner: tuple[Any, ...], name: str) -> None:
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{name} is a {type(value).__name__}, not a list")
    if inner[1:] == (...,):
        inner = (inner[0],) * len(value)
    if len(value) != len(inner):
        raise TypeError(f"{name} has {len(value)} entries, not {len(inner)}")
    for number, (item, hint) in enumerate(zip(value, inner, strict=True)):
        checked(item, hint, f"{name}[{number}]")


def _check_kind(value: Any, kind: type, name: str) -> None:
    accepted = (float, int) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind in (int, float)):
        raise TypeError(f"{name} is a {type(value).__name__}, not {kind.__name__}")
