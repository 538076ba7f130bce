"""The page on which a person answers the questions of a test of reading: one file, with no request to anywhere."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deconvviz.errors import InputError
from deconvviz.figures.reading import chosen_condition, rgb
from deconvviz.figures.single_page import png_address, write_page
from deconvviz.images import tiled
from deconvviz.results import ReadingQuestion, ReadingTest
from deconvviz.results.base import printable


def write(result: ReadingTest, path: str | os.PathLike[str], condition: str | None = None) -> Path:
    """Write the page, atomically. See `ReadingTest.write_page`."""
    name = chosen_condition(result, condition)
    asked = [question for question in result.examples if name in question.pictures]
    if not asked:
        raise InputError(f"the test has no question to show with {name!r}; test more channels or images")
    return _written(path, result, name, asked)


def _written(
    path: str | os.PathLike[str], result: ReadingTest, condition: str, asked: Sequence[ReadingQuestion]
) -> Path:
    facts = {
        "questions": [_facts(question, condition, condition in result.signed) for question in asked],
        "observers": list(result.observers),
    }
    return write_page(
        path,
        "reading",
        facts,
        title=printable(f"Which piece fires the channel? {result.layer}"),
        condition=_words(condition, condition in result.signed),
        signed=_legend(asked[0].choices.shape[1]) if condition in result.signed else "",
    )


def _words(condition: str, is_signed: bool) -> str:
    return f"its {condition} projections" if is_signed else condition


def _legend(channels: int) -> str:
    if channels == 3:
        return "Grey is zero: there the image has no effect."
    return "At red pixels a brighter image would fire the channel more, at blue pixels a darker one."


def _facts(question: ReadingQuestion, condition: str, is_signed: bool) -> dict[str, Any]:
    tiles = rgb(question.pictures[condition], is_signed)
    sheet = tiled(tiles, math.ceil(math.sqrt(len(tiles))), gap=1, background=0.6)
    return {
        "channel": question.channel,
        "pictures": png_address(sheet),
        "choices": [png_address(piece) for piece in rgb(question.choices, False)],
        "answer": question.answer,
        "names": [printable(name) for name in question.names],
        "activations": list(question.activations),
        "right": {observer: right[condition] for observer, right in question.right.items()},
    }
