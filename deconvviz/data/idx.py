"""IDX files, the format in which MNIST is published.

Four bytes describe the content: two zeros, the type of a value (only 8, unsigned byte, is supported) and the number of
dimensions. Then follow the size of each dimension as a big-endian 32-bit integer, and the values, last dimension
fastest. Source of the format: the page of the MNIST database (Y. LeCun et al.).
"""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import zlib
from pathlib import Path
from typing import IO

import torch

from deconvviz.arguments import PATH, TEXT, instance, takes, whole_from
from deconvviz.errors import DataError, MissingFileError

UNSIGNED_BYTE = 8
MOST_VALUES = 2**30  # values in a file; MNIST has 47 million, its largest relative 640 million


@takes(path=PATH, dimensions=whole_from(0, 256))
def read_idx(path: str | os.PathLike[str], dimensions: int) -> torch.Tensor:
    """Read the values of an IDX file, gzipped or not, as a uint8 tensor with `dimensions` dimensions.

    Raises:
        MissingFileError: If the file does not exist.
        DataError: If it is not a complete IDX file of unsigned bytes with that many dimensions.
    """
    if not os.path.isfile(path):
        raise MissingFileError(f"there is no file {os.fspath(path)!r}")
    try:
        with Path(path).open("rb") as file:
            return _parsed(file, dimensions, os.fspath(path))
    except OSError as error:
        raise DataError(f"{os.fspath(path)!r} cannot be read ({error.strerror})") from error


@takes(content=instance("bytes", bytes), dimensions=whole_from(0, 256), name=TEXT)
def parse_idx(content: bytes, dimensions: int, *, name: str = "the data") -> torch.Tensor:
    r"""The values of an IDX file held in memory; `name` is what an error calls it. See `read_idx`.

    >>> parse_idx(b"\0\0\x08\x01" + b"\0\0\0\x03" + bytes([7, 2, 1]), dimensions=1)
    tensor([7, 2, 1], dtype=torch.uint8)
    >>> parse_idx(b"\0\0\x08\x01" + b"\0\0\0\x03" + bytes([7, 2]), dimensions=1, name="labels")
    Traceback (most recent call last):
    deconvviz.errors.DataError: 'labels' is truncated: its header promises 3 values, it holds 2
    """
    return _parsed(io.BytesIO(content), dimensions, name)


def _parsed(file: IO[bytes], dimensions: int, name: str) -> torch.Tensor:
    zipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if not zipped:
        return _values(file, dimensions, name)
    try:
        with gzip.GzipFile(fileobj=file) as unzipped:
            return _values(unzipped, dimensions, name)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name!r} is truncated or damaged: gzip says {str(error)!r}") from error


def _values(file: IO[bytes] | gzip.GzipFile, dimensions: int, name: str) -> torch.Tensor:
    """The values after the header; no more is read than the header declares."""
    header = 4 + 4 * dimensions
    magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    raw = file.read(header)
    if raw[:4] != magic[: len(raw)] or not raw:
        raise DataError(
            f"{name!r} is not an IDX file of unsigned bytes in {dimensions} dimension{'s' * (dimensions > 1)}: "
            f"it starts with {raw[:4].hex() or 'nothing'}, not with {magic.hex()}"
        )
    if len(raw) < header:
        raise DataError(f"{name!r} is truncated: its header has {len(raw)} of {header} bytes")
    sizes = struct.unpack(f">{dimensions}I", raw[4:header])
    promised = math.prod(sizes)
    if promised > MOST_VALUES:
        raise DataError(f"{name!r} is refused: its header promises {promised:,} values, more than {MOST_VALUES:,}")
    values = bytearray(file.read(promised))
    if len(values) < promised:
        raise DataError(f"{name!r} is truncated: its header promises {promised} values, it holds {len(values)}")
    if file.read(1):
        raise DataError(f"{name!r} has bytes after its end: its header promises {promised} values, it holds more")
    if promised == 0:
        raise DataError(f"{name!r} is empty: its header gives the sizes {' x '.join(map(str, sizes))}")
    return torch.frombuffer(values, dtype=torch.uint8).reshape(sizes)
