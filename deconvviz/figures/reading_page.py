"""The page on which a person answers the questions of a test of reading: one file, with no request to anywhere."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from deconvviz.errors import InputError
from deconvviz.figures.reading import chosen_condition, rgb
from deconvviz.images import tiled, to_pil
from deconvviz.io.atomic import replacing
from deconvviz.io.ownership import UNSIGNED, signed
from deconvviz.io.pages import verbatim, web_file, web_page
from deconvviz.results import ReadingQuestion, ReadingTest
from deconvviz.results.base import plain, printable


def write(result: ReadingTest, path: str | os.PathLike[str], condition: str | None = None) -> Path:
    """Write the page, atomically. See `ReadingTest.write_page`."""
    name = chosen_condition(result, condition)
    asked = [question for question in result.examples if name in question.pictures]
    if not asked:
        raise InputError(f"the test has no question to show with {name!r}; test more channels or images")
    with replacing(path) as beside:
        beside.write_bytes(signed(_page(result, name, asked).encode()))
    return Path(path)


def _page(result: ReadingTest, condition: str, asked: Sequence[ReadingQuestion]) -> str:
    colours, style, script = (
        web_file(name).decode() for name in ("shared/colours.css", "reading/style.css", "reading/reading.js")
    )
    style = colours + style
    facts = {
        "questions": [_facts(question, condition, condition in result.signed) for question in asked],
        "observers": list(result.observers),
    }
    # A "<" in a name could end the element that holds the data.
    data = json.dumps(plain(facts), allow_nan=False).replace("<", "\\u003c")
    return web_page(
        "reading/page.html",
        title=printable(f"Which piece fires the channel? {result.layer}"),
        condition=_words(condition, condition in result.signed),
        signed=_legend(asked[0].choices.shape[1]) if condition in result.signed else "",
        generator=UNSIGNED,
        style=verbatim(style),
        script=verbatim(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        data=verbatim(data),
    )


def _words(condition: str, is_signed: bool) -> str:
    return f"its {condition} projections" if is_signed else condition


def _legend(channels: int) -> str:
    if channels == 3:
        return "Grey is zero: there the image has no effect."
    return "At red pixels a brighter image would fire the channel more, at blue pixels a darker one."


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _facts(question: ReadingQuestion, condition: str, is_signed: bool) -> dict[str, Any]:
    tiles = rgb(question.pictures[condition], is_signed)
    sheet = tiled(tiles, math.ceil(math.sqrt(len(tiles))), gap=1, background=0.6)
    return {
        "channel": question.channel,
        "pictures": _png(sheet),
        "choices": [_png(piece) for piece in rgb(question.choices, False)],
        "answer": question.answer,
        "names": [printable(name) for name in question.names],
        "activations": list(question.activations),
        "right": {observer: right[condition] for observer, right in question.right.items()},
    }


def _png(picture: Tensor) -> str:
    """A picture (h, w, 3) in [0, 1] as the address of an image."""
    written = io.BytesIO()
    to_pil(picture).save(written, format="png")
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"
