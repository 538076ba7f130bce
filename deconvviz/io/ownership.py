"""A mark in the library's own files, which is valid as long as nobody changes the file.

The mark is a line of text where the format has room for one: a PNG's ``Software``, a PDF's ``Creator``, the metadata of
an SVG, a safetensors header, a page's generator. It contains the digest of the rest of the file. A file without a mark,
or with another digest, belongs to the user.

>>> content = signed(b"<svg>" + UNSIGNED.encode() + b"</svg>")
>>> import tempfile
>>> path = Path(tempfile.mkdtemp()) / "a.svg"
>>> _ = path.write_bytes(content)
>>> is_ours(path)
True
>>> _ = path.write_bytes(content.replace(b"</svg>", b"<text>my note</text></svg>"))
>>> is_ours(path)
False
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_WORDS = "deconvviz sha256 "
UNSIGNED = _WORDS + 64 * "0"  # the placeholder of a mark
_MARK = re.compile(_WORDS.encode() + rb"([0-9a-f]{64})")
_PNG, _CHUNK = b"\x89PNG\r\n\x1a\n", b"tEXtSoftware\0"
_NEAR = 1 << 20  # a mark is within this many bytes of either end of the file
_SOFTWARE = 305  # the tag of TIFF and EXIF


def marking(kind: str) -> dict[str, Any]:
    """Options of matplotlib's `savefig` that write the mark into a picture; empty if the format has no room for one.

    Example:
        >>> marking("raw")
        {}
    """
    if kind == "png":
        return {"metadata": {"Software": UNSIGNED}}
    if kind in ("pdf", "ps", "eps", "svg"):
        return {"metadata": {"Creator": UNSIGNED}}
    if kind in ("jpg", "jpeg"):
        return {"pil_kwargs": {"comment": UNSIGNED}}
    if kind in ("tif", "tiff"):
        return {"pil_kwargs": {"tiffinfo": {_SOFTWARE: UNSIGNED}}}
    if kind == "webp":
        from PIL import Image  # noqa: PLC0415  slow to import

        exif = Image.Exif()
        exif[_SOFTWARE] = UNSIGNED
        return {"pil_kwargs": {"exif": exif.tobytes()}}
    return {}


def picture_of(figure: Any, kind: str, dpi: int, *, more: Sequence[Any] = ()) -> bytes:
    """The bytes of a matplotlib figure in a format, with the mark if the format has room for one.

    more: further pages of a PDF.
    """
    picture = io.BytesIO()
    if not more:
        figure.savefig(picture, dpi=dpi, format=kind, **marking(kind))
        return signed(picture.getvalue())
    from matplotlib.backends.backend_pdf import PdfPages  # noqa: PLC0415  slow to import

    with PdfPages(picture, **marking("pdf")) as pages:
        for page in (figure, *more):
            pages.savefig(page, dpi=dpi)
    return signed(picture.getvalue())


def signed(content: bytes) -> bytes:
    """`content` with its mark filled in at the place of `UNSIGNED`; unchanged if there is no such place."""
    at = content.find(UNSIGNED.encode())
    if at < 0:
        return content
    start, end = _sealed(content[:8], at, content[max(0, at - len(_CHUNK)) : at])
    parts = memoryview(content)[:start], memoryview(content)[end:]
    sha = hashlib.sha256(parts[0])
    sha.update(parts[1])
    digest = sha.hexdigest().encode()
    check = zlib.crc32(_CHUNK + _WORDS.encode() + digest).to_bytes(4, "big")
    return b"".join((parts[0], digest, check[: end - start - len(digest)], parts[1]))


def is_ours(path: str | os.PathLike[str]) -> bool:
    """Whether the library wrote the file and nobody has changed it since. A link is never ours."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            for first in dict.fromkeys((0, max(0, size - _NEAR))):
                file.seek(first)
                near = file.read(_NEAR)
                if mark := _MARK.search(near):
                    break
            else:
                return False
            file.seek(0)
            start, end = _sealed(file.read(8), first + mark.start(), near[: mark.start()][-len(_CHUNK) :])
            file.seek(0)
            digest = hashlib.sha256(file.read(start))
            file.seek(end)
            while part := file.read(_NEAR):
                digest.update(part)
    except OSError:
        return False
    return digest.hexdigest().encode() == mark[1]


def lies_in(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> bool:
    """Whether `path` is `folder` or below it, through any links; it need not exist.

    Example:
        >>> lies_in("photos/../photos/new/a.png", "photos"), lies_in("photos2", "photos")
        (True, False)
    """
    below, root = os.path.realpath(path), os.path.realpath(folder)
    return below == root or below.startswith(root.rstrip(os.sep) + os.sep)


def _sealed(head: bytes, at: int, before: bytes) -> tuple[int, int]:
    """The range of the digest of a mark at `at`, including what the format computes from it (a PNG's chunk checksum).

    head: the file's first bytes. before: the bytes before the mark.
    """
    start = at + len(_WORDS)
    return start, start + 64 + (4 if head == _PNG and before == _CHUNK else 0)
