"""The files of the web pages, and pages made from their templates."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

_WEB = resources.files("deconvviz").joinpath("web")


def web_file(name: str) -> bytes:
    """The content of a file of the web pages, named by its path in `deconvviz/web`."""
    return _WEB.joinpath(name).read_bytes()


def web_files(folder: str) -> dict[str, bytes]:
    """The contents of the files in a folder of the web pages, by their names in it."""
    return {file.name: file.read_bytes() for file in _WEB.joinpath(folder).iterdir() if file.is_file()}


def web_page(template: str, **values: Any) -> str:
    """A page from a template of the web pages; values go in as text, but for those that are `Markup`.

    >>> "<title>1 &lt; 2</title>" in web_page("explorer/index.html", title="1 < 2", generator="me")
    True
    """
    return _templates().get_template(template).render(values)


@functools.cache
def _templates() -> jinja2.Environment:
    loader = jinja2.FunctionLoader(lambda name: web_file(name).decode("utf-8"))
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


def verbatim(text: str) -> Markup:
    """Text that is part of a page as it is."""
    return Markup(text)
