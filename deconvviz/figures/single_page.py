"""Pages that are one file, with no request to anywhere: style, script, data and pictures stand in it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

from torch import Tensor

from deconvviz.images import to_pil
from deconvviz.io.atomic import replacing
from deconvviz.io.ownership import UNSIGNED, signed
from deconvviz.io.pages import verbatim, web_file, web_page
from deconvviz.results.base import plain


def write_page(path: str | os.PathLike[str], folder: str, data: Any, **words: Any) -> Path:
    """Write a page, atomically, and return its path.

    Args:
        path: The file to write.
        folder: The folder in `web/` that holds ``page.html``, ``style.css`` and a script of the folder's name.
        data: What the script reads, in values that JSON can hold.
        **words: Texts of the page, and lists of them.
    """
    names = "shared/colours.css", f"{folder}/style.css", f"{folder}/{folder}.js"
    colours, own, script = (web_file(name).decode() for name in names)
    style = colours + own
    # A "<" in a name could end the element that holds the data.
    text = json.dumps(plain(data), allow_nan=False).replace("<", "\\u003c")
    page = web_page(
        f"{folder}/page.html",
        **words,
        generator=UNSIGNED,
        style=verbatim(style),
        script=verbatim(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        data=verbatim(text),
    )
    with replacing(path) as beside:
        beside.write_bytes(signed(page.encode()))
    return Path(path)


def png_address(picture: Tensor) -> str:
    """A picture (h, w, 3) in [0, 1] as the address of an image."""
    written = io.BytesIO()
    to_pil(picture).save(written, format="png")
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
