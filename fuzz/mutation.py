"""Mutates files: either their bytes, or the content inside their container, so that the container stays valid.

Each file format has a function that takes the bytes of a file, a `change` of bytes and a random generator, and returns
the bytes of a mutated file. It may raise any error if the file no longer has the format; then its bytes are mutated.
"""

from __future__ import annotations

import copy
import gzip
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

Change = Callable[[bytes], bytes]

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, 0.5, -0.0, float("nan"), float("inf")),
    *("", "x", "0", "\0", "\ud800", [], [[]], [0], [0, 0], ["x"], {}, {"x": 1}, {"tensor": "x"}),
    *({"mapping": [["x", 1]]}, {"mapping": [[[], 1]]}, {"kind": "Unit", "fields": {}}),
)


def changed(content: bytes, form: str, change: Change, chance: random.Random) -> bytes:
    """A mutated file. In two of three cases, its container stays valid."""
    if form == "bytes" or chance.random() < 1 / 3:
        return change(content)
    try:
        return _FORMS[form](content, change, chance)
    except Exception:  # no longer in this format
        return change(content)


def _json(content: bytes, change: Change, chance: random.Random) -> bytes:
    return json.dumps(_other(json.loads(content), chance)).encode("utf-8", "surrogatepass")


def _other(value: Any, chance: random.Random) -> Any:
    """`value` with one change: a part is removed, duplicated, renamed, swapped or replaced by an odd value."""
    root = [copy.deepcopy(value)]
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        places = list(_places(root))
        holder, key = chance.choice(places)
        action = chance.randrange(5)
        if action == 0 and holder is not root:
            del holder[key]
        elif action == 1 and isinstance(holder, list) and holder is not root:
            holder.insert(key, copy.deepcopy(holder[key]))
        elif action == 2 and isinstance(holder, dict):
            holder[chance.choice(("x", "", key + key, "kind", "tensor"))] = holder.pop(key)
        elif action == 3:
            other, its = chance.choice(places)
            holder[key] = copy.deepcopy(other[its])
        else:
            holder[key] = copy.deepcopy(chance.choice(ODD))
    return root[0]


def _places(value: Any) -> Any:
    """Every container in `value` with each of its keys."""
    for key, held in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(held, (dict, list)):
            yield from _places(held)


def _safetensors(content: bytes, change: Change, chance: random.Random) -> bytes:
    """Mutate the manifest in the header, the header's entries of tensors, or the numbers."""
    length = struct.unpack("<Q", content[:8])[0]
    header, numbers = json.loads(content[8 : 8 + length]), content[8 + length :]
    kept = header.get("__metadata__") or {}
    part = chance.randrange(5)
    if kept and part < 3:
        key = chance.choice(list(kept))
        kept[key] = json.dumps(_other(json.loads(kept[key]), chance))
    elif part == 3:
        header = _other(header, chance)
    else:
        numbers = change(numbers)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def _zip(content: bytes, change: Change, chance: random.Random) -> bytes:
    """Mutate one file of an archive, in most cases the pickle."""
    source, made = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    parts = {part.filename: source.read(part) for part in source.infolist()}
    pickles = [name for name in parts if name.endswith(".pkl")]
    chosen = chance.choice(pickles if pickles and chance.random() < 0.8 else list(parts))
    packing = zipfile.ZIP_DEFLATED if chance.random() < 0.05 else zipfile.ZIP_STORED
    with zipfile.ZipFile(made, "w", packing) as target:
        for name, held in parts.items():
            target.writestr(name, change(held) if name == chosen else held)
    return made.getvalue()


def _gzip(content: bytes, change: Change, chance: random.Random) -> bytes:
    return gzip.compress(change(gzip.decompress(content)), 1)


_FORMS: dict[str, Callable[[bytes, Change, random.Random], bytes]] = {
    "json": _json,
    "safetensors": _safetensors,
    "zip": _zip,
    "gzip": _gzip,
}
