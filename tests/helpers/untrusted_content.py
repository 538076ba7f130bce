"""Texts with markup and scripts, a parser for pages that show them, and a limit on memory."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator
from html.parser import HTMLParser

TEXTS = {
    "a script": "<script>window.hacked=1</script>",
    "an end of a script": "</script><script>window.hacked=1</script>",
    "an image": '"><img src=x onerror="window.hacked=1">',
    "an attribute": '" onmouseover="window.hacked=1" x="',
    "quotes": "'\"`\\",
    "an address": "javascript:window.hacked=1",
    "a comment": "<!-- --><![CDATA[ ]]>",
    "entities": "&lt;b&gt; &amp; &#60;script&#62;",
    "templates": "{{ 7 * 7 }} ${window.hacked=1} {% raw %} $title",
    "formulas": "$\\frac{ $ \\unknown{$",
    "marks of direction": "\u202egnp.exe\u202c \u2066abc\u2069",
    "ends of lines": "a\u2028b\u2029c",
    "a path upwards": "../../escaped",
    "a path from the root": "/tmp/escaped",
    "a path of Windows": "..\\..\\C:\\escaped",
    "a device of Windows": "CON",
    "a stream of Windows": "a.txt:stream",
    "many characters": "x" * 300,
    "other letters": "图像 ü é עברית",
}


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def kinds(self) -> set[tuple[str, str]]:
        """Which attributes which elements have: (element, attribute), (element, "") for the element itself."""
        named = {(tag, name) for tag, attributes in self.elements for name in attributes}
        return named | {(tag, "") for tag, _ in self.elements}


@contextlib.contextmanager
def at_most(memory: float) -> Iterator[None]:
    """No more than so many bytes are taken in the block, by Python's measure."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < memory
    finally:
        tracemalloc.stop()
